"""Changes as people read them: plain text of 80 columns, ASCII as far as it is ours.

A log may be shown by a web server that does not say in what encoding it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Optional

from koji_containerbuild.rules.changes import (
    ArchChanges,
    Changes,
    LabelChange,
    Layer,
    PackageChange,
    PackageChanges,
)

WIDTH = 80  # columns
LONGEST = 70  # characters of a label's value
_BEFORE = 20  # characters of a long value that are shown before the first difference
_SECTIONS = (
    ("Updated", "updated"),
    ("Downgraded", "downgraded"),
    ("Added", "added"),
    ("Removed", "removed"),
    ("Rebuilt: the same version, another file", "rebuilt"),
)


def render(changes: Changes) -> str:
    """What is the same for all arches is said once."""
    arches = changes.arches
    lines = [f"From {changes.old} to {changes.new}", ""]
    if changes.arches_added:
        lines.append(f"New arches: {', '.join(changes.arches_added)}")
    if changes.arches_removed:
        lines.append(f"Arches that are gone: {', '.join(changes.arches_removed)}")
    if not arches:
        return "\n".join([*lines, "No arch is in both.", ""])
    if all(each.nothing for each in arches):
        same = "Nothing changed." if not changes.arches_added else "Nothing changed on the others."
        return "\n".join([*lines, *_counts(arches), same, ""])
    lines += _table("Size", {each.arch: _size(each) for each in arches})
    lines += _table("Layers", {each.arch: _layers(each) for each in arches})
    for title, field in _SECTIONS:
        lines += _section(title, {a.arch: _package_entries(a, field) for a in arches})
    lines += _section("Labels", {a.arch: _label_entries(a.labels) for a in arches})
    return "\n".join([*lines, *_counts(arches), ""])


def _table(name: str, values: Mapping[str, str]) -> list[str]:
    """One value for each arch; the arch is named where there are several."""
    if len(values) == 1:
        return [f"{name + ':':10}{value}" for value in values.values()]
    return [f"{name}:", *(f"  {arch:10}{value}" for arch, value in values.items())]


def _section(title: str, found: Mapping[str, Sequence[tuple[str, str]]]) -> list[str]:
    """Entries of name and words: those that all arches have, then those of one arch alone."""
    first, *others = found.values()
    everywhere = set(first).intersection(*others)
    lines = _block(title, [entry for entry in first if entry in everywhere])
    for arch, entries in found.items():
        lines += _block(f"{title} ({arch} only)", [e for e in entries if e not in everywhere])
    return lines


def _block(title: str, entries: Sequence[tuple[str, str]]) -> list[str]:
    if not entries:
        return []
    wide = min(max(len(name) for name, _ in entries), 30)
    lines = [f"  {name:{wide}}  {words}" if name else f"  {words}" for name, words in entries]
    return ["", f"{title}: {len(entries)}", *lines]


def _package_entries(arch: ArchChanges, field: str) -> list[tuple[str, str]]:
    if arch.packages is None:
        return []
    changes: Sequence[PackageChange] = getattr(arch.packages, field)
    return [(_package_name(change, arch.arch), _version(change)) for change in changes]


def _package_name(change: PackageChange, arch: str) -> str:
    """The arch is said where it is not the image's own."""
    moved = bool(change.new and change.old_arch not in ("", change.arch))
    plain = change.arch in (arch, "noarch") and not moved
    name = change.name if plain else f"{change.name}.{change.arch}"
    return shown(f"{name} (was {change.old_arch})" if moved else name)


def _version(change: PackageChange) -> str:
    if change.old and change.new and change.old != change.new:
        return shown(f"{change.old} -> {change.new}")
    return shown(change.new or change.old)


def _label_entries(changes: Iterable[LabelChange]) -> list[tuple[str, str]]:
    return [("", _label(change)) for change in changes]


def _label(change: LabelChange) -> str:
    name = shown(change.name)
    if change.old is None or change.new is None:
        sign, value = ("+", change.new) if change.old is None else ("-", change.old)
        return f"{sign} {name}: {_cut(shown(value or ''))}"
    old, new = shown(change.old), shown(change.new)
    line = f"{name}: {old} -> {new}"
    if len(line) <= WIDTH - 2:
        return line
    start = max(0, _same(old, new) - _BEFORE) if max(len(old), len(new)) > LONGEST else 0
    return f"{name}:\n    - {_cut(old, start)}\n    + {_cut(new, start)}"


def _same(one: str, other: str) -> int:
    """How many characters two texts begin with."""
    pairs = enumerate(zip(one, other))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def _cut(text: str, start: int = 0) -> str:
    part = text[start : start + LONGEST]
    return f"{'...' if start else ''}{part}{'...' if start + LONGEST < len(text) else ''}"


def shown(text: str) -> str:
    r"""One line that a terminal may be given: what cannot be printed is named.

    >>> print(shown("red\x1b[31m\nZoë"))
    red\x1b[31m\nZoë
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _size(arch: ArchChanges) -> str:
    if arch.old_size is None or arch.new_size is None:
        known = [(arch.old_size, "before"), (arch.new_size, "now")]
        words = [f"{mebibytes(size)} {when}" for size, when in known if size is not None]
        return ", ".join([*words, "the other is not known" if words else "not known"])
    more = arch.new_size - arch.old_size
    if not more:
        return f"{mebibytes(arch.new_size)}, as before"
    sign = "+" if more > 0 else "-"
    sizes = f"{mebibytes(arch.old_size)} -> {mebibytes(arch.new_size)}"
    return f"{sizes} ({sign}{mebibytes(abs(more))})"


def mebibytes(size: int) -> str:
    """A size for people; small ones in KiB.

    >>> mebibytes(11744051), mebibytes(2048), mebibytes(1)
    ('11.2 MiB', '2.0 KiB', '1 byte')
    """
    if size < 1024:
        return f"{size} byte{'' if size == 1 else 's'}"
    if size < 100 * 1024:
        return f"{size / 1024:.1f} KiB"
    return f"{size / 1024 / 1024:.1f} MiB"


def _layers(arch: ArchChanges) -> str:
    layers = arch.layers
    parts = [(layers.shared, "shared"), (layers.added, "new"), (layers.removed, "gone")]
    return ", ".join(f"{len(some)} {word}{_sum(some)}" for some, word in parts if some)


def _sum(layers: Sequence[Layer]) -> str:
    sizes: list[Optional[int]] = [layer.size for layer in layers]
    known = [size for size in sizes if size is not None]
    return f" ({mebibytes(sum(known))})" if len(known) == len(sizes) else ""


def _counts(arches: Sequence[ArchChanges]) -> list[str]:
    """How many packages did not change; or that nobody knows."""
    if any(each.packages is None for each in arches):
        return ["", "Packages are not compared: Koji has no list of those of one of the two."]
    words = [_count(each.packages) for each in arches if each.packages]
    if len(set(words)) == 1:
        return ["", f"{words[0]}."]
    return ["", *(f"{a.arch}: {word}." for a, word in zip(arches, words))]


def _count(packages: PackageChanges) -> str:
    return f"{packages.same} package{'' if packages.same == 1 else 's'} did not change"

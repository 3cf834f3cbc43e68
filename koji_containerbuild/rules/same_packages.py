"""Is a package the same on every arch of an image? Version, release and key must be, noarch or not.

A package that an arch lacks is no difference: some are made for one arch only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Optional


@dataclass(frozen=True)
class Installed:
    """One package of an image."""

    name: str
    evr: str  # [epoch:]version-release
    key: Optional[str]  # id of the key that it is signed with; None: not signed


def differing(
    images: Mapping[str, Iterable[Installed]], may_differ: Collection[str]
) -> tuple[str, ...]:
    """A line for each name that is not the same on all arches that have it.

    `images`: packages by arch. `may_differ`: patterns of names, as of file names.

    >>> one, other = Installed("web", "1.0-1", "aa"), Installed("web", "1.0-2", "aa")
    >>> differing({"x86_64": [one], "aarch64": [other]}, ())
    ('web: 1.0-1 on x86_64, 1.0-2 on aarch64',)
    """
    by_name: dict[str, dict[str, set[Installed]]] = {}
    for arch, packages in images.items():
        for package in packages:
            by_name.setdefault(package.name, {}).setdefault(arch, set()).add(package)
    return tuple(
        f"{name}: {_told(by_name[name])}"
        for name in sorted(by_name)
        if len({frozenset(of_arch) for of_arch in by_name[name].values()}) > 1
        and not any(fnmatchcase(name, pattern) for pattern in may_differ)
    )


def _told(arches: Mapping[str, Collection[Installed]]) -> str:
    """Keys are named where there is nothing else to tell apart."""
    versions = {frozenset(package.evr for package in found) for found in arches.values()}
    parts = []
    for arch, found in arches.items():
        words = [p.evr if len(versions) > 1 else f"{p.evr} {_signed(p)}" for p in _sorted(found)]
        parts.append(f"{' and '.join(dict.fromkeys(words))} on {arch}")
    return ", ".join(parts)


def _sorted(packages: Collection[Installed]) -> list[Installed]:
    return sorted(packages, key=lambda package: (package.evr, package.key or ""))


def _signed(package: Installed) -> str:
    return f"signed with {package.key}" if package.key else "not signed"

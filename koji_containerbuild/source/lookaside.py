"""The file `sources`: what the lookaside cache of a dist-git holds for a commit.

Both forms that dist-git clients write, as in rpkg's sources.py:

    SHA512 (hello-1.0.tar.gz) = 5d41…
    5d41402abc4b2a76b9719d911017c592  hello-1.0.tar.gz
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from koji_containerbuild.errors import BadRequest
from koji_containerbuild.rules.downloads import is_too_long, wrong_checksum

FILE = "sources"
LONGEST_LINE = 1000  # characters, also since a search of this kind is slow in long ones
_NEW = re.compile(r"(?P<type>[A-Za-z0-9]+) ?\((?P<name>.+)\) ?= ?(?P<sum>\S+)")
_OLD = re.compile(r"(?P<sum>[0-9A-Fa-f]{32}) [ *](?P<name>\S.*)")


@dataclass(frozen=True)
class Entry:
    """One file in the lookaside cache."""

    filename: str  # a bare name
    algorithm: str
    checksum: str  # hex, lower case
    line: int  # from 1


def read(text: str) -> tuple[Entry, ...]:
    """Raises BadRequest, naming the line. Blank lines and comments are left out."""
    found: dict[str, Entry] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > LONGEST_LINE:
            raise _wrong(number, f"it has more than {LONGEST_LINE} characters")
        words = line.strip()
        if not words or words.startswith("#"):
            continue
        entry = _entry(words, number)
        before = found.setdefault(entry.filename, entry)
        if (before.algorithm, before.checksum) != (entry.algorithm, entry.checksum):
            raise _wrong(number, f"{entry.filename} is in line {before.line} already")
    return tuple(found.values())


def _entry(words: str, number: int) -> Entry:
    match = _NEW.fullmatch(words) or _OLD.fullmatch(words)
    if not match:
        raise _wrong(number, f"'{words[:120]}' is no checksum with a file name")
    algorithm = match.groupdict().get("type", "md5").lower()
    name, checksum = match["name"], match["sum"].lower()
    if wrong := wrong_checksum(algorithm, checksum):
        raise _wrong(number, wrong)
    if "/" in name or name in (".", "..") or not name.isprintable() or is_too_long(name):
        raise _wrong(number, f"{name[:200]!r} is not the name of a file without a folder")
    return Entry(name, algorithm, checksum, number)


def _wrong(number: int, what: str) -> BadRequest:
    return BadRequest(
        f"{FILE}, line {number}: {what}.",
        do="`fedpkg new-sources FILE` writes such lines: SHA512 (FILE) = HEX.",
    )

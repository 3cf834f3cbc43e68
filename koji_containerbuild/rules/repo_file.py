"""The text of a yum .repo file, read line by line in the one way that no reader of it disputes.

libdnf, old yum and Python's configparser differ in what a line ends with, in comments inside of
values and in keys that are there twice. Whatever they would read differently is refused here, so
that the addresses which are checked are the ones that a build asks.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

LONGEST_LINE = 8192  # characters
MOST_SECTIONS = 100
# \n alone ends a line; any other end, and what no editor shows, is what somebody hides behind.
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_SECTION = re.compile(r"\[([^\[\]]+)\]")
_KEY = re.compile(r"[A-Za-z0-9_.-]+")
OFF = ("0", "no", "false", "off")


class NotRepoFile(ValueError):
    """Says line and reason, without what the line holds: it may be a secret of this network."""


@dataclass(frozen=True)
class Section:
    """One repo."""

    name: str
    line: int  # of its heading, from 1
    values: Mapping[str, str]  # by key in lower case; lines of one value are parted by \n

    def words(self, key: str) -> list[str]:
        """A list as dnf parts it: by blanks and commas."""
        return [word for word in re.split(r"[\s,;]+", self.values.get(key, "")) if word]

    def is_off(self, key: str) -> bool:
        """Whether the key is there and says no."""
        return self.values.get(key, "1").lower() in OFF


def parse(text: str) -> tuple[Section, ...]:
    """Raises NotRepoFile."""
    found: dict[str, Section] = {}
    values: dict[str, str] = {}
    key = ""
    for number, line in _lines(text):
        if line[0] in " \t":  # also one that looks like a comment: libdnf takes it as a value
            if not key:
                raise NotRepoFile(f"line {number} is indented and goes on with nothing")
            values[key] += "\n" + line.strip(" \t")
        elif line[0] == "[":
            values, key = {}, ""
            name = _new_section(line, number, found)
            found[name] = Section(name, number, values)
        else:
            key, value = _setting(line, number)
            if not found or key in values:
                why = "is there twice" if found else "is in no section"
                raise NotRepoFile(f"the key of line {number} {why}")
            values[key] = value
    return tuple(found.values())


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Number and text of each line that says something."""
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > LONGEST_LINE:
            raise NotRepoFile(f"line {number} has more than {LONGEST_LINE} characters")
        if _UNSEEN.search(line):
            raise NotRepoFile(f"line {number} holds a control character")
        if line.strip(" \t") and line[0] not in "#;":
            yield number, line


def _new_section(line: str, number: int, found: Collection[str]) -> str:
    match = _SECTION.fullmatch(line.strip(" \t"))
    if not match:
        raise NotRepoFile(f"line {number} is no [section]")
    if match[1] in found:
        raise NotRepoFile(f"the section of line {number} is there twice")
    if len(found) == MOST_SECTIONS:
        raise NotRepoFile(f"it has more than {MOST_SECTIONS} sections")
    return match[1]


def _setting(line: str, number: int) -> tuple[str, str]:
    key, *value = re.split("[=:]", line, maxsplit=1)
    key = key.rstrip(" \t").lower()
    if not value or not _KEY.fullmatch(key):
        raise NotRepoFile(f"line {number} is no KEY=VALUE")
    return key, value[0].strip(" \t")

"""Packages in the metadata of a yum repo: repomd.xml and primary.xml, as createrepo writes them.

Both come from elsewhere. They are read as a stream, never as a tree, with limits; a document type,
which could hold entities that grow, is refused.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Optional
from xml.parsers import expat

from koji_containerbuild.rules.rpm_versions import compare_evr

BLOCK = 256 * 1024  # bytes
LARGEST_OPEN = 2 * 1024**3  # bytes of an unpacked primary.xml: three times that of all Fedora
LONGEST = 1000  # characters of a name, an arch or a checksum
LONGEST_NAME = 255  # characters of one that is kept
LONGEST_TOKEN = 1024**2  # bytes; expat before 2.6 reads one again with each block
MOST_NAMES = 200_000  # that are kept, to find one that is like the one that is missing


class NotMetadata(ValueError):
    """The file is not what it should be; says why."""


@dataclass(frozen=True)
class PrimaryFile:
    """Where repomd.xml says that primary.xml is."""

    href: str  # below the repo's URL
    checksum_type: str
    checksum: str


def primary_file(repomd: bytes) -> PrimaryFile:
    """Raises NotMetadata."""
    found: dict[str, str] = {}
    inside = False
    for depth, name, attributes, text in _elements(iter([repomd])):
        if depth == 2 and text is None:
            inside = attributes.get("type") == "primary"
        elif inside and depth == 3 and name == "checksum" and text is not None:
            found["checksum"] = text
        elif inside and depth == 3 and name == "checksum":
            found["checksum_type"] = attributes.get("type", "")
        elif inside and depth == 3 and name == "location" and text is None:
            found["href"] = attributes.get("href", "")
    if set(found) != {"href", "checksum_type", "checksum"}:
        raise NotMetadata("it names no primary.xml with a checksum")
    return PrimaryFile(**found)


@dataclass(frozen=True)
class Newest:
    """What a repo has of one name."""

    evr: str  # [epoch:]version-release of the newest; empty: it is not there
    names: frozenset[str]  # of all that is there, if it is not


def newest(primary: IO[bytes], name: str, arch: str, ends: float = math.inf) -> Newest:
    """The newest RPM of that name for that arch, or noarch.

    `ends`: of the time for it, by time.monotonic(). Raises NotMetadata.
    """
    evr = ""
    names: set[str] = set()
    for package in _packages(primary, ends):
        if package.get("arch") not in (arch, "noarch"):
            continue
        if package.get("name") == name and "evr" in package:
            evr = max_evr(evr, package["evr"])
        elif len(names) < MOST_NAMES and len(package.get("name", "")) <= LONGEST_NAME:
            names.add(package.get("name", ""))
    return Newest(evr, frozenset() if evr else frozenset(names))


def _packages(primary: IO[bytes], ends: float) -> Iterator[dict[str, str]]:
    """Name, arch and evr of each."""
    package: dict[str, str] = {}
    for depth, name, attributes, text in _elements(_blocks(primary, ends)):
        if depth == 2 and text is not None:
            yield package
            package = {}
        elif name == "version" and text is None:
            package["evr"] = _evr(attributes)
        elif name in ("name", "arch") and text is not None:
            package[name] = text


def max_evr(one: str, other: str) -> str:
    """The newer one; anything is newer than an empty one."""
    return one if one and compare_evr(one, other) >= 0 else other


def _evr(attributes: Mapping[str, str]) -> str:
    parts = [attributes.get(key, "") for key in ("epoch", "ver", "rel")]
    if any(len(part) > LONGEST for part in parts):
        raise NotMetadata("a version is too long")
    return f"{parts[0] or '0'}:{parts[1]}-{parts[2]}"


def _blocks(stream: IO[bytes], ends: float) -> Iterator[bytes]:
    total = 0
    while block := stream.read(BLOCK):
        total += len(block)
        if total > LARGEST_OPEN:
            raise NotMetadata(f"it unpacks to more than {LARGEST_OPEN >> 20} MiB")
        if time.monotonic() > ends:
            raise NotMetadata("reading it takes too long")
        yield block


Element = tuple[int, str, Mapping[str, str], Optional[str]]  # depth, name, attributes, text
DEEPEST = 3  # metadata, package, name: what is below is not ours


class _Reader:
    """Collects elements, and the text of the deepest ones."""

    def __init__(self) -> None:
        self.found: list[Element] = []
        self.events = 0
        self._depth = 0
        self._text: list[str] = []
        self._length = 0

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        self.events += 1
        self._depth += 1
        if self._depth <= DEEPEST:
            self._text, self._length = [], 0
            self.found.append((self._depth, name, attributes, None))

    def end(self, name: str) -> None:
        self.events += 1
        if self._depth <= DEEPEST:
            self.found.append((self._depth, name, {}, "".join(self._text).strip()))
        self._depth -= 1

    def characters(self, text: str) -> None:
        self.events += 1
        if self._depth == DEEPEST and self._length < LONGEST:
            self._text.append(text[: LONGEST - self._length])
            self._length += len(self._text[-1])

    def other(self, _: str) -> None:
        self.events += 1

    def doctype(self, *_: object) -> None:
        raise NotMetadata("it has a document type")


def _elements(blocks: Iterator[bytes]) -> Iterator[Element]:
    """Start (without text) and end (with text) of each element that is not too deep."""
    reader, parser = _Reader(), expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.characters
    parser.StartDoctypeDeclHandler = reader.doctype
    parser.DefaultHandler = reader.other
    silent = 0  # bytes of a token that has not ended
    try:
        for block in blocks:
            before = reader.events
            parser.Parse(block, False)
            silent = silent + len(block) if reader.events == before else 0
            if silent > LONGEST_TOKEN:
                raise NotMetadata("a tag or comment in it is too long")
            yield from reader.found
            reader.found.clear()
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise NotMetadata(f"it is not XML: {error}") from error
    yield from reader.found

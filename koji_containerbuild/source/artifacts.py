"""fetch-artifacts-url.yaml and fetch-artifacts-koji.yaml: files for `artifacts/` in the build.

The form is that of the old system (OSBS, "fetching artifacts").
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from koji_containerbuild.errors import BadRequest
from koji_containerbuild.rules.downloads import CHECKSUMS, path_inside, wrong_checksum, wrong_url
from koji_containerbuild.source import yaml_text
from koji_containerbuild.source.yaml_text import Document, Path, shown

URL_FILE = "fetch-artifacts-url.yaml"
KOJI_FILE = "fetch-artifacts-koji.yaml"
MISSPELT = {
    "fetch-artifacts-nvr.yaml": KOJI_FILE,
    "fetch-artifacts-nvr.yml": KOJI_FILE,
    "fetch-artifacts-koji.yml": KOJI_FILE,
    "fetch-artifacts-url.yml": URL_FILE,
}
URL_KEYS = ("url", "target", *CHECKSUMS, "source-url", *(f"source-{name}" for name in CHECKSUMS))
KOJI_KEYS = ("nvr", "archives")
ARCHIVE_KEYS = ("filename", "group_id")


@dataclass(frozen=True)
class UrlArtifact:
    """A file from a web server, and where its source code is, if that is declared."""

    where: str  # file and line, for messages
    url: str
    target: str  # below artifacts/
    checksums: Mapping[str, str]
    source_url: str = ""
    source_checksums: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ArchiveWish:
    """Which archives of a Koji build; empty: any."""

    where: str
    filename: str  # a glob
    group_id: str  # of Maven

    def __str__(self) -> str:
        pairs = (("filename", self.filename), ("group_id", self.group_id))
        return ", ".join(f"{key}: {value}" for key, value in pairs if value)


@dataclass(frozen=True)
class KojiArtifacts:
    """Files of one Koji build."""

    where: str
    nvr: str
    archives: tuple[ArchiveWish, ...]  # empty: all


def read_urls(text: str) -> tuple[UrlArtifact, ...]:
    """Raises BadRequest, naming line, item and key."""
    return tuple(_url_artifact(item) for item in _list(text, URL_FILE, URL_KEYS))


def read_koji(text: str) -> tuple[KojiArtifacts, ...]:
    """Raises BadRequest, naming line, item and key."""
    return tuple(_koji_artifacts(item) for item in _list(text, KOJI_FILE, KOJI_KEYS))


def _list(text: str, file: str, keys: tuple[str, ...]) -> Iterator[_Item]:
    document = yaml_text.load(text, file)
    yield from _items(document, (), document.value, keys)


@dataclass(frozen=True)
class _Item:
    """One map of a list, its keys checked."""

    document: Document
    path: Path
    value: Mapping[str, Any]

    @property
    def where(self) -> str:
        return f"{self.document.file}, line {self.document.line(self.path)}"

    def wrong(self, what: str, do: str = "", key: str = "") -> BadRequest:
        numbers = [step + 1 for step in self.path if isinstance(step, int)]
        words = f"item {numbers[0]}: {what}."
        return self.document.error((*self.path, key) if key else self.path, words, do)

    def text(self, key: str) -> str:
        """As it is written, so that a checksum which looks like a number is none."""
        if self.value.get(key) is None:
            if key in self.value:
                raise self.wrong(f"'{key}' is empty", "Fill it in, or remove the key.", key)
            return ""
        written = self.document.written.get((*self.path, key), "")
        if not written:
            raise self.wrong(f"'{key}' is not a text", key=key)
        return written

    def url(self, key: str) -> str:
        """Empty if there is none."""
        url = self.text(key)
        if url and (what := wrong_url(url)):
            raise self.wrong(f"'{key}' cannot be fetched: {what}", key=key)
        return url

    def checksums(self, prefix: str = "") -> dict[str, str]:
        """By algorithm."""
        found = {}
        for name in CHECKSUMS:
            if value := self.text(prefix + name).lower():
                if what := wrong_checksum(name, value):
                    raise self.wrong(f"'{prefix}{name}' is wrong: {what}", key=prefix + name)
                found[name] = value
        return found


def _items(document: Document, path: Path, value: Any, keys: tuple[str, ...]) -> Iterator[_Item]:
    if value is None:
        return
    if not isinstance(value, list):
        what = f"'{path[-1]}' is not a list." if path else "this is not a list."
        raise document.error(path, what, f"Begin each item with '- {keys[0]}: …'.")
    for number, each in enumerate(value):
        item = _Item(document, (*path, number), each)
        if not isinstance(each, dict):
            raise item.wrong("this is not a map", f"Write '- {keys[0]}: …'.")
        for key in each:
            if key not in keys:
                close = difflib.get_close_matches(key, keys, 1)
                do = f"Did you mean '{close[0]}'?" if close else f"Known are: {', '.join(keys)}."
                raise item.wrong(f"unknown key '{shown(key)}'", do, key)
        yield item


def _url_artifact(item: _Item) -> UrlArtifact:
    url, source = item.url("url"), item.url("source-url")
    if not url:
        raise item.wrong("there is no url", "Add one.")
    checksums, of_source = item.checksums(), item.checksums("source-")
    if not checksums:
        raise item.wrong("there is no checksum", "Add sha256, as sha256sum prints it.")
    if bool(source) != bool(of_source):
        missing = "source-sha256" if source else "source-url"
        raise item.wrong(f"there is no {missing}", "A source needs its URL and a checksum.")
    name = url.partition("?")[0].partition("#")[0].rpartition("/")[2]
    try:
        target = path_inside(item.text("target") or name)
    except BadRequest as error:
        raise item.wrong(f"the target is wrong: {error.what.rstrip('.')}", "Give one.") from error
    return UrlArtifact(item.where, url, target, checksums, source, of_source)


def _koji_artifacts(item: _Item) -> KojiArtifacts:
    nvr = item.text("nvr")
    if not nvr:
        raise item.wrong("there is no nvr", "Name a Koji build: NAME-VERSION-RELEASE.")
    wishes = []
    archives = item.value.get("archives")
    for each in _items(item.document, (*item.path, "archives"), archives, ARCHIVE_KEYS):
        wish = ArchiveWish(each.where, each.text("filename"), each.text("group_id"))
        if not str(wish):
            raise each.wrong("there is neither filename nor group_id", "Add one of them.")
        wishes.append(wish)
    return KojiArtifacts(item.where, nvr, tuple(wishes))

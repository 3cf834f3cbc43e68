"""Files that the source names and git does not hold: looked up here, fetched by the buildroot."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from koji_containerbuild.config import Config
from koji_containerbuild.contract.plan import Download, KojiArchive, SourceFile
from koji_containerbuild.errors import BadRequest
from koji_containerbuild.koji_api.archives import Archive
from koji_containerbuild.rules.downloads import is_allowed, lookaside_url, path_inside
from koji_containerbuild.rules.scm import SourceUrl
from koji_containerbuild.source import artifacts, lookaside
from koji_containerbuild.source.checkout import Checkout
from koji_containerbuild.source.fetch import FetchLimits
from koji_containerbuild.source.file_cache import FileCache
from koji_containerbuild.tasks.tools import Place

SOURCES = "sources"  # in the work folder of the task
FOLDER = "artifacts"  # beside the Dockerfile; fetched artifacts are below it
SOURCE_NAME = re.compile(r"[A-Za-z0-9_][\w.-]*\.\w+", re.ASCII)  # of an archive in Koji


class Keeper(Protocol):
    """Koji, as far as files are concerned."""

    def archives(self, nvr: str) -> Sequence[Archive]:
        """The files of a Koji build. Raises BadRequest."""

    def check_sources(self, sources: Mapping[str, Download]) -> None:
        """Raises unless Koji would keep these files, by name, as the sources of artifacts."""


@dataclass(frozen=True)
class Files:
    """What is to be fetched, and what the user should know of it."""

    files: tuple[SourceFile, ...]
    warnings: tuple[str, ...]


def resolve_files(checkout: Checkout, source: SourceUrl, config: Config, keeper: Keeper) -> Files:
    """Raises BadRequest, naming file, item and line; ServiceError where Koji does not answer."""
    tree = _Tree(checkout, source.subfolder)
    tree.check_names()
    files = (
        *_lookaside(tree, source, config),
        *_from_urls(tree, config),
        *_from_koji(tree, keeper),
    )
    _check_once(files)
    if len(files) > config.files.max_files:
        raise BadRequest(
            f"The source names {len(files)} files to fetch, and the limit of this site is "
            f"{config.files.max_files}.",
            do="Pack them into archives, or ask an admin about max_files.",
        )
    if any(file.origin == "url" for file in files):
        keeper.check_sources(sources_of(files))
    return Files(files, _warnings(files))


def sources_of(files: Sequence[SourceFile]) -> Mapping[str, Download]:
    """The declared sources of artifacts by the name that they have in Koji. Raises BadRequest."""
    found: dict[str, Download] = {}
    for source in (file.source for file in files if file.source):
        name = source.url.partition("?")[0].rpartition("/")[2]
        if not SOURCE_NAME.fullmatch(name) or name.endswith((".log", ".json")):
            raise BadRequest(
                f"{artifacts.URL_FILE}: the source {source.url} has no name that Koji could keep.",
                do="Give a URL that ends in a file name, such as greeter-1.0.tar.gz.",
            )
        if found.setdefault(name, source) != source:
            raise BadRequest(
                f"{artifacts.URL_FILE}: the sources {found[name].url} and {source.url} differ, "
                "and Koji could keep one file of this name.",
                do="Give one of them another name.",
            )
    return found


def fetch_sources(sources: Mapping[str, Download], into: Path, place: Place) -> None:
    """Have them in a folder, verified. Raises BadRequest and ServiceError, naming the file.

    What is there already is not asked for again: after a long build it may be gone everywhere else.
    """
    config = place.config.files
    places = place.config.artifacts.allowed_domains
    limits = FetchLimits(config.max_file_mib, config.file_seconds, config.cache_mib, places)

    def say(line: str) -> None:
        place.logs.event("source", "note", text=line)

    cache = FileCache(config.cache, limits, say)
    into.mkdir(exist_ok=True)
    for name, download in sources.items():
        if (into / name).exists():
            continue
        partial = into / f".{name}.partial"  # no name of a source begins with a dot
        with partial.open("wb") as file:
            cache.copy(name, download, file)
        partial.replace(into / name)
    if sources:
        cache.prune()


@dataclass(frozen=True)
class _Tree:
    """The folder of the Dockerfile."""

    checkout: Checkout
    subfolder: str

    def read(self, name: str) -> str:
        """Empty where there is no such file; a folder of that name is somebody's own."""
        path = self.checkout.folder(self.subfolder) / name
        if path.is_dir() and not path.is_symlink():
            return ""
        return self.checkout.read(self.subfolder, name) or ""

    def check_names(self) -> None:
        folder = self.checkout.folder(self.subfolder)
        for name, right in artifacts.MISSPELT.items():
            if (folder / name).exists():
                raise BadRequest(f"The source has a file {name}.", do=f"Rename it to {right}.")


def _lookaside(tree: _Tree, source: SourceUrl, config: Config) -> Iterator[SourceFile]:
    entries = lookaside.read(tree.read(lookaside.FILE))
    if entries and not config.lookaside.url:
        raise BadRequest(
            f"The file {lookaside.FILE} names {entries[0].filename}, and this site has no "
            "lookaside cache.",
            do="Commit the file itself, or ask an admin to set url in [lookaside].",
        )
    for entry in entries:
        checksum = (entry.algorithm, entry.checksum)
        url = lookaside_url(config.lookaside.url, source.repository, entry.filename, checksum)
        yield SourceFile(entry.filename, Download(url, dict((checksum,))), "lookaside")


def _from_urls(tree: _Tree, config: Config) -> Iterator[SourceFile]:
    allowed = config.artifacts.allowed_domains
    for item in artifacts.read_urls(tree.read(artifacts.URL_FILE)):
        for url in filter(None, (item.url, item.source_url)):
            if not is_allowed(url, allowed):
                raise BadRequest(
                    f"{item.where}: {url} is not below a place that this site allows.",
                    do=f"Allowed are: {', '.join(allowed) or 'none'}.",
                )
        yield SourceFile(
            f"{FOLDER}/{item.target}",
            Download(item.url, item.checksums),
            "url",
            source=Download(item.source_url, item.source_checksums) if item.source_url else None,
        )


def _from_koji(tree: _Tree, keeper: Keeper) -> Iterator[SourceFile]:
    for item in artifacts.read_koji(tree.read(artifacts.KOJI_FILE)):
        for archive in _chosen(item, keeper):
            yield SourceFile(
                f"{FOLDER}/{_path(archive, item)}",
                Download(archive.url, {archive.checksum_type: archive.checksum}, archive.size),
                "koji",
                archive=KojiArchive(archive.id, archive.nvr, archive.filename),
            )


def _chosen(item: artifacts.KojiArtifacts, keeper: Keeper) -> Sequence[Archive]:
    """Those that a wish of the item matches; each wish must match one."""
    try:
        there = keeper.archives(item.nvr)
    except BadRequest as error:
        raise BadRequest(f"{item.where}: {error.what}", do=error.do) from error
    names = ", ".join(archive.filename for archive in there[:10]) or "none"
    if not there:
        raise BadRequest(
            f"{item.where}: the build {item.nvr} has no files but RPMs.",
            do="Install RPMs with dnf.",
        )
    for wish in item.archives:
        if not any(_matches(wish, archive) for archive in there):
            raise BadRequest(
                f"{wish.where}: no file of {item.nvr} matches {wish}.", do=f"It has: {names}."
            )
    if not item.archives:
        return there
    return [one for one in there if any(_matches(wish, one) for wish in item.archives)]


def _path(archive: Archive, item: artifacts.KojiArtifacts) -> str:
    try:
        return path_inside(archive.path)
    except BadRequest as error:
        raise BadRequest(f"{item.where}: {error.what}", do=error.do) from error


def _matches(wish: artifacts.ArchiveWish, archive: Archive) -> bool:
    by_name = fnmatch.fnmatchcase(archive.filename, wish.filename or "*")
    return by_name and wish.group_id in ("", archive.group_id)


def _check_once(files: Sequence[SourceFile]) -> None:
    seen: dict[str, SourceFile] = {}
    for file in files:
        before = seen.setdefault(file.path, file)
        if before is not file:
            raise BadRequest(
                f"Two files are to become {file.path}: {before.download.url} and "
                f"{file.download.url}.",
                do="Give one of them another target.",
            )


def _warnings(files: Sequence[SourceFile]) -> tuple[str, ...]:
    bare = [file.path for file in files if file.origin == "url" and not file.source]
    if not bare:
        return ()
    more = f" and {len(bare) - 1} more" if len(bare) > 1 else ""
    return (f"{artifacts.URL_FILE}: {bare[0]}{more} without source-url, which should be there.",)

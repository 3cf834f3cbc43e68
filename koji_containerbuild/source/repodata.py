"""Ask the repos of a build for the version of an RPM, before the build.

What dnf would do in the build is read here from the same .repo files: enabled repos, `baseurl` or
`mirrorlist`, the newest version. Left out are priorities, excludes and modules, which a repo for
one image seldom has; and metalinks, and variables that only the image knows ($releasever).
"""

from __future__ import annotations

import bz2
import difflib
import gzip
import hashlib
import lzma
import re
import subprocess
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import requests
from urllib3.exceptions import HTTPError

from koji_containerbuild.contract.plan import RepoFile
from koji_containerbuild.errors import BadRequest, ContainerBuildError, NotFound, ServiceError
from koji_containerbuild.rules.downloads import wrong_url
from koji_containerbuild.rules.repos import is_allowed_host, read_repo_file, shown_url
from koji_containerbuild.source import http
from koji_containerbuild.source.primary_xml import Newest, NotMetadata, newest, primary_file
from koji_containerbuild.source.primary_xml import max_evr as newer

BASEARCH = {"i686": "i386", "armv7hl": "armhfp"}  # where it is another word than the arch
LARGEST = 256 * 1024**2  # bytes of primary.xml, packed
SMALL = 1024**2  # bytes of repomd.xml and of a mirror list
MIRRORS = 5  # of a list, that are tried
SECONDS = 900  # for all repos and arches of a build
LIKE = 2000  # names that the one that is missing is compared with
_PAUSES = (0.0, 0.5, 2.0)  # seconds before each attempt, where a server is in trouble


@dataclass(frozen=True)
class Repo:
    """One section of a .repo file."""

    name: str
    urls: tuple[str, ...]
    mirrorlist: str
    proxy: str
    from_user: bool  # then the site's list of hosts holds


@dataclass(frozen=True)
class _Asked:
    """What is looked for, and what all of the asking may need."""

    name: str
    arch: str
    ca_file: str
    allowed: Sequence[str]
    ends: float  # time.monotonic()

    def way(self, repo: Repo) -> http.Way:
        hosts = self.allowed if repo.from_user else ()
        proxy = "" if repo.proxy == "_none_" else repo.proxy  # dnf's word for: no proxy
        return http.Way(lambda url: is_allowed_host(url, hosts), self.ends, proxy, self.ca_file)


def version_of(
    name: str,
    files: Sequence[RepoFile],
    arches: Sequence[str],
    ca_file: str,
    allowed: Sequence[str] = (),
) -> str:
    """The version, without release, of the newest RPM of that name.

    It has to be the same for all arches. `ca_file`: of this host; empty: the system's. `allowed`:
    hosts that repos of the user may lead to, none: any. Raises BadRequest naming the RPM and where
    it was looked for; ServiceError when a repo cannot be read.
    """
    ends = time.monotonic() + SECONDS
    found = {arch: _newest(_Asked(name, arch, ca_file, allowed, ends), files) for arch in arches}
    versions = {arch: evr.partition(":")[2].rpartition("-")[0] for arch, evr in found.items()}
    if len(set(versions.values())) > 1:
        each = ", ".join(f"{version} for {arch}" for arch, version in versions.items())
        raise BadRequest(
            f"The RPM {name} has not the same version for all arches: {each}.",
            do="Build again when the repos have the same, or leave out an arch.",
        )
    return versions[arches[0]]


def _newest(asked: _Asked, files: Sequence[RepoFile]) -> str:
    evr, names = "", set[str]()
    repos = [repo for file in files if _is_repo(file) for repo in sections(file, asked.arch)]
    for repo in repos:
        found = _of_repo(asked, repo)
        evr = newer(evr, found.evr) if found.evr else evr
        names |= found.names
    if not evr:
        where = ", ".join(repo.name for repo in repos) or "no repo"
        close = _alike(asked.name, names)
        raise BadRequest(
            f"container.yaml: the repos of the build have no RPM {asked.name} for {asked.arch} "
            f"(looked in: {where}).",
            do=f"Did you mean {' or '.join(close)}?" if close else "Correct version: from_rpm.",
        )
    return evr


def _alike(name: str, names: Iterable[str]) -> list[str]:
    """Those that may have been meant; the comparison takes long, so not of any number of them."""
    near = [other for other in names if abs(len(other) - len(name)) <= 3 and len(other) <= 100]
    near.sort(key=lambda other: (other[:1] != name[:1], other))
    return difflib.get_close_matches(name, near[:LIKE], 3)


def _is_repo(file: RepoFile) -> bool:
    return file.name.endswith(".repo")  # and not the site's certificates


def sections(file: RepoFile, arch: str) -> Iterator[Repo]:
    """The enabled repos of a file. Raises BadRequest for one that cannot be asked from here."""
    for section in read_repo_file(file.text, file.url or file.name):
        name = section.name
        if name == "main" or section.is_off("enabled"):
            continue
        repo = Repo(
            name=name,
            urls=tuple(_plain(url, name, arch) for url in section.words("baseurl")),
            mirrorlist=_plain(section.values.get("mirrorlist", ""), name, arch),
            proxy=section.values.get("proxy", ""),
            from_user=bool(file.url),
        )
        if not repo.urls and not repo.mirrorlist:
            raise BadRequest(
                f"version: from_rpm cannot read the repo {name}: it has neither baseurl nor "
                "mirrorlist.",
                do="Give it a baseurl in place of the metalink.",
            )
        yield repo


def _plain(url: str, repo: str, arch: str) -> str:
    known = {"basearch": BASEARCH.get(arch, arch), "arch": arch}
    url = re.sub(r"\$\{?(basearch|arch)\b\}?", lambda match: known[match[1]], url)
    if url and ("$" in url or not url.startswith(("http://", "https://"))):
        raise BadRequest(
            f"version: from_rpm cannot read the repo {repo}: its URL is '{shown_url(url)}'.",
            do="Use http or https, and no variable but $basearch.",
        )
    return url.rstrip("/")


def _of_repo(asked: _Asked, repo: Repo) -> Newest:
    """What the first of its mirrors that answers has."""
    way = asked.way(repo)
    urls = repo.urls or tuple(_mirrors(repo.mirrorlist, asked.arch, way))
    failed: ContainerBuildError = ServiceError(f"The mirror list of {repo.name} names no mirror.")
    for url in urls[:MIRRORS]:
        try:
            return _of_url(url, asked, way)
        except ServiceError as error:
            failed = error
    raise failed


def _mirrors(url: str, arch: str, way: http.Way) -> Iterator[str]:
    """Those that can be asked: who made the list had others in mind, too."""
    with tempfile.TemporaryFile() as file:
        _download(url, file, SMALL, way)
        file.seek(0)
        for line in file.read().decode(errors="replace").split("\n"):
            try:
                mirror = _plain(line.strip(), "of a mirror list", arch)
            except BadRequest:
                continue
            if mirror and not wrong_url(mirror) and way.may_ask(mirror):
                yield mirror


def _of_url(url: str, asked: _Asked, way: http.Way) -> Newest:
    with tempfile.TemporaryFile() as repomd, tempfile.NamedTemporaryFile() as primary:
        what = f"{url}/repodata/repomd.xml"
        try:
            _download(what, repomd, SMALL, way)
            repomd.seek(0)
            where = primary_file(repomd.read())
            if where.checksum_type not in ("sha256", "sha384", "sha512"):
                raise NotMetadata("it has no sha256 of primary.xml")
            if not re.fullmatch(r"(?:[\w+-][\w.+-]*/)*[\w+-][\w.+-]*", where.href):
                raise NotMetadata("it names a place outside the repo")
            what = f"{url}/{where.href}"
            digest = _download(what, primary, LARGEST, way, where.checksum_type)
            if digest != where.checksum.lower():
                raise NotMetadata(f"its {where.checksum_type} is not that of repomd.xml")
            with _unpacked(Path(primary.name), where.href) as stream:
                return newest(stream, asked.name, asked.arch, asked.ends)
        except (NotMetadata, EOFError, lzma.LZMAError, zlib.error, OSError) as error:
            raise ServiceError(
                f"{shown_url(what)} cannot be used: {error}.",
                do="Is the repo being made anew? Build again.",
            ) from error


def _download(url: str, to: IO[bytes], largest: int, way: http.Way, kind: str = "sha256") -> str:
    """The checksum of that kind, as hex. Raises ServiceError."""
    shown = shown_url(url)
    try:
        for pause in _PAUSES:
            time.sleep(pause)
            with http.get(url, way) as answer:
                if answer.status_code not in (500, 502, 503, 504) or pause == _PAUSES[-1]:
                    answer.raise_for_status()
                    return _copied(answer, to, largest, kind)
    except (requests.RequestException, HTTPError) as error:
        missing = getattr(getattr(error, "response", None), "status_code", 0) == 404
        failed = NotFound if missing else ServiceError
        raise failed(f"Cannot read {shown}: {error}.", do="Check the .repo file.") from error
    raise AssertionError("the last attempt returns or raises")


def _copied(answer: requests.Response, to: IO[bytes], largest: int, kind: str) -> str:
    digest, size = hashlib.new(kind), 0
    for block in http.blocks(answer):
        size += len(block)
        if size > largest:
            raise ServiceError(f"{shown_url(answer.url)} is larger than {largest >> 20} MiB.")
        digest.update(block)
        to.write(block)
    to.flush()
    return digest.hexdigest()


_OPENERS: Mapping[str, Callable[[Path], Any]] = {
    ".gz": gzip.open,
    ".xz": lzma.open,
    ".bz2": bz2.open,
    ".xml": lambda path: path.open("rb"),
}


@contextmanager
def _unpacked(path: Path, name: str) -> Iterator[IO[bytes]]:
    """The content of a file that is packed as its `name` ends."""
    suffix = Path(name).suffix
    if suffix == ".zst":  # Python has it from 3.14 on
        with _zstd(path) as stream:
            yield stream
        return
    if suffix not in _OPENERS:
        raise NotMetadata(f"files that end in '{suffix}' cannot be read")
    with _OPENERS[suffix](path) as stream:
        yield stream


@contextmanager
def _zstd(path: Path) -> Iterator[IO[bytes]]:
    command = ["zstd", "--decompress", "--stdout", "--quiet", "--", str(path)]
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except FileNotFoundError as error:
        raise NotMetadata("the program zstd is missing on this host") from error
    with process:
        assert process.stdout  # noqa: S101 — for mypy
        try:
            yield process.stdout
            complete = not process.stdout.read(1)
        except BaseException:
            process.kill()
            raise
    if not complete or process.returncode:
        raise NotMetadata("zstd cannot unpack it")

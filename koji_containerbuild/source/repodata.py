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
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

from koji_containerbuild.contract.plan import RepoFile
from koji_containerbuild.errors import BadRequest, ContainerBuildError, NotFound, ServiceError
from koji_containerbuild.rules.repos import read_repo_file
from koji_containerbuild.source.primary_xml import Newest, NotMetadata, newest, primary_file
from koji_containerbuild.source.primary_xml import max_evr as newer

BASEARCH = {"i686": "i386", "armv7hl": "armhfp"}  # where it is another word than the arch
LARGEST = 256 * 1024**2  # bytes of primary.xml, packed
SMALL = 1024**2  # bytes of repomd.xml and of a mirror list
MIRRORS = 5  # of a list, that are tried
TIMEOUT = 60  # seconds of silence


@dataclass(frozen=True)
class Repo:
    """One section of a .repo file."""

    name: str
    urls: tuple[str, ...]
    mirrorlist: str
    proxy: str


def version_of(name: str, files: Sequence[RepoFile], arches: Sequence[str], ca_file: str) -> str:
    """The version, without release, of the newest RPM of that name.

    It has to be the same for all arches. `ca_file`: of this host; empty: the system's. Raises
    BadRequest naming the RPM and where it was looked for; ServiceError when a repo cannot be read.
    """
    found = {arch: _newest(name, files, arch, ca_file) for arch in arches}
    versions = {arch: evr.partition(":")[2].rpartition("-")[0] for arch, evr in found.items()}
    if len(set(versions.values())) > 1:
        each = ", ".join(f"{version} for {arch}" for arch, version in versions.items())
        raise BadRequest(
            f"The RPM {name} has not the same version for all arches: {each}.",
            do="Build again when the repos have the same, or leave out an arch.",
        )
    return versions[arches[0]]


def _newest(name: str, files: Sequence[RepoFile], arch: str, ca_file: str) -> str:
    evr, names = "", set[str]()
    repos = [repo for file in files if _is_repo(file) for repo in sections(file, arch)]
    for repo in repos:
        with _session(repo.proxy, ca_file) as session:
            found = _of_repo(name, repo, arch, session)
        evr = newer(evr, found.evr) if found.evr else evr
        names |= found.names
    if not evr:
        where = ", ".join(repo.name for repo in repos) or "no repo"
        close = difflib.get_close_matches(name, sorted(names), 3)
        raise BadRequest(
            f"container.yaml: the repos of the build have no RPM {name} for {arch} "
            f"(looked in: {where}).",
            do=f"Did you mean {' or '.join(close)}?" if close else "Correct version: from_rpm.",
        )
    return evr


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
            f"version: from_rpm cannot read the repo {repo}: its URL is '{url:.200}'.",
            do="Use http or https, and no variable but $basearch.",
        )
    return url.rstrip("/")


def _of_repo(name: str, repo: Repo, arch: str, session: requests.Session) -> Newest:
    """What the first of its mirrors that answers has."""
    urls = repo.urls or tuple(_mirrors(repo.mirrorlist, arch, session))
    failed: ContainerBuildError = ServiceError(f"The mirror list of {repo.name} names no mirror.")
    for url in urls[:MIRRORS]:
        try:
            return _of_url(name, url, arch, session)
        except ServiceError as error:
            failed = error
    raise failed


def _mirrors(url: str, arch: str, session: requests.Session) -> Iterator[str]:
    with tempfile.TemporaryFile() as file:
        _download(url, file, SMALL, session)
        file.seek(0)
        for line in file.read().decode(errors="replace").splitlines():
            if line.startswith(("http://", "https://")):
                yield _plain(line.strip(), "of a mirror list", arch)


def _of_url(name: str, url: str, arch: str, session: requests.Session) -> Newest:
    with tempfile.TemporaryFile() as repomd, tempfile.NamedTemporaryFile() as primary:
        what = f"{url}/repodata/repomd.xml"
        try:
            _download(what, repomd, SMALL, session)
            repomd.seek(0)
            where = primary_file(repomd.read())
            if where.checksum_type not in ("sha256", "sha384", "sha512"):
                raise NotMetadata("it has no sha256 of primary.xml")
            if not re.fullmatch(r"(?:[\w+-][\w.+-]*/)*[\w+-][\w.+-]*", where.href):
                raise NotMetadata("it names a place outside the repo")
            what = f"{url}/{where.href}"
            digest = _download(what, primary, LARGEST, session, where.checksum_type)
            if digest != where.checksum.lower():
                raise NotMetadata(f"its {where.checksum_type} is not that of repomd.xml")
            with _unpacked(Path(primary.name), where.href) as stream:
                return newest(stream, name, arch)
        except (NotMetadata, EOFError, lzma.LZMAError, zlib.error, OSError) as error:
            raise ServiceError(
                f"{what} cannot be used: {error}.", do="Is the repo being made anew? Build again."
            ) from error


def _download(
    url: str, to: Any, largest: int, session: requests.Session, checksum: str = "sha256"
) -> str:
    """The checksum, as hex. Raises ServiceError."""
    digest, size = hashlib.new(checksum), 0
    try:
        plain = {"Accept-Encoding": "identity"}  # little must not become much
        # `auth`: not by what is in a netrc
        with session.get(
            url, headers=plain, auth=lambda r: r, timeout=TIMEOUT, stream=True
        ) as answer:
            answer.raise_for_status()
            while block := answer.raw.read(SMALL, decode_content=False):
                size += len(block)
                if size > largest:
                    raise ServiceError(f"{url} is larger than {largest >> 20} MiB.")
                digest.update(block)
                to.write(block)
    except (requests.RequestException, HTTPError) as error:
        missing = getattr(getattr(error, "response", None), "status_code", 0) == 404
        kind = NotFound if missing else ServiceError
        raise kind(f"Cannot read {url}: {error}.", do="Check the .repo file.") from error
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


@contextmanager
def _session(proxy: str, ca_file: str) -> Iterator[requests.Session]:
    with requests.Session() as session:
        again = Retry(total=3, backoff_factor=0.3, status_forcelist=(500, 502, 503, 504))
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=again))
        if proxy and proxy != "_none_":  # dnf's word for: no proxy
            session.proxies = {"http": proxy, "https": proxy}
        session.verify = ca_file or True
        yield session

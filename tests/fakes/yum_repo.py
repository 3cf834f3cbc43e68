"""A yum repo on a web server, with metadata like that of createrepo."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

from tests.fakes import web_server

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
SPACES = (
    'xmlns="http://linux.duke.edu/metadata/common" xmlns:rpm="http://linux.duke.edu/metadata/rpm"'
)


def zstd(data: bytes) -> bytes:
    return subprocess.run(["zstd", "-qc"], input=data, capture_output=True, check=True).stdout


PACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
    ".zst": zstd,
    "": bytes,
}


def package(name: str, evr: str, arch: str = "x86_64") -> str:
    epoch, _, rest = evr.rpartition(":")
    version, _, release = rest.rpartition("-")
    return (
        f'<package type="rpm"><name>{name}</name><arch>{arch}</arch>'
        f'<version epoch="{epoch or 0}" ver="{version}" rel="{release}"/>'
        f"<summary>the name is not wrong</summary><format><rpm:provides>"
        f'<rpm:entry name="{name}"/></rpm:provides><file>/usr/bin/{name}</file></format></package>'
    )


class YumRepos:
    """A folder of repos, and the URL that they are served at."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url

    def add(self, path: str, *packages: str, pack: str = ".gz") -> Path:
        """A repo; the folder of its metadata."""
        xml = f'{HEAD}<metadata {SPACES} packages="{len(packages)}">{"".join(packages)}</metadata>'
        return self.write(path, PACK[pack](xml.encode()), f"primary.xml{pack}")

    def write(self, path: str, primary: bytes, name: str = "primary.xml") -> Path:
        folder = self.folder / path / "repodata"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(primary)
        digest = hashlib.sha256(primary).hexdigest()
        (folder / "repomd.xml").write_text(
            f'{HEAD}<repomd xmlns="http://linux.duke.edu/metadata/repo"><revision>1</revision>'
            '<data type="filelists"><checksum type="md5">x</checksum><location href="no"/></data>'
            f'<data type="primary"><checksum type="sha256">{digest}</checksum>'
            f'<location href="repodata/{name}"/></data>'
            '<data type="other"><checksum type="md5">x</checksum><location href="no"/></data></repomd>'
        )
        return folder


class _Handler(web_server.QuietHandler, SimpleHTTPRequestHandler):
    """Of files."""


@contextmanager
def serving(folder: Path) -> Iterator[YumRepos]:
    with web_server.serving(partial(_Handler, directory=str(folder))) as server:
        yield YumRepos(folder, f"http://127.0.0.1:{server.server_port}")

"""Koji's own source: the sdist of release 1.30.0, on PyPI the only one with hub, kojid and web.

It is fetched once into the cache, checked, unpacked, and run as it is.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

from koji_containerbuild.devstack.process import run_program
from koji_containerbuild.errors import ServiceError

VERSION = "1.30.0"
SHA256 = "0250d11d10dae9f58ec67318a230f2d5154ced05c0078980ec7ba438dc98bb77"


def fetch(cache: Path) -> Path:
    """The unpacked source folder; downloads at the first call."""
    source = cache / f"koji-{VERSION}"
    if source.is_dir():
        return source
    cache.mkdir(parents=True, exist_ok=True)
    archive = cache / f"koji-{VERSION}.tar.gz"
    if not archive.exists():
        _download(archive)
    _check(archive)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        with tarfile.open(archive) as tar:
            tar.extractall(scratch)  # noqa: S202  its SHA-256 was just checked
        (Path(scratch) / f"koji-{VERSION}").rename(source)
    return source


def python_path(source: Path, repo: Path) -> str:
    """For hub and kojid: Koji 1.30 before whatever Koji the venv has; our package from the repo."""
    return ":".join(str(path) for path in (source, source / "hub", source / "cli", repo))


def _download(archive: Path) -> None:
    with tempfile.TemporaryDirectory(dir=archive.parent) as scratch:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", scratch]
        only_source = ["--no-deps", "--no-binary", ":all:", "--no-build-isolation"]
        run_program([*pip, *only_source, f"koji=={VERSION}"])
        shutil.move(str(Path(scratch) / archive.name), archive)


def _check(archive: Path) -> None:
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != SHA256:
        raise ServiceError(
            f"{archive} has SHA-256 {found}, not {SHA256}.",
            do="Delete it and try again; if it stays so, the package index is not to be trusted.",
        )

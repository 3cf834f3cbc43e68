"""The image of the buildroot program, made by the site's own Containerfile on a base made here.

No registry is asked: the base is a small Debian from the mirror that this machine uses, and Python
packages come as wheels. All is cached by what goes in, and buildah keeps the Containerfile's
layers: a change of our code makes the last ones anew, in seconds.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import os
import re
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from koji_containerbuild.devstack.cluster import overlay
from koji_containerbuild.devstack.cluster.debian import RELEASE, _mirror
from koji_containerbuild.devstack.places import Places
from koji_containerbuild.devstack.process import run_program

NAME = "localhost/koji-containerbuild/buildroot:devstack"
RECIPE = "fedora-infra/buildroot/Containerfile"
IGNORE = ".containerignore"
BASES_AGE = "3"  # raise it for newer Debian packages
NEEDLESS = (
    "var/cache/apt/archives/*.deb",
    "usr/share/doc/*",
    "usr/share/man/*",
    "usr/share/locale/*",
)
KEPT = 3  # archives: other checkouts may use the same cache
IDLE = ("nice", "-n", "19")


def provide(places: Places) -> Path:
    """The image as an OCI archive; made only if the cache has none like it."""
    cache = places.cache / "buildroot-image"
    cache.mkdir(parents=True, exist_ok=True)
    archive = cache / f"buildroot-{_content_hash(places.repo)}.tar"
    with _alone(cache):
        if not archive.exists():
            base, wheels = _base(cache), _wheels(cache, places.repo)
            with tempfile.TemporaryDirectory(dir=cache) as scratch:
                context, made = Path(scratch) / "context", Path(scratch) / "image.tar"
                _copy_context(places.repo, context)
                _build(cache, base, wheels, context)
                _export(cache, made)
                made.rename(archive)
            archives = sorted(cache.glob("*.tar"), key=lambda path: path.stat().st_mtime)
            for older in archives[:-KEPT]:
                older.unlink()
    return archive


@contextmanager
def _alone(cache: Path) -> Iterator[None]:
    """Stores and names are shared by all checkouts on this machine."""
    lock = os.open(cache, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _content_hash(repo: Path) -> str:
    """Of all that goes in."""
    digest = hashlib.sha256(f"{RELEASE} {BASES_AGE}".encode())
    digest.update(Path(__file__).read_bytes())
    for path in _files(repo):
        digest.update(bytes(path.relative_to(repo)) + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _files(repo: Path) -> Iterator[Path]:
    """The Containerfile, and what it may copy."""
    yield repo / RECIPE
    yield repo / IGNORE
    for line in (repo / IGNORE).read_text().splitlines():
        top = repo / line[1:]
        for path in [top, *sorted(top.rglob("*"))] if line.startswith("!") else []:
            if path.is_file() and "__pycache__" not in path.parts:
                yield path


def _copy_context(repo: Path, context: Path) -> None:
    for path in _files(repo):
        to = context / path.relative_to(repo)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, to)


def _base(cache: Path) -> str:
    """A small Debian as an image in our store."""
    name = f"localhost/koji-containerbuild/base:{RELEASE}-{BASES_AGE}"
    if run_program([*_buildah(cache), "images", "-q", "--filter", f"reference={name}"]).strip():
        return name
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        root = str(Path(scratch) / "root")
        mirror = _mirror()
        more = ["--include=ca-certificates"] if mirror.startswith("https:") else []
        run_program([*IDLE, "debootstrap", "--variant=minbase", *more, RELEASE, root, mirror])
        for pattern in NEEDLESS:
            for path in Path(root).glob(pattern):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        container = run_program([*_buildah(cache), "from", "-q", "scratch"]).strip()
        run_program([*IDLE, *_buildah(cache), "copy", "-q", container, root, "/"])
        run_program([*_buildah(cache), "config", "--cmd", "/bin/sh", container])
        run_program([*IDLE, *_buildah(cache), "commit", "-q", "--rm", container, name])
    return name


def _wheels(cache: Path, repo: Path) -> Path:
    """The Python packages that the Containerfile names, ready to be installed."""
    fixed = repo / "constraints.txt"
    named = requirements((repo / RECIPE).read_text())
    what = repr((named, sys.version_info[:2])).encode() + fixed.read_bytes()
    folder = cache / f"wheels-{hashlib.sha256(what).hexdigest()[:16]}"
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            work = Path(scratch) / "wheels"
            pip = [*IDLE, sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", str(work)]
            run_program([*pip, "-c", str(fixed), *named])
            work.rename(folder)
    return folder


def requirements(containerfile: str) -> list[str]:
    """The words for pip.

    >>> requirements('RUN pip install -c x "requests>=2.25" "a,b" "python-dxf>=12.1,<13"')
    ['requests>=2.25', 'python-dxf>=12.1,<13']
    """
    return re.findall(r'"([a-z-]+[<>=~][^"]+)"', containerfile)


def _build(cache: Path, base: str, wheels: Path, context: Path) -> None:
    """On the host's network: the packages of the first layers come from a mirror."""
    run_program(
        [
            *IDLE, *_buildah(cache), "bud", "--layers", "--pull-never", "--format", "oci",
            "--isolation", "oci", "--runtime", "runc", "--network", "host",
            "--volume", f"{wheels}:/wheels:ro",
            "--build-arg", f"BASE={base}",
            "--build-arg", "PIP_ARGS=--no-index --find-links /wheels",
            "--file", str(context / RECIPE), "--tag", NAME, str(context),
        ]
    )  # fmt: skip


def _export(cache: Path, archive: Path) -> None:
    """Through a folder that keeps the layers as they are: those of before are not packed again."""
    layout = cache / "layout"
    store = f"containers-storage:[{_driver(cache)}@{cache}/containers+{cache}/containers.run]"
    copy = ["skopeo", "copy", "-q", "--dest-oci-accept-uncompressed-layers"]
    run_program([*copy, f"{store}{NAME}", f"oci:{layout}:{NAME}"])
    index = json.loads((layout / "index.json").read_text())
    named = next(one for one in index["manifests"] if NAME in one.get("annotations", {}).values())
    manifest = json.loads(_blob(layout, named).read_text())
    wanted = {_blob(layout, one) for one in (named, manifest["config"], *manifest["layers"])}
    (layout / "index.json").write_text(json.dumps({**index, "manifests": [named]}))
    for blob in set((layout / "blobs" / "sha256").iterdir()) - wanted:
        blob.unlink()
    with tarfile.open(archive, "w") as tar:
        for name in ("oci-layout", "index.json", "blobs"):
            tar.add(layout / name, arcname=name)


def _blob(layout: Path, descriptor: Mapping[str, str]) -> Path:
    return layout / "blobs" / descriptor["digest"].replace(":", "/")


@functools.cache
def _driver(cache: Path) -> str:
    return "overlay" if overlay.works_in(cache) else "vfs"


def _buildah(cache: Path) -> list[str]:
    store = cache / "containers"
    places = ["--root", str(store), "--runroot", f"{store}.run"]
    return ["buildah", *places, "--storage-driver", _driver(cache)]

"""The base image demo/base:1: for each arch the distribution's rpms in one layer, with their rpm
database. On aarch64 nothing in it can run (see distro.py), but files can be copied onto it.
"""

from __future__ import annotations

import gzip
import json
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

import requests

from koji_containerbuild.devstack.distro import ARCHES, Distro
from koji_containerbuild.devstack.process import run_program
from koji_containerbuild.errors import ServiceError
from koji_containerbuild.rules.manifests import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    Platform,
    build_index,
    goarch,
    sha256,
)

NAME = "demo/base"
UNIQUE_TAG = "1-1"
TAGS = ("1", "latest")
DATABASE = "/usr/lib/sysimage/rpm"
CREATED = "2025-11-20T00:53:20Z"  # distro.BORN, as the image format writes it
CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
LAYER_TYPE = "application/vnd.docker.image.rootfs.diff.tar.gzip"
LABELS = {
    "com.redhat.component": "demo-base-container",
    "name": NAME,
    "version": "1",
    "release": "1",
    "vendor": "Demo",
    "summary": "Base image of Demo Linux",
}


@dataclass(frozen=True)
class Image:
    """The image of one arch."""

    arch: str  # Koji's name
    manifest: bytes
    config: bytes
    layer: bytes

    @property
    def digest(self) -> str:
        """Of its manifest."""
        return sha256(self.manifest)


@dataclass(frozen=True)
class Pushed:
    """The images as they stand in the registry, below one manifest list."""

    images: tuple[Image, ...]
    repository: str  # host:port/name
    digest: str  # of the list

    @property
    def pullspecs(self) -> tuple[str, ...]:
        """By digest, then by its one tag that never moves."""
        return f"{self.repository}@{self.digest}", f"{self.repository}:{UNIQUE_TAG}"


def build(distro: Distro) -> None:
    """Make the images from the rpms, beside them; once."""
    for arch in ARCHES:
        if not _folder(distro, arch).is_dir():
            with tempfile.TemporaryDirectory(dir=distro.folder) as scratch:
                _build(distro, arch, Path(scratch))
                (Path(scratch) / "image").rename(_folder(distro, arch))


def is_built(distro: Distro) -> bool:
    """Whether the images are beside the rpms."""
    return all(_folder(distro, arch).is_dir() for arch in ARCHES)


def provide(distro: Distro, registry: str) -> Pushed:
    """Have the images in the registry (host:port), and their list under all its tags."""
    images = tuple(_read(distro, arch) for arch in ARCHES)
    entries = [
        Platform(goarch(i.arch), "linux", "", i.digest, DOCKER_MANIFEST, len(i.manifest))
        for i in images
    ]
    index = build_index(entries, DOCKER_LIST)
    digest = sha256(index)
    base = f"http://{registry}/v2/{NAME}"
    if not _has_all(base, digest):
        for image in images:
            _push_blob(base, image.config)
            _push_blob(base, image.layer)
            _push_manifest(f"{base}/manifests/{image.digest}", image.manifest, DOCKER_MANIFEST)
        for tag in (UNIQUE_TAG, *TAGS):
            _push_manifest(f"{base}/manifests/{tag}", index, DOCKER_LIST)
    return Pushed(images, f"{registry}/{NAME}", digest)


def _read(distro: Distro, arch: str) -> Image:
    names = ("manifest.json", "config.json", "layer.tar.gz")
    return Image(arch, *((_folder(distro, arch) / name).read_bytes() for name in names))


def _folder(distro: Distro, arch: str) -> Path:
    return distro.folder / f"base-{arch}"


def _build(distro: Distro, arch: str, work: Path) -> None:
    """Write layer, config and manifest into work/image."""
    root, image = work / "root", work / "image"
    image.mkdir()
    _install(distro, arch, root)
    tar = work / "layer.tar"
    with tarfile.open(tar, "w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(root.rglob("*")):
            archive.add(path, arcname=str(path.relative_to(root)), recursive=False)
    plain = tar.read_bytes()
    layer = gzip.compress(plain, compresslevel=6, mtime=0)
    config = json.dumps(_config(arch, sha256(plain))).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": _descriptor(CONFIG_TYPE, config),
        "layers": [_descriptor(LAYER_TYPE, layer)],
    }
    (image / "layer.tar.gz").write_bytes(layer)
    (image / "config.json").write_bytes(config)
    (image / "manifest.json").write_text(json.dumps(manifest, indent=1))


def _install(distro: Distro, arch: str, root: Path) -> None:
    """Into a folder, with the key in its database, so that rpm in the image trusts the rpms."""
    root.mkdir()
    where = ["--root", str(root), "--dbpath", DATABASE]
    run_program(["rpmkeys", *where, "--import", str(distro.key)])
    rpms = [str(path) for path in distro.base_rpms(arch)]
    run_program(["rpm", *where, "--force-debian", "--ignorearch", "--install", *rpms])


def _config(arch: str, diff_id: str) -> dict[str, object]:
    return {
        "architecture": goarch(arch),
        "os": "linux",
        "created": CREATED,
        "config": {
            "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"],
            "Cmd": ["/bin/sh"],
            "WorkingDir": "/",
            "Labels": {**LABELS, "architecture": arch},
        },
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created": CREATED, "created_by": "koji-containerbuild devstack"}],
    }


def _descriptor(kind: str, data: bytes) -> dict[str, object]:
    return {"mediaType": kind, "size": len(data), "digest": sha256(data)}


def _has_all(base: str, digest: str) -> bool:
    headers = {"Accept": DOCKER_LIST}
    answers = [
        requests.head(f"{base}/manifests/{tag}", headers=headers, timeout=30) for tag in TAGS
    ]
    return all(one.headers.get("Docker-Content-Digest") == digest for one in answers)


def _push_blob(base: str, data: bytes) -> None:
    begun = _check(requests.post(f"{base}/blobs/uploads/", timeout=30))
    where = begun.headers["Location"]
    headers = {"Content-Type": "application/octet-stream"}
    query = {"digest": sha256(data)}
    _check(requests.put(where, data, params=query, headers=headers, timeout=60))


def _push_manifest(url: str, body: bytes, kind: str) -> None:
    _check(requests.put(url, body, headers={"Content-Type": kind}, timeout=30))


def _check(answer: requests.Response) -> requests.Response:
    if not answer.ok:
        raise ServiceError(f"The registry refused {answer.url}: {answer.status_code} {answer.text}")
    return answer

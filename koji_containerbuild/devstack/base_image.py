"""The base image demo/base:1: the distribution's rpms in one layer, with their rpm database."""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

import requests

from koji_containerbuild.devstack.distro import Distro
from koji_containerbuild.devstack.process import run_program
from koji_containerbuild.errors import ServiceError

NAME = "demo/base"
UNIQUE_TAG = "1-1"
TAGS = ("1", "latest")
DATABASE = "/usr/lib/sysimage/rpm"
CREATED = "2025-11-20T00:53:20Z"  # distro.BORN, as the image format writes it
MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
LAYER_TYPE = "application/vnd.docker.image.rootfs.diff.tar.gzip"
LABELS = {
    "com.redhat.component": "demo-base-container",
    "name": NAME,
    "version": "1",
    "release": "1",
    "architecture": "x86_64",
    "vendor": "Demo",
    "summary": "Base image of Demo Linux",
}


@dataclass(frozen=True)
class Pushed:
    """The image as it stands in the registry."""

    digest: str  # of its manifest
    config_digest: str
    config: bytes
    pullspecs: tuple[str, ...]  # by digest, then by its one tag that never moves


def build(distro: Distro) -> None:
    """Make the image from the rpms, beside them; once."""
    if not _folder(distro).is_dir():
        with tempfile.TemporaryDirectory(dir=distro.folder) as scratch:
            _build(distro, Path(scratch))
            (Path(scratch) / "image").rename(_folder(distro))


def provide(distro: Distro, registry: str) -> Pushed:
    """Have the image in the registry (host:port) under all its tags."""
    folder = _folder(distro)
    manifest, config = ((folder / f"{name}.json").read_bytes() for name in ("manifest", "config"))
    digest = _digest(manifest)
    base = f"http://{registry}/v2/{NAME}"
    if not _has_all(base, digest):
        for blob in (config, (folder / "layer.tar.gz").read_bytes()):
            _push_blob(base, blob)
        for tag in (UNIQUE_TAG, *TAGS):
            headers = {"Content-Type": MANIFEST_TYPE}
            _check(requests.put(f"{base}/manifests/{tag}", manifest, headers=headers, timeout=30))
    pullspecs = (f"{registry}/{NAME}@{digest}", f"{registry}/{NAME}:{UNIQUE_TAG}")
    return Pushed(digest, _digest(config), config, pullspecs)


def _folder(distro: Distro) -> Path:
    return distro.folder / "base"


def _build(distro: Distro, work: Path) -> None:
    """Write layer, config and manifest into work/image."""
    root, image = work / "root", work / "image"
    image.mkdir()
    _install(distro, root)
    tar = work / "layer.tar"
    with tarfile.open(tar, "w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(root.rglob("*")):
            archive.add(path, arcname=str(path.relative_to(root)), recursive=False)
    plain = tar.read_bytes()
    layer = gzip.compress(plain, compresslevel=6, mtime=0)
    config = json.dumps(_config(_digest(plain))).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": _descriptor(CONFIG_TYPE, config),
        "layers": [_descriptor(LAYER_TYPE, layer)],
    }
    (image / "layer.tar.gz").write_bytes(layer)
    (image / "config.json").write_bytes(config)
    (image / "manifest.json").write_text(json.dumps(manifest, indent=1))


def _install(distro: Distro, root: Path) -> None:
    """Into a folder, with the key in its database, so that rpm in the image trusts the rpms."""
    root.mkdir()
    where = ["--root", str(root), "--dbpath", DATABASE]
    run_program(["rpmkeys", *where, "--import", str(distro.key)])
    rpms = [str(path) for path in distro.base_rpms]
    run_program(["rpm", *where, "--force-debian", "--install", *rpms])


def _config(diff_id: str) -> dict[str, object]:
    return {
        "architecture": "amd64",
        "os": "linux",
        "created": CREATED,
        "config": {
            "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"],
            "Cmd": ["/bin/sh"],
            "WorkingDir": "/",
            "Labels": LABELS,
        },
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created": CREATED, "created_by": "koji-containerbuild devstack"}],
    }


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _descriptor(kind: str, data: bytes) -> dict[str, object]:
    return {"mediaType": kind, "size": len(data), "digest": _digest(data)}


def _has_all(base: str, digest: str) -> bool:
    headers = {"Accept": MANIFEST_TYPE}
    answers = [
        requests.head(f"{base}/manifests/{tag}", headers=headers, timeout=30) for tag in TAGS
    ]
    return all(one.headers.get("Docker-Content-Digest") == digest for one in answers)


def _push_blob(base: str, data: bytes) -> None:
    begun = _check(requests.post(f"{base}/blobs/uploads/", timeout=30))
    where = begun.headers["Location"]
    headers = {"Content-Type": "application/octet-stream"}
    query = {"digest": _digest(data)}
    _check(requests.put(where, data, params=query, headers=headers, timeout=60))


def _check(answer: requests.Response) -> requests.Response:
    if not answer.ok:
        raise ServiceError(f"The registry refused {answer.url}: {answer.status_code} {answer.text}")
    return answer

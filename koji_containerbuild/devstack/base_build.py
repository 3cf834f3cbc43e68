"""The base image as a Koji build, demo-base-container-1-1: the parent that builds can name."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from koji_containerbuild.devstack import base_image
from koji_containerbuild.devstack.distro import Distro
from koji_containerbuild.devstack.process import run_program
from koji_containerbuild.devstack.seed import (
    ADMIN,
    CONTENT_GENERATOR,
    DEST_TAG,
    PACKAGER,
    Admin,
)
from koji_containerbuild.rules.manifests import DOCKER_LIST, DOCKER_MANIFEST, sha256

NAME = "demo-base-container"
VERSION = RELEASE = "1"
NVR = f"{NAME}-{VERSION}-{RELEASE}"
BUILDROOT = "devstack-x86_64"


def import_once(admin: Admin, distro: Distro, image: base_image.Pushed) -> None:
    """Import and tag it, as the image stands in the registry."""
    session = admin.session
    if not session.getBuild(NVR):
        admin.allow_generator(ADMIN, CONTENT_GENERATOR)
        folder = f"cli-import/{NVR}.{time.time_ns()}"
        with tempfile.TemporaryDirectory() as scratch:
            archives = [_archive(Path(scratch), image, one) for one in image.images]
            outputs = [
                _output(distro, image, one, path) for one, path in zip(image.images, archives)
            ]
            for archive in archives:
                admin.upload(archive, folder)
            session.CGImport(_metadata(image, outputs), folder)
    admin.add_package(NAME)
    if DEST_TAG not in {tag["name"] for tag in session.listTags(NVR)}:
        session.tagBuildBypass(DEST_TAG, NVR)


def _archive(folder: Path, pushed: base_image.Pushed, image: base_image.Image) -> Path:
    """The image itself is in the registry; Koji wants a file for it all the same."""
    path = folder / f"docker-image-{sha256(image.config)}.{image.arch}.tar.gz"
    text = f"The image is in the registry: {pushed.repository}@{image.digest}\n".encode()
    with tarfile.open(path, "w:gz") as tar:
        entry = tarfile.TarInfo("README")
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))
    return path


def _metadata(image: base_image.Pushed, outputs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Content generator metadata, version 0 (docs/source/content_generator_metadata of Koji)."""
    now = int(time.time())
    index = {
        "tags": [base_image.UNIQUE_TAG],
        "floating_tags": list(base_image.TAGS),
        "pull": list(image.pullspecs),
        "digests": {DOCKER_LIST: image.digest},
    }
    about = {
        "parent_images": ["scratch"],
        "media_types": [DOCKER_LIST, DOCKER_MANIFEST],
        "index": index,
    }
    return {
        "metadata_version": 0,
        "build": {
            "name": NAME,
            "version": VERSION,
            "release": RELEASE,
            "source": None,
            "start_time": now,
            "end_time": now,
            "owner": PACKAGER,
            "extra": {"image": about},
        },
        "buildroots": [
            {
                "id": BUILDROOT,
                "host": {"os": "Debian", "arch": "x86_64"},
                "content_generator": {"name": CONTENT_GENERATOR, "version": "devstack"},
                "container": {"type": "none", "arch": "x86_64"},
                "tools": [],
                "components": [],
            }
        ],
        "output": list(outputs),
    }


def _output(
    distro: Distro, pushed: base_image.Pushed, image: base_image.Image, archive: Path
) -> dict[str, Any]:
    data = archive.read_bytes()
    docker = {
        "id": sha256(image.config),
        "repositories": [f"{pushed.repository}@{image.digest}"],
        "tags": [base_image.UNIQUE_TAG],
        "floating_tags": list(base_image.TAGS),
        "digests": {DOCKER_MANIFEST: image.digest},
        "config": json.loads(image.config),
    }
    return {
        "buildroot_id": BUILDROOT,
        "filename": archive.name,
        "filesize": len(data),
        "checksum": hashlib.md5(data).hexdigest(),  # noqa: S324  Koji 1.30 knows no other
        "checksum_type": "md5",
        "arch": image.arch,
        "type": "docker-image",
        "components": _components(distro.base_rpms(image.arch)),
        "extra": {"image": {"arch": image.arch}, "docker": docker},
    }


def _components(rpms: Sequence[Path]) -> list[dict[str, Any]]:
    """The rpms in the image, so that Koji knows where each is."""
    form = "%{NAME} %{VERSION} %{RELEASE} %{ARCH} %{SIGMD5} %{RSAHEADER:pgpsig}\\n"
    query = ["rpm", "-qp", "--nosignature", "--qf", form]
    lines = run_program([*query, *(str(path) for path in rpms)]).splitlines()
    found = []
    for line in lines:
        name, version, release, arch, md5, signature = line.split(" ", 5)
        found.append(
            {
                "type": "rpm",
                "name": name,
                "version": version,
                "release": release,
                "epoch": None,
                "arch": arch,
                "sigmd5": md5,
                "signature": signature[-8:],
            }
        )
    return found

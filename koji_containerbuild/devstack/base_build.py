"""The base image as a Koji build, demo-base-container-1-1: the parent that builds can name."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import tempfile
import time
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
            archive = _archive(Path(scratch), image)
            metadata = _metadata(distro, image, archive)
            admin.upload(archive, folder)
            session.CGImport(metadata, folder)
    admin.add_package(NAME)
    if DEST_TAG not in {tag["name"] for tag in session.listTags(NVR)}:
        session.tagBuildBypass(DEST_TAG, NVR)


def _archive(folder: Path, image: base_image.Pushed) -> Path:
    """The image itself is in the registry; Koji wants a file for it all the same."""
    path = folder / f"docker-image-{image.config_digest}.x86_64.tar.gz"
    text = f"The image is in the registry: {image.pullspecs[0]}\n".encode()
    with tarfile.open(path, "w:gz") as tar:
        entry = tarfile.TarInfo("README")
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))
    return path


def _metadata(distro: Distro, image: base_image.Pushed, archive: Path) -> dict[str, Any]:
    """Content generator metadata, version 0 (docs/source/content_generator_metadata of Koji)."""
    now = int(time.time())
    kind = base_image.MANIFEST_TYPE
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
            "extra": {"image": {"parent_images": ["scratch"], "media_types": [kind]}},
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
        "output": [_output(distro, image, archive)],
    }


def _output(distro: Distro, image: base_image.Pushed, archive: Path) -> dict[str, Any]:
    data = archive.read_bytes()
    docker = {
        "id": image.config_digest,
        "repositories": list(image.pullspecs),
        "tags": ["1-1"],
        "floating_tags": list(base_image.TAGS),
        "digests": {base_image.MANIFEST_TYPE: image.digest},
        "config": json.loads(image.config),
    }
    return {
        "buildroot_id": BUILDROOT,
        "filename": archive.name,
        "filesize": len(data),
        "checksum": hashlib.md5(data).hexdigest(),  # noqa: S324  Koji 1.30 knows no other
        "checksum_type": "md5",
        "arch": "x86_64",
        "type": "docker-image",
        "components": _components(distro),
        "extra": {"image": {"arch": "x86_64"}, "docker": docker},
    }


def _components(distro: Distro) -> list[dict[str, Any]]:
    """The rpms in the image, so that Koji knows where each is."""
    form = "%{NAME} %{VERSION} %{RELEASE} %{ARCH} %{SIGMD5} %{RSAHEADER:pgpsig}\\n"
    query = ["rpm", "-qp", "--nosignature", "--qf", form]
    lines = run_program([*query, *(str(path) for path in distro.base_rpms)]).splitlines()
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

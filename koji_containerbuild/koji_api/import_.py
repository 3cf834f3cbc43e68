"""Import a build: upload its files, hand over the metadata, tag it."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import koji

from koji_containerbuild.errors import ServiceError
from koji_containerbuild.koji_api.lookups import Lookups
from koji_containerbuild.koji_api.metadata import OutputFile
from koji_containerbuild.koji_api.reserve import Reservation
from koji_containerbuild.koji_api.session import HUB_ERRORS, Session, asking

BLOCK = 1024 * 1024
SMALL = 256 * 1024  # bytes: two dozen such files make one request


def measure(path: Path, arch: str = "noarch") -> OutputFile:
    """Size and checksum of a file that will be uploaded under its own name."""
    digest = hashlib.md5()  # noqa: S324 — Koji's checksum of archives
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return OutputFile(path.name, path.stat().st_size, digest.hexdigest(), arch)


def check(document: Mapping[str, Any]) -> None:
    """Raises ServiceError where the metadata is not what the hub wants: it would say KeyError."""
    import fastjsonschema

    try:
        validator()(document)
    except fastjsonschema.JsonSchemaException as error:
        raise ServiceError(f"The metadata is wrong: {error}.", do="This is a bug.") from error


@lru_cache(maxsize=1)
def validator() -> Any:
    """The schema, compiled: called when kojid starts, so that no task does it again."""
    import fastjsonschema

    schema = resources.files(__package__).joinpath("metadata.schema.json").read_text("utf-8")
    return fastjsonschema.compile(json.loads(schema))


def import_build(
    session: Session,
    metadata: Path,
    files: Sequence[Path],
    reservation: Reservation,
) -> int:
    """Make the reserved build COMPLETE; return its id. Raises ServiceError.

    A reply that was lost is no failure: the hub is asked whether the build is complete.
    """
    folder = f"koji-containerbuild/{reservation.nvr}-{secrets.token_hex(8)}"
    with asking("take the files of the build"):
        _upload(session, [*files, metadata], folder)
    try:
        return int(session.CGImport(metadata.name, folder, reservation.token)["id"])
    except (koji.GenericError, *HUB_ERRORS) as error:
        build = Lookups(session).build(str(reservation.nvr))
        if build and build.state == "COMPLETE" and build.id == reservation.build_id:
            return build.id
        raise ServiceError(f"Koji did not import {reservation.nvr}: {error}.") from error


def _upload(session: Session, files: Sequence[Path], folder: str) -> None:
    """Small files go in one request; each alone would be two."""
    small = [path for path in files if path.stat().st_size <= SMALL]
    with session.multicall(strict=True) as call:
        for path in small:
            data = path.read_bytes()
            md5 = hashlib.md5(data).hexdigest()  # noqa: S324 — what the call takes
            text = base64.b64encode(data).decode()
            call.uploadFile(folder, path.name, len(data), md5, "0", text)
    for path in files:
        if path not in small:
            session.uploadWrapper(str(path), folder, path.name, blocksize=BLOCK)


def tag_build(session: Session, task_id: int, tag: str, reservation: Reservation) -> None:
    """Tag as the task's owner, so that the tag policy judges the right person."""
    what = f"tag {reservation.nvr} into {tag}"
    do = f"The build is imported; tag it by hand: koji tag-build {tag} {reservation.nvr}"
    with asking(what, do):
        tags = session.listTags(build=reservation.build_id)
        if tag not in (each["name"] for each in tags):  # a task that starts again may find it so
            session.host.tagBuild(task_id, tag, reservation.build_id)

"""Archives of Koji builds: those that a build uses, and whether Koji would take one of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import koji

from koji_containerbuild.errors import BadRequest, ServiceError
from koji_containerbuild.koji_api.metadata import SOURCE_TYPE
from koji_containerbuild.koji_api.session import Session, asking


@dataclass(frozen=True)
class Archive:
    """A file of a Koji build."""

    id: int
    nvr: str
    filename: str
    group_id: str  # of Maven; empty: none
    path: str  # as it lies in a Maven repository, or else the file name
    url: str
    checksum_type: str
    checksum: str  # hex
    size: int  # bytes


def archives_of(session: Session, nvr: str, topurl: str) -> tuple[Archive, ...]:
    """All files of a complete build but its RPMs. Raises BadRequest: there is no such build."""
    with asking(f"tell about the build {nvr}"):
        build = session.getBuild(nvr)
    if not build:
        raise BadRequest(f"Koji has no build {nvr}.", do="Write NAME-VERSION-RELEASE.")
    state = koji.BUILD_STATES[build["state"]]
    if state != "COMPLETE":
        raise BadRequest(f"The build {build['nvr']} is {state} in Koji, and not COMPLETE.")
    with asking(f"list the files of {nvr}"), session.multicall(strict=True) as call:
        plain = call.listArchives(buildID=build["id"])
        maven = call.listArchives(buildID=build["id"], type="maven")
        windows = call.listArchives(buildID=build["id"], type="win")
    rows = {row["id"]: row for row in plain.result}
    for row in (*maven.result, *windows.result):
        rows[row["id"]] = {**rows.get(row["id"], {}), **row}
    there = (row for _, row in sorted(rows.items()) if not row.get("metadata_only"))
    return tuple(_archive(row, build, topurl) for row in there)


def _archive(row: Mapping[str, Any], build: Mapping[str, Any], topurl: str) -> Archive:
    places = koji.PathInfo(topdir=topurl.rstrip("/"))
    path = row["filename"]
    if row["btype"] == "maven":
        path = places.mavenfile(row)
    elif row["btype"] == "win":
        path = places.winfile(row)
    return Archive(
        id=int(row["id"]),
        nvr=build["nvr"],
        filename=row["filename"],
        group_id=row.get("group_id") or "",
        path=path,
        url=f"{quote(places.typedir(build, row['btype']), safe=':/')}/{quote(path)}",
        checksum_type=koji.CHECKSUM_TYPES[row["checksum_type"]],
        checksum=row["checksum"],
        size=int(row["size"]),
    )


def check_source_types(session: Session, filenames: Sequence[str]) -> None:
    """Raises unless Koji would keep such files as sources: after a long build it is too late."""
    with asking("tell which files it keeps"), session.multicall(strict=True) as call:
        kinds = call.listBTypes()
        found = [(name, call.getArchiveType(filename=name)) for name in filenames]
    if SOURCE_TYPE not in (kind["name"] for kind in kinds.result):
        raise ServiceError(
            f"This Koji has no build type {SOURCE_TYPE}, and cannot keep sources of artifacts.",
            do=f"Ask an admin: koji call addBType {SOURCE_TYPE}",
        )
    for name, kind in found:
        if not kind.result:
            raise BadRequest(
                f"Koji keeps no files of the kind of {name}.",
                do="Declare a source of a known kind, such as .tar.gz or .zip.",
            )

"""What Koji knows of the images of a build: enough to compare it with another one.

Builds of other builders are read too, so nothing in their `extra` is taken for granted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Optional

import koji

from koji_containerbuild.errors import BadRequest
from koji_containerbuild.koji_api.session import Session, asking
from koji_containerbuild.rules.changes import BuildFacts, ImageFacts, Package, evr, image_facts
from koji_containerbuild.rules.nvr import name_or_id

COMPLETE = koji.BUILD_STATES["COMPLETE"]


def named_builds(session: Session, words: Sequence[str]) -> list[BuildFacts]:
    """By name-version-release, or by id in digits. Raises BadRequest for what is no image."""
    ids = {}
    for word in words:
        key = name_or_id(word)
        with asking(f"tell about the build {word}"):
            found = session.getBuild(key)
        if not found:
            raise BadRequest(
                f"There is no build {word}.", do="Give name-version-release, or an id."
            )
        ids[word] = int(found["id"])
    facts = build_facts(session, list(ids.values()))
    for word, build_id in ids.items():
        if build_id not in facts:
            raise BadRequest(f"The build {word} has no container images.")
    return [facts[ids[word]] for word in words]


def previous_build(session: Session, package: str, tag: str) -> Optional[int]:
    """The newest image of that package in the tag; if there is none, in all of Koji."""
    newest = {"order": "-completion_time", "limit": 1}
    with asking(f"tell about earlier builds of {package}"):
        with session.multicall(strict=True) as call:
            tagged = call.listTagged(tag, package=package, latest=True, type="image")
            every = call.listBuilds(
                packageID=package, state=COMPLETE, type="image", queryOpts=newest
            )
        found = tagged.result or every.result
    return int(found[0]["build_id"]) if found else None


def build_facts(session: Session, ids: Sequence[int]) -> dict[int, BuildFacts]:
    """By build id; only builds that have container images. Raises ServiceError."""
    if not ids:
        return {}
    with asking("tell about the images of builds"):
        with session.multicall(strict=True) as call:
            builds = {each: call.getBuild(each) for each in ids}
            archives = {each: call.listArchives(each, type="image") for each in ids}
        images = {each: list(filter(_docker, archives[each].result)) for each in ids}
        with session.multicall(strict=True) as call:
            wanted = [archive["id"] for found in images.values() for archive in found]
            rpms = {each: call.listRPMs(imageID=each) for each in wanted}
    return {
        each: BuildFacts(
            builds[each].result["nvr"],
            tuple(_image(archive, rpms[archive["id"]].result) for archive in found),
        )
        for each, found in images.items()
        if found and builds[each].result
    }


def _docker(archive: Mapping[str, Any]) -> Mapping[str, Any]:
    """What makes an archive a container image; empty for another one."""
    docker = (archive.get("extra") or {}).get("docker")
    return docker if isinstance(docker, dict) else {}


def _image(archive: Mapping[str, Any], rpms: Iterable[Mapping[str, Any]]) -> ImageFacts:
    docker = _docker(archive)
    sizes = docker.get("layer_sizes")
    return image_facts(
        arch=str(archive["arch"]),
        config=docker.get("config"),
        sizes={
            str(layer.get("diff_id")): layer["size"]
            for layer in (sizes if isinstance(sizes, list) else ())
            if isinstance(layer, dict) and isinstance(layer.get("size"), int)
        },
        packages=tuple(
            Package(
                rpm["name"],
                rpm["arch"],
                evr(rpm["epoch"], rpm["version"], rpm["release"]),
                rpm["payloadhash"],
            )
            for rpm in rpms
        ),
        config_digest=str(docker.get("id") or ""),
    )


def unknown_packages(session: Session, packages: Iterable[Package]) -> frozenset[Package]:
    """Those that Koji does not have, or not this file of: no build's package list has them."""
    with asking("tell about packages"):
        with session.multicall(strict=True) as call:
            asked = {package: call.getRPM(_rpm_info(package)) for package in packages}
        return frozenset(
            package
            for package, answer in asked.items()
            if (answer.result or {}).get("payloadhash") != package.sigmd5
        )


def _rpm_info(package: Package) -> dict[str, str]:
    version, _, release = package.evr.rpartition(":")[2].rpartition("-")
    return {
        "name": package.name,
        "version": version,
        "release": release,
        "arch": package.arch,
    }

"""Builds of images that are parents: what Koji has of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Optional, Union

import koji

from koji_containerbuild.koji_api.session import Session, asking
from koji_containerbuild.rules.parents import KojiArchive, KojiImage

Name = Union[str, int]  # NVR, or build id


def builds_of_images(session: Session, names: Iterable[Name]) -> dict[Name, Optional[KojiImage]]:
    """All of them in two requests; None for a build that is not there."""
    asked = list(dict.fromkeys(names))
    if not asked:
        return {}
    with asking("tell about the builds of parents"):
        with session.multicall(strict=True) as call:
            builds = [call.getBuild(name) for name in asked]
        found = [one.result for one in builds if one.result]
        with session.multicall(strict=True) as call:
            archives = {
                one["id"]: call.listArchives(buildID=one["id"], type="image") for one in found
            }
    return {
        name: _image(one.result, archives[one.result["id"]].result) if one.result else None
        for name, one in zip(asked, builds)
    }


def _image(build: Mapping[str, Any], archives: Iterable[Mapping[str, Any]]) -> KojiImage:
    index = _at(build, "extra", "typeinfo", "image", "index") or _at(
        build, "extra", "image", "index"
    )
    return KojiImage(
        id=int(build["id"]),
        nvr=build["nvr"],
        state=koji.BUILD_STATES[build["state"]],
        index_digests=frozenset(_map(_at(index, "digests")).values()),
        index_pull=tuple(_at(index, "pull") or ()),
        archives={
            str(_at(one, "extra", "image", "arch")): KojiArchive(
                digests=frozenset(_map(_at(one, "extra", "docker", "digests")).values()),
                pull=tuple(_at(one, "extra", "docker", "repositories") or ()),
            )
            for one in archives
        },
    )


def _at(value: Any, *keys: str) -> Any:
    """What lies below these keys; None where there is nothing: each generator writes its own."""
    for key in keys:
        value = _map(value).get(key)
    return value


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}

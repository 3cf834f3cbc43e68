"""Image manifests and indexes: read one, make an index, take a layer out. Bytes in, bytes out.

Sources: the Docker registry's manifest v2 schema 2; the OCI image spec (manifest, index, config).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from koji_containerbuild.errors import ServiceError

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"

INDEX_TYPES = (DOCKER_LIST, OCI_INDEX)
ALL_TYPES = (DOCKER_MANIFEST, DOCKER_LIST, OCI_MANIFEST, OCI_INDEX)

# A layer's type in a Docker manifest, whichever kind of manifest it comes from.
AS_DOCKER = {
    "application/vnd.docker.image.rootfs.diff.tar.gzip": (
        "application/vnd.docker.image.rootfs.diff.tar.gzip"
    ),
    "application/vnd.oci.image.layer.v1.tar+gzip": (
        "application/vnd.docker.image.rootfs.diff.tar.gzip"
    ),
}

_GOARCH = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "armv7hl": "arm"}
_KOJI_ARCH = {go: koji for koji, go in _GOARCH.items()}


def goarch(arch: str) -> str:
    """Koji's name of an arch as Go, and so every registry, calls it.

    >>> [goarch(arch) for arch in ("x86_64", "aarch64", "ppc64le", "i686")]
    ['amd64', 'arm64', 'ppc64le', '386']
    """
    return _GOARCH.get(arch, arch)


def koji_arch(arch: str) -> str:
    """The way back: GOARCH to Koji's name.

    >>> koji_arch("amd64"), koji_arch(goarch("s390x"))
    ('x86_64', 's390x')
    """
    return _KOJI_ARCH.get(arch, arch)


def sha256(body: bytes) -> str:
    """The digest by which a registry knows these bytes.

    >>> sha256(b"")[:19]
    'sha256:e3b0c44298fc'
    """
    return "sha256:" + hashlib.sha256(body).hexdigest()


def to_bytes(document: dict[str, Any]) -> bytes:
    """JSON without spaces, keys in the order given: the same document, the same bytes.

    >>> to_bytes({"b": 1, "a": "é"}).decode()
    '{"b":1,"a":"é"}'
    """
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


@dataclass(frozen=True)
class Platform:
    """One entry of an index: an image, and what it runs on."""

    arch: str  # GOARCH: amd64, arm64
    os: str
    variant: str  # v7 of arm; mostly empty
    digest: str
    media_type: str
    size: int  # of the manifest, in bytes


def platforms(index: bytes) -> tuple[Platform, ...]:
    """The images of a manifest list or OCI index, in the order they stand there.

    Attestations are left out: they stand in an index as images for the platform `unknown`.
    Raises ServiceError when the body is not an index.

    >>> entry = Platform("amd64", "linux", "", "sha256:" + "a" * 64, OCI_MANIFEST, 7)
    >>> platforms(build_index([entry], OCI_INDEX)) == (entry,)
    True
    """
    found = []
    try:
        for entry in _document(index)["manifests"]:
            where = entry.get("platform") or {}
            found.append(
                Platform(
                    arch=where.get("architecture", ""),
                    os=where.get("os", ""),
                    variant=where.get("variant", ""),
                    digest=entry["digest"],
                    media_type=entry.get("mediaType", OCI_MANIFEST),
                    size=int(entry["size"]),
                )
            )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ServiceError("This is no manifest list and no OCI index.", do=_LOOK) from error
    return tuple(platform for platform in found if platform.os != "unknown")


def index_type(media_types: Iterable[str]) -> str:
    """The kind of index to make of such images: Docker's as long as all of them are Docker's.

    >>> index_type([DOCKER_MANIFEST, DOCKER_MANIFEST]) == DOCKER_LIST
    True
    >>> index_type([DOCKER_MANIFEST, OCI_MANIFEST]) == OCI_INDEX
    True
    """
    return DOCKER_LIST if all(kind == DOCKER_MANIFEST for kind in media_types) else OCI_INDEX


def build_index(entries: Sequence[Platform], media_type: str) -> bytes:
    """The body of an index. Sorted by platform, so that the same images give the same digest.

    Raises ValueError for two images of one platform, and for a media type that is no index.
    """
    if media_type not in INDEX_TYPES:
        raise ValueError(f"{media_type} is not the media type of an index")
    ordered = sorted(entries, key=_platform_name)
    names = [_platform_name(entry) for entry in ordered]
    if len(set(names)) != len(names):
        raise ValueError(f"an index holds each platform once, not {names}")
    return to_bytes(
        {
            "schemaVersion": 2,
            "mediaType": media_type,
            "manifests": [_entry(platform) for platform in ordered],
        }
    )


def _platform_name(platform: Platform) -> tuple[str, str, str]:
    return platform.os, platform.arch, platform.variant


def _entry(platform: Platform) -> dict[str, Any]:
    where = {"architecture": platform.arch, "os": platform.os}
    if platform.variant:
        where["variant"] = platform.variant
    return {
        "mediaType": platform.media_type,
        "size": platform.size,
        "digest": platform.digest,
        "platform": where,
    }


def media_type_of(body: bytes, said: str = "") -> str:
    """The media type of a manifest: as the registry `said`, else its own word, else by its shape.

    An OCI manifest need not name its type, and some registries answer `application/json`.
    Returns "" for what is no manifest that we know (Docker's dead schema 1, say).

    >>> media_type_of(b"{}", "application/vnd.oci.image.index.v1+json; charset=utf-8") == OCI_INDEX
    True
    >>> media_type_of(b'{"schemaVersion": 2, "config": {}}', "application/json") == OCI_MANIFEST
    True
    >>> media_type_of(b'{"schemaVersion": 1}')
    ''
    """
    said = said.partition(";")[0].strip().lower()
    if said in ALL_TYPES:
        return said
    try:
        document = _document(body)
    except ServiceError:
        return ""
    own = document.get("mediaType", "")
    if own:
        return own if own in ALL_TYPES else ""
    if document.get("schemaVersion") != 2:
        return ""
    shapes = (("manifests", OCI_INDEX), ("config", OCI_MANIFEST))
    return next((kind for key, kind in shapes if key in document), "")


def config_digest(manifest: bytes) -> str:
    """The digest of an image's config. Raises ServiceError when the manifest names none.

    >>> config_digest(b'{"config": {"digest": "sha256:abc"}}')
    'sha256:abc'
    """
    try:
        return str(_document(manifest)["config"]["digest"])
    except (KeyError, TypeError) as error:
        raise ServiceError("This manifest names no config.", do=_LOOK) from error


def without_layer(manifest: bytes, config: bytes, index: int) -> tuple[bytes, bytes]:
    """Take layer number `index` (from 0, the lowest) out of an image: new manifest, new config.

    The layer goes from the manifest, from `rootfs.diff_ids`, and with its entry from the history.
    All else stays as it was, in its order: HEALTHCHECK, labels, the empty layers of the history.
    Raises ServiceError when manifest and config disagree, IndexError when there is no such layer.
    """
    image, settings = _document(manifest), _document(config)
    layers, diff_ids = _lists(image, settings)
    if not 0 <= index < len(layers):
        raise IndexError(f"an image of {len(layers)} layers has no layer {index}")
    new_settings = dict(settings)
    new_settings["rootfs"] = {**settings["rootfs"], "diff_ids": _without(diff_ids, index)}
    if settings.get("history"):
        place = _history_entry(settings["history"], len(layers), index)
        new_settings["history"] = _without(settings["history"], place)
    new_config = to_bytes(new_settings)
    new_image = dict(image)
    new_image["layers"] = _without(layers, index)
    new_image["config"] = {
        **image["config"],
        "size": len(new_config),
        "digest": sha256(new_config),
    }
    return to_bytes(new_image), new_config


def with_one_layer(
    manifest: bytes, config: bytes, below: int, layer: dict[str, Any], diff_id: str
) -> tuple[bytes, bytes]:
    """Put one layer in place of all those above the lowest `below`: new manifest, new config.

    The entries that these have in the history stay, the last one as the entry of the new layer.
    Raises ServiceError when manifest and config disagree.
    """
    image, settings = _document(manifest), _document(config)
    layers, diff_ids = _lists(image, settings)
    history = list(settings.get("history") or ())
    filled = [at for at, entry in enumerate(history) if not entry.get("empty_layer")]
    for at in filled[len(filled) - (len(layers) - below) : -1]:
        history[at] = {**history[at], "empty_layer": True}
    settings["rootfs"] = {**settings["rootfs"], "diff_ids": [*diff_ids[:below], diff_id]}
    if history:
        settings["history"] = history
    body = to_bytes(settings)
    image["layers"] = [*layers[:below], layer]
    image["config"] = {**image["config"], "size": len(body), "digest": sha256(body)}
    return to_bytes(image), body


def _lists(image: dict[str, Any], settings: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    try:
        layers, diff_ids = list(image["layers"]), list(settings["rootfs"]["diff_ids"])
        dict(image["config"])
    except (KeyError, TypeError, ValueError) as error:
        what = "This is not the manifest and the config of an image."
        raise ServiceError(what, do=_LOOK) from error
    if len(layers) != len(diff_ids):
        raise ServiceError(
            f"The manifest has {len(layers)} layers and the config {len(diff_ids)}.", do=_LOOK
        )
    return layers, diff_ids


def _history_entry(history: list[Any], layers: int, index: int) -> int:
    """Where in the history the layer was made; entries of empty layers don't count."""
    filled = [at for at, entry in enumerate(history) if not entry.get("empty_layer")]
    from_the_end = index - layers  # a parent may have no history, what was built here has
    if len(filled) < -from_the_end:
        raise ServiceError(
            f"The history tells of {len(filled)} layers and the image has {layers}.", do=_LOOK
        )
    return filled[from_the_end]


def _without(items: list[Any], index: int) -> list[Any]:
    return items[:index] + items[index + 1 :]


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError as error:
        raise ServiceError("The manifest is not JSON.", do=_LOOK) from error
    if not isinstance(document, dict):
        raise ServiceError("The manifest is not a JSON object.", do=_LOOK)
    return document


_LOOK = "Look at it with `skopeo inspect --raw docker://IMAGE`."

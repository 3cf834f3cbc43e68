"""Push the image of one arch to its registry, made of the parent's layers and exactly one more.

Takes:   the local image, with its parent and whether a layer with repo files lies between them
Gives:   manifest, config and digest as pushed
Touches: the registry: blobs, and the arch's unique tag
Fails:   when the registry refuses, or the image does not stand on its parent

The builder's own push brings the blobs up. The manifest that counts is then put together here: the
parent's layers with the parent's own digests, no layer with repo files, and a config without the
builder's leftovers: equal file trees give equal digests.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from koji_containerbuild.buildroot.tools import Tools
from koji_containerbuild.contract.image import Layer
from koji_containerbuild.errors import BuildFailed, ServiceError
from koji_containerbuild.registry.client import Registry
from koji_containerbuild.rules.manifests import (
    AS_DOCKER,
    DOCKER_MANIFEST,
    sha256,
    to_bytes,
    with_one_layer,
    without_layer,
)
from koji_containerbuild.rules.pullspec import Pullspec

OneLayer = Callable[[Sequence[Path], Path], Layer]  # layers to read, oldest first; one to write
DROPPED = ("container", "container_config", "docker_version", "parent")  # of docker's config


@dataclass(frozen=True)
class ParentImage:
    """The parent of the last stage, on the arch that is built."""

    spec: Pullspec  # at the digest of the arch's manifest
    manifest: dict[str, Any]
    config: dict[str, Any]
    config_digest: str


@dataclass(frozen=True)
class LocalImage:
    """What the builder made, and what it stands on."""

    name: str  # in the builder's store
    parent: Optional[ParentImage]  # None: scratch
    repo_layer: bool  # whether the first layer above the parent holds repo files

    @property
    def below(self) -> int:
        """How many layers the parent has."""
        return len(self.parent.manifest["layers"]) if self.parent else 0

    def own_sizes(self, sizes: Sequence[int]) -> Sequence[int]:
        """`sizes`, which are those of the local image's layers, without the layers below."""
        return sizes[self.below + self.repo_layer :]

    def layers(self, pushed: PushedImage, sizes: Sequence[int]) -> tuple[Layer, ...]:
        """The layers of the pushed image; `sizes` are those of the local one."""
        own = self.own_sizes(sizes)
        if pushed.own_layer:
            own = [pushed.own_layer.size]
        diff_ids = json.loads(pushed.config)["rootfs"]["diff_ids"]
        return tuple(map(Layer, diff_ids, [*sizes[: self.below], *own]))


@dataclass(frozen=True)
class PushedImage:
    """What the registry has now."""

    manifest: bytes
    config: bytes
    digest: str
    own_layer: Optional[Layer] = None  # set if it was made here, and not by the builder


def parent_image(registry: Registry, of_arch: Optional[str]) -> Optional[ParentImage]:
    """The image at registry/repository@digest, which is no index; None for scratch."""
    if of_arch is None:
        return None
    spec = Pullspec.parse(of_arch)
    manifest = registry.manifest(spec)
    config = registry.config(spec, manifest)
    return ParentImage(spec, json.loads(manifest.body), json.loads(config), sha256(config))


def push_parent_layers(parent: Optional[ParentImage], to: Pullspec, registry: Registry) -> None:
    """What is published already may lie in one more repository before the image is checked."""
    if parent:
        for layer in parent.manifest["layers"]:
            registry.copy_blob(parent.spec, to, layer["digest"])


def push_layers(image: LocalImage, to: Pullspec, tools: Tools) -> None:
    """All other blobs, and a manifest that is only the way to bring them there."""
    tools.builder.push(image.name, str(to), tools.console)


def push_image(
    image: LocalImage, to: Pullspec, tools: Tools, traces: bool, one_layer: OneLayer
) -> PushedImage:
    """The manifest that counts; pushing twice gives the same digest.

    `one_layer` makes one of several, without traces of repo files. It is not called if there is one
    already, and it has no `traces`.
    """
    registry, own_layer = tools.registry, None
    raw = registry.manifest(to)
    manifest, config = finished(raw.body, registry.config(to, raw), image)
    own = json.loads(manifest)["layers"][image.below :]
    if traces or len(own) > 1:
        old, new = _pulled(own, to, tools), tools.work / "layer"
        own_layer = one_layer(old, new)
        blob = registry.put_blob(to, new)
        layer = {**own[-1], "digest": blob, "size": new.stat().st_size}
        manifest, config = with_one_layer(manifest, config, image.below, layer, own_layer.diff_id)
    registry.put_blob(to, config)
    digest = registry.put_manifest(to, manifest, DOCKER_MANIFEST)
    if digest != raw.digest:
        with suppress(ServiceError):  # not every registry lets us; it is in nobody's way
            registry.delete_manifest(to.at_digest(raw.digest))
    return PushedImage(manifest, config, digest, own_layer)


def _pulled(layers: Sequence[Mapping[str, Any]], to: Pullspec, tools: Tools) -> list[Path]:
    """The layers, on this disk."""
    paths = []
    for place, layer in enumerate(layers):
        paths.append(tools.work / f"layer-{place}")
        tools.registry.blob_to_file(to, layer["digest"], paths[-1])
    return paths


def finished(manifest: bytes, config: bytes, image: LocalImage) -> tuple[bytes, bytes]:
    """Manifest and config as they are to be, of those that the builder pushed."""
    below = image.parent.config["rootfs"]["diff_ids"] if image.parent else []
    if json.loads(config)["rootfs"]["diff_ids"][: len(below)] != below:
        raise BuildFailed("The image does not stand on the layers of its parent.")
    if image.repo_layer:
        manifest, config = without_layer(manifest, config, len(below))
    settings = {k: v for k, v in json.loads(config).items() if k not in DROPPED}
    for entry in settings.get("history", ())[-1:]:
        entry.pop("comment", None)  # it names a local image
    if settings.get("config", {}).get("Hostname"):  # of a container that is gone
        of_parent = (image.parent.config.get("config") or {}) if image.parent else {}
        settings["config"]["Hostname"] = of_parent.get("Hostname", "")
    document = json.loads(manifest)
    for place, layer in enumerate(image.parent.manifest["layers"] if image.parent else ()):
        if layer["mediaType"] in AS_DOCKER:
            document["layers"][place] = {**layer, "mediaType": AS_DOCKER[layer["mediaType"]]}
    body = to_bytes(settings)
    document["config"] = {**document["config"], "size": len(body), "digest": sha256(body)}
    return to_bytes(document), body

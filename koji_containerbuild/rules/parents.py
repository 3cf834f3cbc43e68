"""Parents: is a platform the one that is built, is an image fit to build on."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from koji_containerbuild.rules.manifests import AS_DOCKER, goarch

CONFIG_TYPES = (
    "application/vnd.docker.container.image.v1+json",
    "application/vnd.oci.image.config.v1+json",
)
_PLATFORM = re.compile(r"(?:linux/)?(\*|[a-z0-9_]+)(?:/v8(?<=arm64/v8))?")


def is_what_is_built(platform: str, arches: Sequence[str]) -> bool:
    """Whether `FROM --platform` names nothing but the arch that is built, in each of the builds.

    >>> is_what_is_built("linux/amd64", ["x86_64"]), is_what_is_built("linux/*", ["x86_64", "a"])
    (True, True)
    >>> is_what_is_built("linux/arm64/v8", ["aarch64"]), is_what_is_built("arm64", ["x86_64"])
    (True, False)
    """
    match = _PLATFORM.fullmatch(platform)
    return match is not None and all(match[1] in ("*", arch, goarch(arch)) for arch in arches)


def oddity(manifest: Mapping[str, Any], stood_on: bool) -> str:
    """Why nothing can be built on an image with that manifest; empty: it can.

    `stood_on`: its layers will be layers of ours.

    >>> layers = [{"urls": ["https://x"]}]
    >>> oddity({"config": {"mediaType": CONFIG_TYPES[0]}, "layers": layers}, stood_on=True)
    'has layers that are not in its registry (foreign layers)'
    """
    config, layers = manifest.get("config"), manifest.get("layers")
    if not isinstance(config, dict) or not isinstance(layers, list):
        return "has a manifest that names no config and no layers"
    if config.get("mediaType") not in CONFIG_TYPES:
        return f"is no image: its config is of the type {str(config.get('mediaType'))[:80]}"
    for layer in layers:
        kind = str(layer.get("mediaType", "")) if isinstance(layer, dict) else "?"
        if kind == "?" or layer.get("urls") or "foreign" in kind or "nondistributable" in kind:
            return "has layers that are not in its registry (foreign layers)"
        if stood_on and kind not in AS_DOCKER:
            return f"has layers of the type {kind[:80]}, which an image of ours cannot have"
    return ""

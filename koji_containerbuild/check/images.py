"""The image of the buildroot: is it in its registry, and for the arches of the cluster?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from koji_containerbuild.check.fact import Fact, ok, wrong
from koji_containerbuild.check.section import node_arch
from koji_containerbuild.errors import ContainerBuildError, NotFound, ServiceError
from koji_containerbuild.registry.client import Manifest, Registry
from koji_containerbuild.rules.pullspec import Pullspec

MEND = (
    "Make and push it, in the source tree: "
    "the first lines of fedora-infra/buildroot/Containerfile say how."
)


def image_there(what: str, image: str, arches: Sequence[str], registry: Registry) -> Fact:
    """Asked with the builder's own password: a node may have another one."""
    try:
        spec = Pullspec.parse(image)
        manifest = registry.manifest(spec)
        has = _arches(registry, spec, manifest)
    except NotFound as error:
        return wrong(what, error.what, MEND)
    except ContainerBuildError as error:
        return wrong(what, error.what, error.do or MEND)
    missing = [arch for arch in arches if node_arch(arch) not in has]
    if missing:
        return wrong(what, f"It is not for {', '.join(missing)}.", MEND)
    return ok(what, manifest.digest)


def _arches(registry: Registry, spec: Pullspec, manifest: Manifest) -> set[str]:
    """By Go's names."""
    if manifest.is_index:
        return {platform.arch for platform in manifest.platforms}
    try:
        config: Any = json.loads(registry.config(spec, manifest))
    except ValueError as error:
        raise ServiceError(f"The config of {spec} is no JSON.") from error
    return {str(config.get("architecture"))} if isinstance(config, dict) else set()

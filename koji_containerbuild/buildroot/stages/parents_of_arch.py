"""Find the images of one arch among the pinned parents.

Takes:   a map from parent as written to pinned parent; the arch
Gives:   the same map, with the digest of the arch's own manifest in place of an index's
Touches: nothing; it reads from the registry
Fails:   when a parent has no image for the arch

An image store keeps one image by each name, so an index's digest would name whichever arch came
first: two arches that are built in one store need names of their own.
"""

from __future__ import annotations

from collections.abc import Mapping

from koji_containerbuild.errors import BuildFailed
from koji_containerbuild.registry.client import Registry
from koji_containerbuild.rules.manifests import goarch
from koji_containerbuild.rules.pullspec import Pullspec


def parents_of_arch(pinned: Mapping[str, str], arch: str, registry: Registry) -> dict[str, str]:
    """Raises BuildFailed, naming parent and arch."""
    return {written: _of_arch(spec, arch, registry) for written, spec in pinned.items()}


def _of_arch(pinned: str, arch: str, registry: Registry) -> str:
    spec = Pullspec.parse(pinned)
    manifest = registry.manifest(spec)
    if not manifest.is_index:
        return pinned
    for platform in manifest.platforms:
        if platform.arch == goarch(arch) and platform.os == "linux":
            return str(spec.at_digest(platform.digest))
    raise BuildFailed(f"The parent image {pinned} has no image for {arch}.")

"""Parents: what can be built on, and what is a Koji build. Koji's side is read in `koji_api`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from koji_containerbuild.errors import BadRequest
from koji_containerbuild.rules.labels import of
from koji_containerbuild.rules.manifests import AS_DOCKER, goarch
from koji_containerbuild.rules.nvr import NAME, VERSION
from koji_containerbuild.rules.pullspec import Pullspec

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


@dataclass(frozen=True)
class KojiArchive:
    """The image of one arch, of a Koji build."""

    digests: frozenset[str]
    pull: tuple[str, ...]  # pull specs


@dataclass(frozen=True)
class KojiImage:
    """A Koji build of an image, as far as parents are concerned."""

    id: int
    nvr: str
    state: str  # COMPLETE, BUILDING, FAILED …
    index_digests: frozenset[str]  # of its index: one for each media type
    index_pull: tuple[str, ...]  # pull specs of its index
    archives: Mapping[str, KojiArchive]  # by arch


@dataclass(frozen=True)
class Candidate:
    """An image that may be a Koji build."""

    called: str  # how a text begins that is about it
    labels: Mapping[str, str]
    digest: str  # of its index, or of its manifest
    arch_digests: frozenset[str]  # of its images for the arches that are built

    @property
    def nvr(self) -> Optional[str]:
        """The Koji build that its labels name; an image may say what it likes.

        >>> labels = {"com.redhat.component": "f-container", "Version": "43", "release": "1"}
        >>> Candidate("", labels, "", frozenset()).nvr
        'f-container-43-1'
        """
        parts = [of(self.labels, key) for key in ("com.redhat.component", "version", "release")]
        right = all(part and VERSION.fullmatch(part) for part in parts[1:])
        return "-".join(parts) if right and NAME.fullmatch(parts[0]) else None


@dataclass(frozen=True)
class Doubt:
    """Why an image is not the Koji build that its labels name."""

    text: str
    digest: bool = False  # that build is there, and has another image


def doubt(image: Candidate, build: Optional[KojiImage]) -> Optional[Doubt]:
    """None: the image is the Koji build that its labels name."""
    if image.nvr is None:
        return Doubt(
            f"{image.called} names no Koji build: it lacks the labels com.redhat.component, "
            "version and release."
        )
    says = f"{image.called} says that it is the Koji build {image.nvr}"
    if build is None:
        return Doubt(f"{says}, and Koji knows no such build.")
    if build.state != "COMPLETE":
        return Doubt(f"{says}, and that is {build.state}.")
    of_archives = {digest for one in build.archives.values() for digest in one.digests}
    if image.digest in build.index_digests | of_archives or image.arch_digests <= of_archives:
        return None
    text = f"{says}, and Koji has other digests of that build than {image.digest}."
    return Doubt(text, digest=True)


def in_place_of(wanted: Pullspec, build: KojiImage, arches: Sequence[str]) -> Pullspec:
    """The image of the build, by digest, to use in place of the parent `wanted`.

    Raises BadRequest when the build has none for these arches, or none of that repository.
    """
    if build.state != "COMPLETE":
        raise BadRequest(
            f"koji_parent_build: the build {build.nvr} is {build.state}.",
            do="Give one that is complete.",
        )
    one = build.archives.get(arches[0]) if len(arches) == 1 else None
    specs = [spec for spec in (*build.index_pull, *(one.pull if one else ())) if "@" in spec]
    if not specs:
        raise BadRequest(
            f"koji_parent_build: the build {build.nvr} has no image for {', '.join(arches)}.",
            do=f"Look at it: koji buildinfo {build.nvr}",
        )
    spec = Pullspec.parse(specs[0])
    if spec.repository != wanted.repository:
        raise BadRequest(
            f"koji_parent_build: the build {build.nvr} is an image {spec.repository}, and the "
            f"Dockerfile stands on {wanted.repository}.",
            do="Give a build of that image.",
        )
    return spec

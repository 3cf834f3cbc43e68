"""The images that a Dockerfile stands on: each looked up once, fit for every arch, and pinned."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from koji_containerbuild.config import Config
from koji_containerbuild.contract.plan import Parent
from koji_containerbuild.errors import BadRequest, NotFound, OddManifest, ServiceError
from koji_containerbuild.registry.client import Manifest, Registry
from koji_containerbuild.rules.manifests import goarch, koji_arch
from koji_containerbuild.rules.parents import is_what_is_built, oddity
from koji_containerbuild.rules.pullspec import Pullspec
from koji_containerbuild.source.dockerfile import Dockerfile, Stage

IMAGE_TASK = "koji/image-build"  # the old system's word for a base image made by Koji


@dataclass(frozen=True)
class Parents:
    """The images that the Dockerfile stands on."""

    pinned: tuple[Parent, ...]
    environment: Mapping[str, str]  # ENV of the image that the last stage stands on
    labels: Mapping[str, str]  # of that image


@dataclass(frozen=True)
class Wanted:
    """An image as a FROM means it."""

    written: str
    spec: Pullspec
    line: int  # of the first FROM that names it, from 1
    stood_on: bool  # by the last stage

    def __str__(self) -> str:
        return f"The parent image {self.spec} (line {self.line} of the Dockerfile)"


@dataclass(frozen=True)
class Found:
    """The image that is there."""

    pinned: Pullspec  # at the digest of its index, or of its manifest
    environment: Mapping[str, str]
    labels: Mapping[str, str]


def resolve_parents(
    dockerfile: Dockerfile, arches: Sequence[str], config: Config, registry: Registry
) -> Parents:
    """Every parent pinned to the digest it has now.

    Raises BadRequest, naming image, line and arch.
    """
    for stage in dockerfile.stages:
        _check_platform(stage, arches)
    parents: dict[str, Parent] = {}
    looked_up: dict[Pullspec, Found] = {}
    environment: Mapping[str, str] = {}
    labels: Mapping[str, str] = {}
    for stage in dockerfile.stages:
        if stage.parent is None or stage.parent in parents:
            continue
        wanted = _wanted(stage, dockerfile, config)
        found = looked_up.get(wanted.spec) or look_up(wanted, arches, registry)
        looked_up[wanted.spec] = found
        parents[stage.parent] = Parent(stage.parent, str(wanted.spec), str(found.pinned))
        if wanted.stood_on:
            environment, labels = found.environment, found.labels
    return Parents(tuple(parents.values()), environment, labels)


def _check_platform(stage: Stage, arches: Sequence[str]) -> None:
    if stage.platform and not is_what_is_built(stage.platform, arches):
        raise BadRequest(
            f"Line {stage.first_line + 1} of the Dockerfile: FROM --platform={stage.platform} is "
            f"not what is built, which is {', '.join(f'linux/{goarch(arch)}' for arch in arches)}.",
            do="Leave --platform out: Koji's build tag and container.yaml decide on arches.",
        )


def _wanted(stage: Stage, dockerfile: Dockerfile, config: Config) -> Wanted:
    written, line = stage.image, stage.first_line + 1
    if written == IMAGE_TASK or written.startswith(f"{IMAGE_TASK}:"):
        raise BadRequest(
            f"Line {line} of the Dockerfile: FROM {written} asks Koji for a base image, which is "
            "not supported.",
            do="Build the base image on its own, put it into a registry, and name it after FROM; "
            "or use FROM scratch and ADD a root file system.",
        )
    spec = _full_name(written, line, config)
    if not (spec.digest or spec.tag):
        spec = spec.at_tag("latest")
    return Wanted(written, spec, line, written == dockerfile.final_parent)


def _full_name(written: str, line: int, config: Config) -> Pullspec:
    try:
        spec = Pullspec.parse(written)
    except BadRequest as error:
        raise BadRequest(f"Line {line} of the Dockerfile: {error.what}", do=error.do) from error
    default = config.parent_registry
    allowed = {default, *config.parents.allowed_registries}
    if not spec.registry:
        organization = config.parents.organization
        short = "/" not in spec.repository and organization
        path = f"{organization}/{spec.repository}" if short else spec.repository
        return Pullspec(default, path, spec.tag, spec.digest)
    if spec.registry not in allowed:
        raise BadRequest(
            f"The parent image {written} (line {line} of the Dockerfile) is from the registry "
            f"{spec.registry}, which is not allowed here.",
            do=f"Use an image from {', '.join(sorted(allowed))}.",
        )
    return spec


def look_up(wanted: Wanted, arches: Sequence[str], registry: Registry) -> Found:
    """The image, and that it can be built on, on each arch. Raises BadRequest."""
    manifest = _manifest(wanted, wanted.spec, registry)
    digests = _of_arches(wanted, manifest, arches)
    configs = []
    for arch in arches:
        spec = wanted.spec.at_digest(digests[arch])
        image = _manifest(wanted, spec, registry) if manifest.is_index else manifest
        _check_image(wanted, image)
        config = _json(wanted, registry.config(spec, image))
        _check_arch(wanted, config, arch, arches)
        configs.append(config)
    pinned = wanted.spec.at_digest(manifest.digest)
    return Found(pinned, _environment(configs[0]), _labels(configs[0]))


def _environment(config: Mapping[str, Any]) -> Mapping[str, str]:
    settings = config.get("config")
    entries = settings.get("Env") if isinstance(settings, dict) else None
    pairs = (str(entry).partition("=") for entry in (entries if isinstance(entries, list) else ()))
    return {name: value for name, _, value in pairs}


def _labels(config: Mapping[str, Any]) -> Mapping[str, str]:
    settings = config.get("config")
    labels = settings.get("Labels") if isinstance(settings, dict) else None
    return {k: str(v) for k, v in labels.items()} if isinstance(labels, dict) else {}


def _manifest(wanted: Wanted, spec: Pullspec, registry: Registry) -> Manifest:
    try:
        return registry.manifest(spec)
    except NotFound as error:
        raise BadRequest(f"{wanted} does not exist.", do="Check the FROM line.") from error
    except OddManifest as error:
        raise BadRequest(
            f"{wanted} has a manifest of a kind that cannot be used: {error.kind or 'unknown'}.",
            do="Push the image again with a newer tool, as Docker schema 2 or OCI.",
        ) from error


def _of_arches(wanted: Wanted, manifest: Manifest, arches: Sequence[str]) -> Mapping[str, str]:
    """The digest of the image of each arch."""
    if not manifest.is_index:
        if len(arches) > 1:
            raise BadRequest(
                f"{wanted} is for one arch only, and the build is for {', '.join(arches)}.",
                do="Use a parent with a manifest list, or build for one arch.",
            )
        return dict.fromkeys(arches, manifest.digest)
    try:
        there = [platform for platform in manifest.platforms if platform.os == "linux"]
    except ServiceError as error:
        raise BadRequest(f"{wanted} has a broken index.", do="Push the image again.") from error
    offered = {koji_arch(platform.arch): platform.digest for platform in reversed(there)}
    missing = [arch for arch in arches if arch not in offered]
    if missing:
        raise BadRequest(
            f"{wanted} has no image for {', '.join(missing)}; it has "
            f"{', '.join(sorted(offered)) or 'none for Linux'}.",
            do="Use a parent that has it, or exclude the arch with 'platforms: not:' in "
            "container.yaml.",
        )
    return offered


def _check_image(wanted: Wanted, image: Manifest) -> None:
    odd = "has an index within its index" if image.is_index else ""
    odd = odd or oddity(_json(wanted, image.body), wanted.stood_on)
    if odd:
        raise BadRequest(f"{wanted} {odd}.", do="Use another image, or push it again.")


def _check_arch(
    wanted: Wanted, config: Mapping[str, Any], arch: str, arches: Sequence[str]
) -> None:
    system, its = config.get("os", "linux"), config.get("architecture")
    if (system, its) != ("linux", goarch(arch)):
        raise BadRequest(
            f"{wanted} is for {system} on {koji_arch(str(its))}, and the build is for "
            f"{', '.join(arches)}.",
            do="Use a parent for that arch.",
        )


def _json(wanted: Wanted, body: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"{wanted} is broken: its config is not JSON.") from error
    if not isinstance(document, dict):
        raise BadRequest(f"{wanted} is broken: its config is no JSON object.")
    return document

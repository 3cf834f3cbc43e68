"""The images that a Dockerfile stands on: each looked up once, fit for every arch, and pinned."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional, Protocol

from koji_containerbuild.config import Config
from koji_containerbuild.contract.plan import Parent, ParentBuild
from koji_containerbuild.errors import BadRequest, NotFound, OddManifest, ServiceError
from koji_containerbuild.registry.client import Manifest, Registry
from koji_containerbuild.rules.manifests import goarch, koji_arch
from koji_containerbuild.rules.parents import Candidate, is_what_is_built, oddity
from koji_containerbuild.rules.pullspec import Pullspec
from koji_containerbuild.source import flags
from koji_containerbuild.source.dockerfile import Dockerfile, Stage

IMAGE_TASK = "koji/image-build"  # the old system's word for a base image made by Koji


@dataclass(frozen=True)
class Parents:
    """The images that the Dockerfile stands on."""

    pinned: tuple[Parent, ...]
    from_images: tuple[str, ...]  # every FROM that names no stage, in order, as written
    environment: Mapping[str, str]  # ENV of the image that the last stage stands on
    labels: Mapping[str, str]  # of that image
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Origins:
    """The Koji builds that images were found to be, in the order asked."""

    builds: tuple[Optional[ParentBuild], ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Replacement:
    """An image to use in place of a parent."""

    spec: Pullspec  # by digest
    build: ParentBuild


class Koji(Protocol):
    """What is known of parents beside what their registries say."""

    def origins(self, images: Sequence[Candidate]) -> Origins:
        """Which Koji builds they are. Raises BadRequest where the site insists on one."""

    def replacement(
        self, wanted: Optional[Pullspec], arches: Sequence[str]
    ) -> Optional[Replacement]:
        """What is used in place of the last stage's parent, if the request says so.

        `wanted` is None when that is scratch. Raises BadRequest.
        """


@dataclass(frozen=True)
class Wanted:
    """An image as a FROM means it."""

    written: str
    spec: Pullspec  # as the FROM means it
    line: int  # of the first FROM that names it, from 1
    final: bool  # the last stage stands on it
    use: Pullspec  # the same, or what is used in its place
    build: Optional[ParentBuild] = None  # known before it is looked up

    def __str__(self) -> str:
        place = "" if self.use == self.spec else f", in whose place is {self.use},"
        return f"The parent image {self.spec} (line {self.line} of the Dockerfile){place}"


@dataclass(frozen=True)
class Found:
    """The image that is there."""

    pinned: Pullspec  # at the digest of its index, or of its manifest
    candidate: Candidate
    environment: Mapping[str, str]


def resolve_parents(
    dockerfile: Dockerfile, arches: Sequence[str], config: Config, registry: Registry, koji: Koji
) -> Parents:
    """Every parent pinned to the digest it has now.

    Raises BadRequest, naming image, line and arch.
    """
    for stage in dockerfile.stages:
        _check_platform(stage, arches)
    wanted = _all_wanted(dockerfile, config)
    wanted = _with_replacement(wanted, arches, config, koji)
    found: dict[Pullspec, Found] = {}
    for one in wanted:
        if one.use not in found:
            found[one.use] = look_up(one, arches, registry)
    known = {one.use: one.build for one in wanted if one.build}
    unknown = [use for use in found if use not in known]
    origins = koji.origins([found[use].candidate for use in unknown])
    builds = {**dict(zip(unknown, origins.builds)), **known}
    pinned = {use: str(one.pinned) for use, one in found.items()}
    final = next((found[one.use] for one in wanted if one.final), None)
    return Parents(
        pinned=tuple(
            Parent(w.written, str(w.spec), pinned[w.use], w.final, builds[w.use]) for w in wanted
        ),
        from_images=tuple(s.image for s in dockerfile.stages if s.on_stage is None),
        environment=final.environment if final else {},
        labels=final.candidate.labels if final else {},
        warnings=origins.warnings,
    )


def _all_wanted(dockerfile: Dockerfile, config: Config) -> list[Wanted]:
    """Each image once, in the order of the file."""
    first: dict[str, Stage] = {}
    for stage in dockerfile.stages:
        if stage.parent is not None:
            first.setdefault(stage.parent, stage)
    return [_wanted(stage, dockerfile, config) for stage in first.values()]


def _with_replacement(
    wanted: list[Wanted], arches: Sequence[str], config: Config, koji: Koji
) -> list[Wanted]:
    """The last stage's parent is replaced wherever the Dockerfile stands on it."""
    final = next((one.spec for one in wanted if one.final), None)
    new = koji.replacement(final, arches)
    if new is None:
        return wanted
    allowed = _allowed(config) | {config.registry.url}
    if new.spec.registry not in allowed:
        raise BadRequest(
            f"koji_parent_build: the build {new.build.nvr} is in the registry "
            f"{new.spec.registry}, which is not allowed here.",
            do=f"Use a build in {', '.join(sorted(allowed))}.",
        )
    return [
        replace(one, use=new.spec, build=new.build) if one.spec == final else one for one in wanted
    ]


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
    return Wanted(written, spec, line, written == dockerfile.final_parent, use=spec)


def _full_name(written: str, line: int, config: Config) -> Pullspec:
    try:
        spec = Pullspec.parse(written)
    except BadRequest as error:
        raise BadRequest(f"Line {line} of the Dockerfile: {error.what}", do=error.do) from error
    if not spec.registry:
        organization = config.parents.organization
        short = "/" not in spec.repository and organization
        path = f"{organization}/{spec.repository}" if short else spec.repository
        return Pullspec(config.parent_registry, path, spec.tag, spec.digest)
    if spec.registry not in _allowed(config):
        raise BadRequest(
            f"The parent image {written} (line {line} of the Dockerfile) is from the registry "
            f"{spec.registry}, which is not allowed here.",
            do=f"Use an image from {', '.join(sorted(_allowed(config)))}.",
        )
    return spec


def _allowed(config: Config) -> set[str]:
    return {config.parent_registry, *config.parents.allowed_registries}


def look_up(wanted: Wanted, arches: Sequence[str], registry: Registry) -> Found:
    """The image, and that it can be built on, on each arch. Raises BadRequest."""
    manifest = _manifest(wanted, wanted.use, registry)
    digests = _of_arches(wanted, manifest, arches)
    configs = []
    for arch in arches:
        spec = wanted.use.at_digest(digests[arch])
        image = _manifest(wanted, spec, registry) if manifest.is_index else manifest
        _check_image(wanted, image)
        config = _json(wanted, registry.config(spec, image))
        _check_arch(wanted, config, arch, arches)
        _check_triggers(wanted, config)
        configs.append(config)
    settings = configs[0].get("config")
    settings = settings if isinstance(settings, dict) else {}
    return Found(
        pinned=wanted.use.at_digest(manifest.digest),
        candidate=Candidate(
            called=str(wanted),
            labels=_texts(settings.get("Labels")),
            digest=manifest.digest,
            arch_digests=frozenset(digests[arch] for arch in arches),
        ),
        environment=_environment(settings.get("Env")),
    )


def _texts(labels: Any) -> Mapping[str, str]:
    return {k: str(v) for k, v in labels.items()} if isinstance(labels, dict) else {}


def _environment(entries: Any) -> Mapping[str, str]:
    pairs = (str(entry).partition("=") for entry in (entries if isinstance(entries, list) else ()))
    return {name: value for name, _, value in pairs}


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
    odd = odd or oddity(_json(wanted, image.body), wanted.final)
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


def _check_triggers(wanted: Wanted, config: Mapping[str, Any]) -> None:
    settings = config.get("config") or {}
    triggers = settings.get("OnBuild") or [] if isinstance(settings, dict) else None
    if not (isinstance(triggers, list) and all(isinstance(line, str) for line in triggers)):
        raise BadRequest(
            f"{wanted} is broken: its ONBUILD triggers cannot be read.",
            do="Use another image, or push it again.",
        )
    for trigger in triggers:
        flags.check_trigger(trigger, str(wanted))


def _json(wanted: Wanted, body: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"{wanted} is broken: its config is not JSON.") from error
    if not isinstance(document, dict):
        raise BadRequest(f"{wanted} is broken: its config is no JSON object.")
    return document

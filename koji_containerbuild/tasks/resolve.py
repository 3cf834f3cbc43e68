"""From a source to a plan, as far as Koji has no say in it: task and command line share it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from koji_containerbuild.config import Config
from koji_containerbuild.contract.plan import Destination, Limits, Parent, RepoFile
from koji_containerbuild.contract.request import BuildRequest
from koji_containerbuild.errors import BadRequest, NotFound
from koji_containerbuild.registry.client import Manifest, Registry
from koji_containerbuild.rules import labels as label_rules
from koji_containerbuild.rules import repos as repo_rules
from koji_containerbuild.rules import tags
from koji_containerbuild.rules.manifests import goarch
from koji_containerbuild.rules.pullspec import Pullspec
from koji_containerbuild.source.beside import read_settings
from koji_containerbuild.source.checkout import Checkout
from koji_containerbuild.source.dockerfile import Dockerfile, parse
from koji_containerbuild.source.settings import Settings
from koji_containerbuild.source.unfetched import refuse_lfs_pointers
from koji_containerbuild.tasks.tools import Place


@dataclass(frozen=True)
class SourceTree:
    """What the source says."""

    checkout: Checkout
    dockerfile: Dockerfile
    settings: Settings


def read_source(checkout: Checkout, subfolder: str) -> SourceTree:
    """Raises BadRequest, naming file and line or key."""
    settings = read_settings(checkout, subfolder)
    refuse_lfs_pointers(checkout, subfolder)
    return SourceTree(checkout, parse(checkout.text(subfolder, "Dockerfile")), settings)


@dataclass(frozen=True)
class Parents:
    """The images that the Dockerfile stands on."""

    pinned: tuple[Parent, ...]
    environment: Mapping[str, str]  # ENV of the last stage's parent


def resolve_parents(
    dockerfile: Dockerfile, arches: Sequence[str], config: Config, registry: Registry
) -> Parents:
    """Every parent pinned to the digest it has now.

    Raises BadRequest: a registry that is not allowed, no such image, an arch that it lacks.
    """
    parents = []
    environment: Mapping[str, str] = {}
    for written in dockerfile.parents:
        spec = _full_name(written, config)
        try:
            manifest = registry.manifest(spec)
        except NotFound as error:
            raise BadRequest(
                f"The parent image {spec} does not exist.", do="Check the FROM line."
            ) from error
        _check_arches(spec, manifest, arches)
        pinned = spec.at_digest(manifest.digest)
        parents.append(Parent(written, str(_tagged(spec)), str(pinned)))
        if written == dockerfile.final_parent:
            environment = _environment(pinned, manifest, arches[0], registry)
    return Parents(tuple(parents), environment)


def _full_name(written: str, config: Config) -> Pullspec:
    spec = Pullspec.parse(written)
    default = config.parent_registry
    allowed = {default, *config.parents.allowed_registries}
    if not spec.registry:
        organization = config.parents.organization
        short = "/" not in spec.repository and organization
        path = f"{organization}/{spec.repository}" if short else spec.repository
        return Pullspec(default, path, spec.tag, spec.digest)
    if spec.registry not in allowed:
        raise BadRequest(
            f"The parent image {written} is from the registry {spec.registry}, "
            "which is not allowed here.",
            do=f"Use an image from {', '.join(sorted(allowed))}.",
        )
    return spec


def _tagged(spec: Pullspec) -> Pullspec:
    return spec if spec.digest or spec.tag else spec.at_tag("latest")


def _check_arches(spec: Pullspec, manifest: Manifest, arches: Sequence[str]) -> None:
    if not manifest.is_index:
        if len(arches) > 1:
            raise BadRequest(
                f"The parent image {spec} is for one arch only, and the build is for "
                f"{', '.join(arches)}.",
                do="Use a parent with a manifest list, or build for one arch.",
            )
        return
    offered = {platform.arch for platform in manifest.platforms if platform.os == "linux"}
    missing = [arch for arch in arches if goarch(arch) not in offered]
    if missing:
        raise BadRequest(
            f"The parent image {spec} has no image for {', '.join(missing)}.",
            do="Exclude the arch with 'platforms: not:' in container.yaml.",
        )


def _environment(
    spec: Pullspec, manifest: Manifest, arch: str, registry: Registry
) -> Mapping[str, str]:
    """ENV of a parent: labels of the image may use it."""
    if manifest.is_index:
        digest = next(p.digest for p in manifest.platforms if p.arch == goarch(arch))
        spec = spec.at_digest(digest)
        manifest = registry.manifest(spec)
    config = json.loads(registry.config(spec, manifest))
    pairs = (entry.partition("=") for entry in (config.get("config") or {}).get("Env") or ())
    return {name: value for name, _, value in pairs}


def user_repos(request: BuildRequest, place: Place) -> tuple[RepoFile, ...]:
    """The .repo files that the request names, read now. Raises BadRequest."""
    allowed = () if request.options.scratch else place.config.repos.allowed_domains
    files = []
    for url in request.options.yum_repourls:
        repo_rules.check_domains(url, "", allowed)  # before it is asked
        text = repo_rules.check_repo_text(place.read_url(url), url)
        repo_rules.check_domains(url, text, allowed)
        files.append(RepoFile(repo_rules.user_repo_name(url), text, url))
    return tuple(files)


@dataclass(frozen=True)
class Wish:
    """What request and source say of the image's name and tags."""

    config: Config
    request: BuildRequest
    identity: label_rules.Identity
    tree: SourceTree
    labels: Mapping[str, str]  # of the Dockerfile
    created: int

    @property
    def release(self) -> str:
        """The one that the user gives; empty: to be counted."""
        return self.request.options.release or self.identity.release


def destination(wish: Wish, release: str) -> Destination:
    """Where the image goes. Raises BadRequest for a tag that no registry takes.

    A scratch build has the unique tag alone, an isolated one no floating tags.
    """
    options = wish.request.options
    random = "".join(secrets.choice("abcdefghijkmnpqrstuvwxyz23456789") for _ in range(5))
    labels = {**wish.labels, "version": wish.identity.version, "release": release}
    still = options.scratch or options.isolated
    return Destination(
        repository=f"{wish.config.registry.url}/{wish.identity.name}",
        unique_tag=tags.unique(wish.request.target, wish.created, random),
        primary_tag="" if options.scratch else tags.primary(wish.identity.version, release),
        floating_tags=() if still else tags.floating(wish.tree.settings.tags, labels),
    )


def limits(settings: Settings, config: Config) -> Limits:
    """Raises BadRequest when the image asks for more than the site gives."""
    seconds = settings.build_seconds or config.limits.default_build_seconds
    if seconds > config.limits.max_build_seconds:
        raise BadRequest(
            f"container.yaml: buildtime_limit is {seconds} s, and the site's maximum is "
            f"{config.limits.max_build_seconds} s.",
            do="Lower it.",
        )
    return Limits(seconds=seconds)

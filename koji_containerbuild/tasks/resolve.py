"""From a source to a plan, as far as Koji has no say in it: task and command line share it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from koji_containerbuild.config import Config
from koji_containerbuild.contract.plan import Destination, Limits, RepoFile
from koji_containerbuild.contract.request import BuildRequest
from koji_containerbuild.errors import BadRequest
from koji_containerbuild.rules import labels as label_rules
from koji_containerbuild.rules import repos as repo_rules
from koji_containerbuild.rules import tags
from koji_containerbuild.source.beside import read_settings
from koji_containerbuild.source.checkout import Checkout
from koji_containerbuild.source.dockerfile import Dockerfile, parse
from koji_containerbuild.source.manual import read_help
from koji_containerbuild.source.settings import Settings
from koji_containerbuild.source.unfetched import refuse_lfs_pointers
from koji_containerbuild.tasks.tools import Place

MISSPELT = ("Containerfile", "dockerfile", "DockerFile", "Dockerfile.in", "Dockerfile.txt")


@dataclass(frozen=True)
class SourceTree:
    """What the source says."""

    checkout: Checkout
    dockerfile: Dockerfile
    settings: Settings


def read_source(checkout: Checkout, subfolder: str) -> SourceTree:
    """Raises BadRequest, naming file and line or key."""
    refuse_lfs_pointers(checkout, subfolder)
    settings = read_settings(checkout, subfolder)
    read_help(checkout, subfolder)  # only whether it can be
    text = checkout.text(subfolder, "Dockerfile", MISSPELT)
    return SourceTree(checkout, parse(text), settings)


def user_repos(request: BuildRequest, place: Place) -> tuple[RepoFile, ...]:
    """The .repo files that the request names, read now. Raises BadRequest."""
    allowed = () if request.options.scratch else place.config.repos.allowed_domains
    files = []
    for url in request.options.yum_repourls:
        repo_rules.check_domains(url, "", allowed)  # before it is asked
        text = repo_rules.check_repo_text(place.read_url(url, allowed), url)
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
    labels: Mapping[str, str]  # of the Dockerfile; with the version of the main RPM
    created: int
    warnings: tuple[str, ...] = ()

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

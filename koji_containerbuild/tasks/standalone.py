"""A build without Koji: the same rules, the same plan, the same buildroot program."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from koji_containerbuild.config import Config
from koji_containerbuild.contract.plan import BuildPlan, RepoFile, Source
from koji_containerbuild.contract.request import BuildRequest
from koji_containerbuild.engines.base import Engine, Job, running
from koji_containerbuild.registry.client import Registry
from koji_containerbuild.rules import arches as arch_rules
from koji_containerbuild.rules import labels as label_rules
from koji_containerbuild.rules import tags
from koji_containerbuild.rules.nvr import NVR
from koji_containerbuild.rules.pullspec import Pullspec
from koji_containerbuild.source.checkout import fetch_on_branch
from koji_containerbuild.tasks.follow import Logs, follow, succeeded
from koji_containerbuild.tasks.index import pull_report, push_index
from koji_containerbuild.tasks.resolve import (
    Wish,
    destination,
    limits,
    read_source,
    resolve_parents,
)

TARGET = "local"  # in place of a Koji target, in the unique tag
RELEASE = "0"  # in place of a number that Koji would count


@dataclass(frozen=True)
class Place:
    """Where a build without Koji happens."""

    config: Config
    engine: Engine
    registry: Registry
    work: Path


def prepare_alone(
    request: BuildRequest, repos: Sequence[RepoFile], place: Place, created: int
) -> BuildPlan:
    """A scratch plan: nobody gives out release numbers here. Raises BadRequest."""
    source, options = request.source, request.options
    checkout = fetch_on_branch(
        source.clone_url, source.revision, str(options.git_branch), place.work / "checkout"
    )
    tree = read_source(checkout, source.subfolder)
    here = tuple(place.engine.arches)
    chosen = options.arch_override or here
    arches = arch_rules.choose(chosen, tree.settings.only, tree.settings.exclude, (), here)
    parents = resolve_parents(tree.dockerfile, arches, place.config, place.registry)
    written = tree.dockerfile.labels(parents.environment)
    identity = label_rules.identity(written)
    release = options.release or identity.release or RELEASE
    wish = Wish(place.config, request, identity, tree, written, created)
    return BuildPlan(
        nvr=NVR(identity.component, identity.version, release),
        scratch=True,
        isolated=False,
        source=Source(
            url=checkout.url,
            commit=checkout.commit,
            branch=str(options.git_branch),
            subfolder=source.subfolder,
            recorded=source.recorded(checkout.commit),
        ),
        arches=arches,
        parents=parents.pinned,
        repos=tuple(repos),
        labels=label_rules.to_add(place.config.labels, written, release, checkout.commit, created),
        destination=destination(wish, release),
        limits=limits(tree.settings, place.config),
        created=created,
        warnings=tree.settings.warnings,
    )


def again(plan: BuildPlan, config: Config, now: int) -> BuildPlan:
    """The same build, pushed here under a tag of its own: no tag of the first one moves."""
    repository = Pullspec.parse(plan.destination.repository).repository
    return replace(
        plan,
        scratch=True,
        koji=None,
        destination=replace(
            plan.destination,
            repository=f"{config.registry.url}/{repository}",
            unique_tag=tags.unique(TARGET, now, secrets.token_hex(3)[:5]),
            primary_tag="",
            floating_tags=(),
        ),
    )


def build_alone(plan: BuildPlan, place: Place, logs: Logs) -> tuple[str, ...]:
    """Build; where the image is, by tag and by digest. Raises BuildFailed."""
    job = Job(plan.destination.unique_tag, plan)
    near = place.work / "checkout"
    job = replace(job, near=near if near.is_dir() else None)
    try:
        with running(place.engine, job):
            outcomes = succeeded(list(follow(job, place.engine, logs)), plan)
    except BaseException:
        place.engine.cancel(job.name)
        raise
    finally:
        place.engine.remove(job.name, patience=10)
    repository = Pullspec.parse(plan.destination.repository)
    reports = [pull_report(o, repository, place.registry, place.work) for o in outcomes]
    index = push_index(plan, [report.image for report in reports], place.registry)
    tag = repository.at_tag(plan.destination.unique_tag)
    return str(tag), str(repository.at_digest(index.digest))

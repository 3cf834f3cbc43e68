"""A build without Koji: the same rules, the same plan, the same buildroot program."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional

from koji_containerbuild.config import Config
from koji_containerbuild.contract.plan import BuildPlan, Download, RepoFile
from koji_containerbuild.contract.request import BuildRequest
from koji_containerbuild.engines.base import Job
from koji_containerbuild.errors import BadRequest
from koji_containerbuild.koji_api.archives import Archive
from koji_containerbuild.rules import tags
from koji_containerbuild.rules.nvr import NVR
from koji_containerbuild.rules.parents import Candidate
from koji_containerbuild.rules.pullspec import Pullspec
from koji_containerbuild.rules.target import LOCAL
from koji_containerbuild.source.checkout import Checkout, fetch_on_branch
from koji_containerbuild.tasks.follow import Logs, follow, succeeded
from koji_containerbuild.tasks.index import pull_report, push_index
from koji_containerbuild.tasks.parents import Origins
from koji_containerbuild.tasks.prepare import Repos
from koji_containerbuild.tasks.resolve import Wish, user_repos
from koji_containerbuild.tasks.tools import Place

RELEASE = "0"  # in place of a number that Koji would count


class Nobody:
    """Without Koji: whatever the engine can build, the repos given, and no number."""

    def __init__(self, place: Place, repos: Sequence[RepoFile], arches: Sequence[str]) -> None:
        """`repos`: files of this machine, beside those that the request names."""
        self._place = place
        self._repos = tuple(repos)
        self._arches = tuple(arches) or tuple(place.engine.arches)

    @property
    def arches(self) -> Sequence[str]:
        return self._arches

    def checkout(self, request: BuildRequest, folder: Path) -> Checkout:
        source, branch = request.source, str(request.options.git_branch)
        return fetch_on_branch(source.clone_url, source.revision, branch, folder)

    def archives(self, nvr: str) -> Sequence[Archive]:
        raise BadRequest(
            f"Without Koji there are no files of the build {nvr}.",
            do="Build it in Koji, with --scratch if you like.",
        )

    def check_sources(self, sources: Mapping[str, Download]) -> None:
        """Nobody keeps them."""

    def origins(self, images: Sequence[Candidate]) -> Origins:
        return Origins((None,) * len(images))

    def replacement(self, wanted: Optional[Pullspec], arches: Sequence[str]) -> None:
        return None

    def repos(self, request: BuildRequest) -> Repos:
        return Repos((*user_repos(request, self._place), *self._repos))

    def check_component(self, component: str) -> None:
        """Any will do."""

    def number(self, wish: Wish) -> NVR:
        return NVR(wish.identity.component, wish.identity.version, wish.release or RELEASE)

    def facts(self, repos: Repos) -> None:
        return None


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
            unique_tag=tags.unique(LOCAL, now, secrets.token_hex(3)[:5]),
            primary_tag="",
            floating_tags=(),
        ),
    )


@dataclass(frozen=True)
class Built:
    """What came of a build without Koji."""

    repositories: tuple[str, ...]  # the image by tag and by digest
    warnings: tuple[str, ...]  # of the images, beside those of the plan


def build_alone(plan: BuildPlan, place: Place, logs: Logs) -> Built:
    """Raises BuildFailed."""
    job = Job(plan.destination.unique_tag, plan)
    near = place.work / "checkout"
    job = replace(job, near=near if near.is_dir() else None)
    try:
        job = place.engine.start(job)
        outcomes = succeeded(list(follow(job, place.engine, logs)), plan)
    except BaseException:
        place.engine.cancel(job.name)
        raise
    finally:
        place.engine.remove(job.name, patience=10)
    # What a failed build has pushed stays: by digest, it may be the first build of the same plan.
    repository = Pullspec.parse(plan.destination.repository)
    reports = [pull_report(o, repository, place.registry, place.work) for o in outcomes]
    images = [report.image for report in reports]
    index = push_index(plan, images, place.registry)
    tag = repository.at_tag(plan.destination.unique_tag)
    warnings = dict.fromkeys(warning for image in images for warning in image.warnings)
    return Built((str(tag), str(repository.at_digest(index.digest))), tuple(warnings))

"""Koji decides: targets, who may build from where, package lists, repos and release numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Optional

from koji_containerbuild.contract.plan import Download, KojiFacts, RepoFile
from koji_containerbuild.contract.request import BuildRequest
from koji_containerbuild.errors import BadRequest
from koji_containerbuild.koji_api.archives import Archive, archives_of, check_source_types
from koji_containerbuild.koji_api.lookups import Lookups, Submitter, Target
from koji_containerbuild.koji_api.reserve import Reservation, Reservations
from koji_containerbuild.koji_api.scm import check_allowed
from koji_containerbuild.rules import repos as repo_rules
from koji_containerbuild.rules import target as target_rules
from koji_containerbuild.rules.nvr import NVR, check_disttag
from koji_containerbuild.rules.parents import Candidate
from koji_containerbuild.rules.pullspec import Pullspec
from koji_containerbuild.source.checkout import Checkout, fetch_on_branch
from koji_containerbuild.tasks import provenance
from koji_containerbuild.tasks.files import SOURCES, fetch_sources
from koji_containerbuild.tasks.parents import Origins, Replacement
from koji_containerbuild.tasks.prepare import Repos
from koji_containerbuild.tasks.resolve import Wish, user_repos
from koji_containerbuild.tasks.tools import Task, Tools

OF_TAG = "tag"  # the setting that means: the build tag's own
NO_MACRO = "%{nil}"  # how a tag says that its RPMs have none
Keep = Callable[[Reservation], None]


class KojiAuthority:
    """What Koji says of one request, all at the hub's event when it was asked first."""

    def __init__(
        self, request: BuildRequest, task: Task, tools: Tools, keep: Optional[Keep]
    ) -> None:
        """`keep` is told of the reservation at once; None: nothing is reserved.

        Raises BadRequest: there is no such target.
        """
        self._task = task
        self._tools = tools
        self._keep = keep
        self._request = request
        self._scratch = request.options.scratch
        self._parent_build = request.options.koji_parent_build
        target_rules.check_allowed(request.target, tools.config.builder.allowed_targets)
        self._hub = Lookups(tools.session)
        self._submitter: Submitter = self._hub.submitter(task.owner, task.channel)
        self._target: Target = self._hub.target(request.target, self._scratch)
        self._disttag = disttag(self._target, tools.config.naming.disttag)

    @property
    def arches(self) -> Sequence[str]:
        return self._target.arches

    def checkout(self, request: BuildRequest, folder: Path) -> Checkout:
        """Policy first, then the checkout, then Koji's callbacks have a look at it."""
        source, kojid, who = request.source, self._tools.kojid, self._submitter
        info = check_allowed(source.text, kojid.options, self._tools.session, who, self._scratch)
        about = {
            "scminfo": info,
            "build_tag": self._target.build_tag_id,
            "scratch": self._scratch,
        }
        kojid.callbacks("preSCMCheckout", **about)
        branch = str(request.options.git_branch)
        checkout = fetch_on_branch(source.clone_url, source.revision, branch, folder)
        kojid.callbacks("postSCMCheckout", **about, srcdir=str(folder))
        return checkout

    def archives(self, nvr: str) -> Sequence[Archive]:
        return archives_of(self._tools.session, nvr, self._tools.kojid.options.topurl)

    def check_sources(self, sources: Mapping[str, Download]) -> None:
        """They are fetched here, too: after a long build it is too late to miss one."""
        if not self._scratch:
            check_source_types(self._tools.session, list(sources))
            if self._keep:
                fetch_sources(sources, self._tools.work / SOURCES, self._tools)

    def origins(self, images: Sequence[Candidate]) -> Origins:
        return provenance.origins(images, self._task, self._tools, self._scratch)

    def replacement(
        self, wanted: Optional[Pullspec], arches: Sequence[str]
    ) -> Optional[Replacement]:
        """The image of the option koji_parent_build."""
        if not self._parent_build:
            return None
        if wanted is None:
            raise BadRequest(
                "koji_parent_build: the last stage of the Dockerfile stands on scratch.",
                do="Leave the option out.",
            )
        return provenance.replacement(self._parent_build, wanted, arches, self._tools)

    def repos(self, request: BuildRequest) -> Repos:
        """The user's .repo files, or else the build tag's repo at the id that it has now."""
        if request.options.yum_repourls:
            return Repos(user_repos(request, self._tools))
        target = self._target
        repo = self._hub.repo(target.build_tag_id, target.build_tag)
        topurl = self._tools.kojid.options.topurl
        file = RepoFile(*repo_rules.koji_repo(topurl, target.build_tag, repo.id))
        return Repos((file,), repo.id)

    def check_component(self, component: str) -> None:
        if not self._scratch:
            self._hub.check_package(component, self._target)

    def number(self, wish: Wish) -> NVR:
        name, version = wish.identity.component, wish.identity.version
        if self._scratch:
            return NVR(name, version, wish.release or f"scratch.{self._task.id}")
        generator = self._tools.config.builder.content_generator
        reservations = Reservations(self._tools.session, generator, self._task.id)
        if self._keep is None:
            return reservations.would_be(NVR(name, version, wish.release), self._disttag)
        if wish.release:
            reservation = reservations.given(NVR(name, version, wish.release))
        else:
            reservation = reservations.next(name, version, self._disttag)
        self._keep(reservation)
        return reservation.nvr

    def facts(self, repos: Repos) -> KojiFacts:
        target = self._target
        return KojiFacts(
            task_id=self._task.id,
            owner=self._submitter.name,
            target=target.name,
            destination_tag=target.destination,
            build_tag=target.build_tag,
            repo_id=repos.koji_id,
            event=target.event,
            triggered_after=self._request.options.triggered_after_koji_task,
        )


def disttag(target: Target, setting: str) -> str:
    """What stands behind counted releases of the target. Raises ConfigError."""
    if setting == OF_TAG:
        dist = "" if target.dist == NO_MACRO else target.dist
        return check_disttag(dist, f"the tag {target.build_tag} (its extra rpm.macro.dist)")
    return check_disttag(setting, "[naming]")

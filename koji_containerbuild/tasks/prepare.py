"""From a request to a plan: everything is looked up and refused here, before a machine is taken."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from koji_containerbuild.contract.plan import (
    BuildPlan,
    Destination,
    KojiFacts,
    RepoFile,
    Source,
)
from koji_containerbuild.contract.request import BuildRequest
from koji_containerbuild.koji_api.lookups import Lookups, Submitter, Target
from koji_containerbuild.koji_api.reserve import Reservation, Reservations
from koji_containerbuild.koji_api.scm import check_allowed
from koji_containerbuild.rules import arches as arch_rules
from koji_containerbuild.rules import labels as label_rules
from koji_containerbuild.rules import repos as repo_rules
from koji_containerbuild.rules.nvr import NVR
from koji_containerbuild.source.checkout import Checkout, fetch_on_branch
from koji_containerbuild.tasks.resolve import (
    SourceTree,
    Wish,
    destination,
    limits,
    read_source,
    resolve_parents,
)
from koji_containerbuild.tasks.tools import Task, Tools

Keep = Callable[[Reservation], None]


@dataclass(frozen=True)
class Prepared:
    """A plan, and the checkout that it was read from."""

    plan: BuildPlan
    near: Path


@dataclass(frozen=True)
class Naming:
    """What the image will be called."""

    nvr: NVR
    labels: Mapping[str, str]  # to add
    destination: Destination


def prepare(request: BuildRequest, task: Task, tools: Tools, keep: Keep) -> Prepared:
    """Raises BadRequest for what the user can mend, ServiceError for what they cannot.

    The reservation is the last thing that can fail; `keep` is told of it at once.
    """
    created = int(tools.clock())
    hub = Lookups(tools.session)
    with stage(tools, "target"):
        submitter = hub.submitter(task.owner, task.channel)
        target = hub.target(request.target, request.options.scratch)
    with stage(tools, "source"):
        tree = _source_tree(request, target, submitter, tools)
        limited = limits(tree.settings, tools.config)
    with stage(tools, "parents"):
        arches = _arches(request, target, tree, tools)
        parents = resolve_parents(tree.dockerfile, arches, tools.config, tools.registry)
    with stage(tools, "repos"):
        repos, repo_id = _repos(request, target, hub, tools)
    with stage(tools, "name"):
        written = tree.dockerfile.labels(parents.environment)
        wish = Wish(tools.config, request, label_rules.identity(written), tree, written, created)
        if not request.options.scratch:
            hub.check_package(wish.identity.component, target)
        named = _name(wish, task, tools, keep)
    plan = BuildPlan(
        nvr=named.nvr,
        scratch=request.options.scratch,
        isolated=request.options.isolated,
        source=_source(request, tree.checkout),
        arches=arches,
        parents=parents.pinned,
        repos=repos,
        labels=named.labels,
        destination=named.destination,
        limits=limited,
        created=created,
        koji=KojiFacts(
            task_id=task.id,
            owner=submitter.name,
            target=request.target,
            destination_tag=target.destination,
            build_tag=target.build_tag,
            repo_id=repo_id,
            event=target.event,
        ),
        userdata=request.options.userdata,
        warnings=tree.settings.warnings,
    )
    return Prepared(plan, tree.checkout.root)


@contextmanager
def stage(tools: Tools, name: str) -> Iterator[None]:
    """Tells in the task's log where we are."""
    begun = time.monotonic()
    tools.logs.event(name, "started")
    try:
        yield
    except Exception as error:
        tools.logs.event(name, "failed", text=str(error))
        raise
    tools.logs.event(name, "done", time.monotonic() - begun)
    tools.logs.flush()


def _source_tree(
    request: BuildRequest, target: Target, submitter: Submitter, tools: Tools
) -> SourceTree:
    """Policy first, then the checkout, then Koji's callbacks have a look at it."""
    source, options, kojid = request.source, request.options, tools.kojid
    info = check_allowed(source.text, kojid.options, tools.session, submitter, options.scratch)
    about = {"scminfo": info, "build_tag": target.build_tag_id, "scratch": options.scratch}
    kojid.callbacks("preSCMCheckout", **about)
    folder = tools.work / "checkout"
    checkout = fetch_on_branch(source.clone_url, source.revision, str(options.git_branch), folder)
    kojid.callbacks("postSCMCheckout", **about, srcdir=str(folder))
    return read_source(checkout, source.subfolder)


def _arches(
    request: BuildRequest, target: Target, tree: SourceTree, tools: Tools
) -> tuple[str, ...]:
    return arch_rules.choose(
        target.arches,
        tree.settings.only,
        tree.settings.exclude,
        request.options.arch_override,
        tools.engine.arches,
    )


def _repos(
    request: BuildRequest, target: Target, hub: Lookups, tools: Tools
) -> tuple[tuple[RepoFile, ...], int]:
    """The user's .repo files, or else the build tag's repo at the id that it has now (0: none)."""
    urls = [repo_rules.check_repo_url(url) for url in request.options.yum_repourls]
    if urls:
        return tuple(_user_repo(url, tools) for url in urls), 0
    repo = hub.repo(target.build_tag_id, target.build_tag)
    topurl = tools.kojid.options.topurl
    return (RepoFile(*repo_rules.koji_repo(topurl, target.build_tag, repo.id)),), repo.id


def _user_repo(url: str, tools: Tools) -> RepoFile:
    text = repo_rules.check_repo_text(tools.read_url(url), url)
    return RepoFile(repo_rules.user_repo_name(url), text, url)


def _name(wish: Wish, task: Task, tools: Tools, keep: Keep) -> Naming:
    """Everything that could be wrong with the name is checked before it is reserved."""
    identity, options = wish.identity, wish.request.options
    release = options.release or identity.release
    destination(wish, release or "1")
    label_rules.to_add(wish.config.labels, wish.labels, release, "", wish.created)
    nvr = NVR(identity.component, identity.version, release or f"scratch.{task.id}")
    if not options.scratch:
        generator = tools.config.builder.content_generator
        reservations = Reservations(tools.session, generator, task.id)
        reservation = (
            reservations.given(nvr) if release else reservations.next(nvr.name, nvr.version)
        )
        keep(reservation)
        nvr = reservation.nvr
    labels = label_rules.to_add(
        wish.config.labels, wish.labels, nvr.release, wish.tree.checkout.commit, wish.created
    )
    return Naming(nvr, labels, destination(wish, nvr.release))


def _source(request: BuildRequest, checkout: Checkout) -> Source:
    return Source(
        url=checkout.url,
        commit=checkout.commit,
        branch=str(request.options.git_branch),
        subfolder=request.source.subfolder,
        recorded=request.source.recorded(checkout.commit),
    )

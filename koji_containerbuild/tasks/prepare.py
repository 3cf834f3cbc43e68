"""One page from request to plan: everything is looked up and refused here, before a machine is
taken. With Koji or without, the page is the same; who decides is another one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Protocol

from koji_containerbuild.contract.plan import BuildPlan, KojiFacts, RepoFile, Source
from koji_containerbuild.contract.request import BuildRequest
from koji_containerbuild.rules import arches as arch_rules
from koji_containerbuild.rules import labels as label_rules
from koji_containerbuild.rules.nvr import NVR, check_component_suffix
from koji_containerbuild.source.checkout import Checkout
from koji_containerbuild.source.repodata import version_of
from koji_containerbuild.source.unfetched import warn_of_submodules
from koji_containerbuild.tasks.arches import check_engine
from koji_containerbuild.tasks.checks import checks
from koji_containerbuild.tasks.files import Keeper, resolve_files
from koji_containerbuild.tasks.parents import Koji, Parents, resolve_parents
from koji_containerbuild.tasks.resolve import (
    SourceTree,
    Wish,
    destination,
    limits,
    read_source,
)
from koji_containerbuild.tasks.site_repos import as_the_site_fetches
from koji_containerbuild.tasks.tools import Place


@dataclass(frozen=True)
class Repos:
    """Where packages come from during the build."""

    files: tuple[RepoFile, ...]
    koji_id: int = 0  # of the build tag's repo; 0: it is not used


class Authority(Keeper, Koji, Protocol):
    """Who says what may be built, on what, from which packages and under which number."""

    @property
    def arches(self) -> Sequence[str]:
        """Those that an image of this target is built for, unless it says otherwise."""

    def checkout(self, request: BuildRequest, folder: Path) -> Checkout:
        """The source, if it may be built from. Raises BadRequest."""

    def repos(self, request: BuildRequest) -> Repos:
        """The repos for the build. Raises BadRequest."""

    def check_component(self, component: str) -> None:
        """Raises BadRequest unless builds of that name may be made."""

    def number(self, wish: Wish) -> NVR:
        """The name that the build has from now on, and nobody else. Raises BadRequest."""

    def facts(self, repos: Repos) -> Optional[KojiFacts]:
        """What the plan keeps of Koji."""


@dataclass(frozen=True)
class Prepared:
    """A plan, and the checkout that it was read from."""

    plan: BuildPlan
    near: Path


def prepare(request: BuildRequest, authority: Authority, place: Place) -> Prepared:
    """Raises BadRequest for what the user can mend, ServiceError for what they cannot.

    The number is taken last: nothing that can be known to fail fails after it.
    """
    created = int(place.clock())
    with stage(place, "source"):
        checkout = authority.checkout(request, place.work / "checkout")
        tree = read_source(checkout, request.source.subfolder)
        limited = limits(tree.settings, place.config)
        fetched = resolve_files(checkout, request.source, place.config, authority)
        checked = checks(request.target, tree.settings, place.config)
    with stage(place, "parents"):
        arches = _arches(request, tree, authority.arches)
        parents = resolve_parents(tree.dockerfile, arches, place.config, place.registry, authority)
        check_engine(tree, arches, parents.pinned, place)
    with stage(place, "repos"):
        nothing_runs = not (tree.dockerfile.parents or tree.settings.version_from_rpm)
        repos = Repos(()) if nothing_runs else authority.repos(request)
        files = as_the_site_fetches(repos.files, place.config.repos)
        main_rpm = tree.settings.version_from_rpm
        site = place.config.repos
        hosts = () if request.options.scratch else site.allowed_domains
        version = main_rpm and version_of(main_rpm, files, arches, site.ca_bundle, hosts)
    with stage(place, "name"):
        wish = _wish(request, tree, parents, place, created, version)
        check_component_suffix(wish.identity.component, place.config.naming.component_suffix)
        authority.check_component(wish.identity.component)
        nvr = authority.number(_possible(wish, parents.labels))
        added = _labels(wish, nvr.release, parents.labels)
    plan = BuildPlan(
        nvr=nvr,
        scratch=request.options.scratch,
        isolated=request.options.isolated,
        source=_source(request, checkout),
        arches=arches,
        parents=parents.pinned,
        from_images=parents.from_images,
        repos=files,
        labels=added.labels,
        destination=destination(wish, nvr.release),
        limits=limited,
        files=fetched.files,
        created=created,
        koji=authority.facts(repos),
        userdata=request.options.userdata,
        warnings=(
            *tree.settings.warnings,
            *wish.warnings,
            *warn_of_submodules(checkout),
            *fetched.warnings,
            *parents.warnings,
            *added.warnings,
            *_ignored(request),
        ),
        release_env=tree.settings.release_env,
        checks=checked,
        autorebuild=tree.settings.autorebuild,
    )
    return Prepared(plan, checkout.root)


@contextmanager
def stage(place: Place, name: str) -> Iterator[None]:
    """Tells in the task's log where we are."""
    begun = time.monotonic()
    place.logs.event(name, "started")
    try:
        yield
    except Exception as error:
        place.logs.event(name, "failed", text=str(error))
        raise
    place.logs.event(name, "done", time.monotonic() - begun)
    place.logs.flush()


def _arches(request: BuildRequest, tree: SourceTree, of_target: Sequence[str]) -> tuple[str, ...]:
    settings, override = tree.settings, request.options.arch_override
    return arch_rules.choose(of_target, settings.only, settings.exclude, override)


def _wish(
    request: BuildRequest,
    tree: SourceTree,
    parents: Parents,
    place: Place,
    created: int,
    version: str,
) -> Wish:
    """`version`: of the main RPM; empty: that of the label counts."""
    labels = tree.dockerfile.labels(parents.environment)
    label_rules.check_kind(labels)
    warnings: tuple[str, ...] = ()
    if version:
        written = label_rules.of(labels, "version")
        if written not in ("", version):
            warnings = (
                f"{label_rules.called(labels, 'version')} is '{written}'; the image gets "
                f"'{version}', the version of the RPM {tree.settings.version_from_rpm} "
                "(container.yaml).",
            )
        labels = label_rules.with_version(labels, version)
    identity = label_rules.identity(labels)
    _check_scope(labels, parents, tree.dockerfile.final_parent, place)
    return Wish(place.config, request, identity, tree, labels, created, warnings)


def _check_scope(
    labels: Mapping[str, str], parents: Parents, parent: Optional[str], place: Place
) -> None:
    key = label_rules.SCOPE
    own = labels.get(key, place.config.labels.get(key, ""))
    label_rules.check_scope(own, parents.labels.get(key, ""), str(parent))


def _possible(wish: Wish, inherited: Mapping[str, str]) -> Wish:
    """Everything that could be wrong with the name is checked before it is taken."""
    release = wish.release or "1"
    destination(wish, release)
    _labels(wish, release, inherited)
    return wish


def _labels(wish: Wish, release: str, inherited: Mapping[str, str]) -> label_rules.Added:
    config, checkout = wish.config, wish.tree.checkout
    of_rpm = {}
    if wish.tree.settings.version_from_rpm:
        of_rpm = {key: wish.labels[key] for key in ("version", "Version") if key in wish.labels}
    site = label_rules.SiteLabels(
        values={**config.labels, **of_rpm},
        equal=tuple(config.equal_labels.values()),
        info_url=config.naming.info_url,
        vcs_url=config.naming.vcs_url,
    )
    facts = label_rules.Facts(release, checkout.commit, checkout.url, wish.created)
    return label_rules.to_add(site, wish.labels, inherited, facts)


def _ignored(request: BuildRequest) -> tuple[str, ...]:
    if request.options.push_url:
        return ("The option push_url has no effect: images are pushed where the site says.",)
    return ()


def _source(request: BuildRequest, checkout: Checkout) -> Source:
    return Source(
        url=checkout.url,
        commit=checkout.commit,
        branch=str(request.options.git_branch),
        subfolder=request.source.subfolder,
        recorded=request.source.recorded(checkout.commit),
    )

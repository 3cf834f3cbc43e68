"""What a plan would build, told without building it: data for scripts, lines for people."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

from koji_containerbuild.contract.codec import to_json
from koji_containerbuild.contract.plan import BuildPlan, Checks
from koji_containerbuild.rules.labels import ARCH
from koji_containerbuild.rules.levels import IGNORE

WIDTH = 12  # characters of the column of names
NORMAL = "normal"


@dataclass(frozen=True)
class PreviewParent:
    """An image after FROM."""

    name: str = ""  # registry/repository:tag
    pinned: str = ""  # registry/repository@digest
    build: str = ""  # NVR of its Koji build, if that is known


@dataclass(frozen=True)
class PreviewFile:
    """A file that git does not hold."""

    path: str = ""
    url: str = ""


@dataclass(frozen=True)
class Preview:
    """The plan's decisions. A field that an older builder does not tell has its default."""

    nvr: str = ""
    kind: str = NORMAL  # normal | scratch | isolated
    source: str = ""  # as Koji's build record would name it
    branch: str = ""
    arches: tuple[str, ...] = ()
    parents: tuple[PreviewParent, ...] = ()
    repos: tuple[str, ...] = ()  # URLs or names of .repo files, or the build tag
    repo_id: int = 0  # of the build tag's repo; 0: .repo files
    files: tuple[PreviewFile, ...] = ()
    image: str = ""  # registry/repository
    tags: tuple[str, ...] = ()
    floating_tags: tuple[str, ...] = ()  # that move when the build is done
    koji_tag: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)  # the same on every arch
    seconds: int = 0  # time limit of the build
    checks: tuple[str, ...] = ()  # what the finished image would have to pass
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as they go over the wire in a dry run's result."""
        plain: dict[str, Any] = json.loads(to_json(self))
        return plain

    @classmethod
    def from_dict(cls, told: Any) -> Preview:
        """What came over the wire; what is not known or of another type is left out."""
        known: Preview = _known(cls, told)
        return known


def preview(plan: BuildPlan) -> Preview:
    """What the build of the plan would be."""
    where, koji = plan.destination, plan.koji
    repos = [repo.url or repo.name for repo in plan.repos if repo.name.endswith(".repo")]
    return Preview(
        nvr=str(plan.nvr),
        kind="scratch" if plan.scratch else "isolated" if plan.isolated else NORMAL,
        source=plan.source.recorded,
        branch=plan.source.branch,
        arches=plan.arches,
        parents=tuple(
            PreviewParent(p.resolved, p.pinned, p.build.nvr if p.build else "")
            for p in plan.parents
        ),
        repos=(koji.build_tag,) if koji and koji.repo_id else tuple(repos),
        repo_id=koji.repo_id if koji else 0,
        files=tuple(PreviewFile(f.path, f.download.url) for f in plan.files),
        image=where.repository,
        tags=(where.primary_tag,) if where.primary_tag else (),
        floating_tags=where.floating_tags,
        koji_tag=koji.destination_tag if koji and not plan.scratch else "",
        labels={key: value for key, value in plan.labels.items() if key not in ARCH},
        seconds=plan.limits.seconds,
        checks=tuple(_checks(plan.checks)),
        warnings=plan.warnings,
    )


def lines(told: Preview) -> list[str]:
    """A preview for people.

    >>> lines(Preview("web-1-2", arches=("x86_64",)))
    ['Would build web-1-2; nothing was reserved.', '  arches      x86_64']
    """
    kind = "" if told.kind == NORMAL else f" as {told.kind} build"
    begin = f"Would build {told.nvr or 'an image'}{kind}; nothing was reserved."
    return [begin, *(f"  {name:<{WIDTH}}{text}" for name, text in _rows(told) if text)]


def _rows(told: Preview) -> Iterator[tuple[str, str]]:
    yield "source", told.source and f"{told.source} on {told.branch}"
    yield "arches", ", ".join(told.arches)
    for parent in told.parents:
        build = f" ({parent.build})" if parent.build else ""
        yield "parent", f"{parent.name} = {parent.pinned.partition('@')[2]}{build}"
    for repo in told.repos:
        yield "packages", f"{repo}, repo {told.repo_id}" if told.repo_id else repo
    for file in told.files:
        yield "file", f"{file.path} from {file.url}"
    tags = ", ".join([*told.tags, *told.floating_tags]) or "a tag of its own"
    yield "image", told.image and f"{told.image}: {tags}"
    yield "Koji tag", told.koji_tag
    for key, value in sorted(told.labels.items()):
        yield "label", f"{key}={value}"
    yield "time limit", f"{told.seconds} s" if told.seconds else ""
    for text in told.checks:
        yield "check", text
    for text in told.warnings:
        yield "warning", text


def _checks(checks: Checks) -> Iterator[str]:
    """What the finished image would have to pass."""
    if checks.max_size:
        yield f"not more than {checks.max_size // (1024 * 1024)} MiB uncompressed"
    if checks.signatures != IGNORE:
        yield f"packages signed with {', '.join(checks.keys)}, or else {checks.signatures}"
    yield from (f"test: {command}" for command in checks.tests)


def _known(kind: Any, told: Any) -> Any:
    """A record of those fields that have the right type, each with a default for the others."""
    given: dict[str, Any] = {}
    for name, hint in get_type_hints(kind).items():
        value = told.get(name) if isinstance(told, dict) else None
        inner = get_args(hint)
        if get_origin(hint) is tuple and isinstance(value, (list, tuple)):
            if is_dataclass(inner[0]):
                given[name] = tuple(_known(inner[0], item) for item in value)
            else:
                given[name] = tuple(item for item in value if type(item) is inner[0])
        elif get_origin(hint) is Mapping and isinstance(value, dict):
            given[name] = {k: v for k, v in value.items() if type(v) is inner[1]}
        elif type(value) is hint:
            given[name] = value
    return kind(**given)

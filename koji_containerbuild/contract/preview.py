"""What a plan would build, told without building it: data for scripts, lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from koji_containerbuild.contract.plan import BuildPlan, Checks
from koji_containerbuild.rules.labels import ARCH
from koji_containerbuild.rules.levels import IGNORE

WIDTH = 12  # characters of the column of names


def preview(plan: BuildPlan) -> dict[str, Any]:
    """The plan's decisions as plain values, as they go over the wire in a dry run's result.

    `repos` are URLs or names of .repo files, or the build tag whose repo `repo_id` is
    used; `floating_tags` move when the build is done.
    """
    where, koji = plan.destination, plan.koji
    repos = [repo.url or repo.name for repo in plan.repos if repo.name.endswith(".repo")]
    return {
        "nvr": str(plan.nvr),
        "kind": "scratch" if plan.scratch else "isolated" if plan.isolated else "normal",
        "source": plan.source.recorded,
        "branch": plan.source.branch,
        "arches": list(plan.arches),
        "parents": [
            {"name": p.resolved, "pinned": p.pinned, "build": p.build.nvr if p.build else ""}
            for p in plan.parents
        ],
        "repos": [koji.build_tag] if koji and koji.repo_id else repos,
        "repo_id": koji.repo_id if koji else 0,
        "files": [{"path": f.path, "url": f.download.url} for f in plan.files],
        "image": where.repository,
        "tags": [where.primary_tag] if where.primary_tag else [],
        "floating_tags": list(where.floating_tags),
        "koji_tag": koji.destination_tag if koji and not plan.scratch else "",
        "labels": {key: value for key, value in plan.labels.items() if key not in ARCH},
        "seconds": plan.limits.seconds,
        "checks": list(_checks(plan.checks)),
        "warnings": list(plan.warnings),
    }


def lines(told: Mapping[str, Any]) -> list[str]:
    """A preview for people; an older or newer builder may tell less or more.

    >>> lines({"nvr": "web-1-2", "kind": "normal", "arches": ["x86_64"]})
    ['Would build web-1-2; nothing was reserved.', '  arches      x86_64']
    """
    kind = "" if told.get("kind", "normal") == "normal" else f" as {told['kind']} build"
    begin = f"Would build {told['nvr']}{kind}; nothing was reserved."
    return [begin, *(f"  {name:<{WIDTH}}{text}" for name, text in _rows(told))]


def _rows(told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield from _plain("source", told.get("source"), f" on {told.get('branch')}")
    yield "arches", ", ".join(told.get("arches") or ())
    for parent in told.get("parents") or ():
        build = f" ({parent['build']})" if parent.get("build") else ""
        yield "parent", f"{parent['name']} = {parent['pinned'].partition('@')[2]}{build}"
    for repo in told.get("repos") or ():
        yield "packages", f"{repo}, repo {told['repo_id']}" if told.get("repo_id") else repo
    for file in told.get("files") or ():
        yield "file", f"{file['path']} from {file['url']}"
    tags = [*(told.get("tags") or ()), *(told.get("floating_tags") or ())]
    if told.get("image"):
        yield "image", f"{told['image']}: {', '.join(tags) or 'a tag of its own'}"
    yield from _plain("Koji tag", told.get("koji_tag"))
    for key, value in sorted((told.get("labels") or {}).items()):
        yield "label", f"{key}={value}"
    yield from _plain("time limit", told.get("seconds"), " s")
    for text in told.get("checks") or ():
        yield "check", text
    for text in told.get("warnings") or ():
        yield "warning", text


def _checks(checks: Checks) -> Iterator[str]:
    """What the finished image would have to pass."""
    if checks.max_size:
        yield f"not more than {checks.max_size // (1024 * 1024)} MiB uncompressed"
    if checks.signatures != IGNORE:
        yield f"packages signed with {', '.join(checks.keys)}, or else {checks.signatures}"
    yield from (f"test: {command}" for command in checks.tests)


def _plain(name: str, value: Any, unit: str = "") -> Iterator[tuple[str, str]]:
    if value:
        yield name, f"{value}{unit}"

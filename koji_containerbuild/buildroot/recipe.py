"""The recipe for the image of one arch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Optional

from koji_containerbuild.buildroot import host
from koji_containerbuild.buildroot.stages.buildinfo import CONTEXT, buildinfo, copy_files
from koji_containerbuild.buildroot.stages.check_labels import check_labels
from koji_containerbuild.buildroot.stages.check_signatures import check_signatures
from koji_containerbuild.buildroot.stages.check_size import check_size
from koji_containerbuild.buildroot.stages.fetch_files import fetch_files
from koji_containerbuild.buildroot.stages.fetch_source import fetch_source
from koji_containerbuild.buildroot.stages.help_page import help_page
from koji_containerbuild.buildroot.stages.inject_labels import inject_labels
from koji_containerbuild.buildroot.stages.list_rpms import list_rpms
from koji_containerbuild.buildroot.stages.own_layer import has_traces, one_layer, without_repos
from koji_containerbuild.buildroot.stages.parents_of_arch import parents_of_arch
from koji_containerbuild.buildroot.stages.push import (
    LocalImage,
    parent_image,
    push_image,
    push_layers,
    push_parent_layers,
)
from koji_containerbuild.buildroot.stages.report import report
from koji_containerbuild.buildroot.stages.repos import repos
from koji_containerbuild.buildroot.stages.rewrite_from import release_env, rewrite_from
from koji_containerbuild.buildroot.stages.run_tests import run_tests
from koji_containerbuild.buildroot.step import Steps
from koji_containerbuild.buildroot.tools import Builder, BuildJob, Tools
from koji_containerbuild.contract.image import ArchImage, Rpm
from koji_containerbuild.contract.outcome import Outcome
from koji_containerbuild.contract.plan import BuildPlan
from koji_containerbuild.rules.levels import IGNORE
from koji_containerbuild.rules.manifests import DOCKER_MANIFEST, sha256
from koji_containerbuild.rules.pullspec import Pullspec
from koji_containerbuild.source.dockerfile import Dockerfile, parse
from koji_containerbuild.source.manual import read_help


def build_arch(plan: BuildPlan, arch: str, tools: Tools, near: Optional[Path]) -> Outcome:
    """Build, push and report. Raises StageFailed. `near`: a checkout that may have the commit."""
    step = Steps(tools.console)
    to = Pullspec.parse(plan.destination.repository).at_tag(plan.destination.arch_tag(arch))
    pinned = {parent.written: parent.pinned for parent in plan.parents}
    files = tools.work / "files"
    files.mkdir()

    with step("fetch source"):
        checkout = fetch_source(plan.source, near, tools.work)
        dockerfile = parse(checkout.text(plan.source.subfolder, "Dockerfile"))
        context = checkout.folder(plan.source.subfolder)
        fetch_files(plan.files, context, tools.files)

    with step("edit Dockerfile"):
        help_file = help_page(read_help(checkout, plan.source.subfolder), plan, files)
        added = f"{inject_labels(plan, arch)}\n{copy_files(files)}"
        begin = release_env(plan)
        buildinfo(
            dockerfile.text,
            rewrite_from(dockerfile, pinned, added, begin),
            image_name(plan),
            files,
        )

    with step("parents and repos"):
        of_arch = parents_of_arch(pinned, arch, tools.registry)
        local = repos(dockerfile, plan.repos, of_arch, tools.builder, tools.work)
        has_repos = has_repo_layer(dockerfile, of_arch, local)
        recipe = written(tools.work, rewrite_from(dockerfile, local, added, begin))

    name = f"localhost/koji-containerbuild/build:{plan.destination.arch_tag(arch)}"
    with removing(name, tools.builder), ThreadPoolExecutor(2) as aside:
        place = aside.submit(host.describe, tools.builder)
        parent = aside.submit(parent_image, tools.registry, base_of(dockerfile, of_arch))
        with step("build"):
            said = build(
                BuildJob(context, recipe, name, {CONTEXT: files}, plan.created), plan, tools
            )

        seen = aside.submit(look_inside, name, plan, has_repos, tools.builder, step)
        with step("parent layers"):
            made = LocalImage(name, parent.result(), has_repos)
            push_parent_layers(made.parent, to, tools.registry)
        warnings = check(plan, made, seen, tools, step)
        with step("push"):
            push_layers(made, to, tools)
            pushed = push_image(
                made, to, tools, seen.result().traces, partial(one_layer, plan.repos)
            )

        gone = aside.submit(tools.builder.remove, name)
        with step("report"):
            image = ArchImage(
                arch=arch,
                digest=pushed.digest,
                media_type=DOCKER_MANIFEST,
                size=len(pushed.manifest),
                config_digest=sha256(pushed.config),
                config=json.loads(pushed.config),
                parent_config_digest=made.parent.config_digest if made.parent else None,
                layers=made.layers(pushed, seen.result().layer_sizes),
                rpms=seen.result().rpms or (),
                help_file=help_file,
                buildroot=place.result(),
                build_log=said,
                timeline=step.timeline,
                warnings=tuple(f"{arch}: {text}" for text in warnings),
                has_rpm_database=seen.result().rpms is not None,
            )
            digest = report(image, tools.console.path, to, tools.registry)
        gone.result()
    return Outcome(arch, image=pushed.digest, report=digest)


def build(job: BuildJob, plan: BuildPlan, tools: Tools) -> tuple[int, int]:
    """Run the builder; where its output is in the log: first byte, byte after the last."""
    begin = tools.console.size
    tools.builder.build(job, tools.console)
    end = tools.console.size
    check_labels(plan, tools.builder.labels(job.image))
    return begin, end


@dataclass(frozen=True)
class Seen:
    """What the finished image told."""

    layer_sizes: Sequence[int]
    rpms: Optional[tuple[Rpm, ...]]  # None: there is no RPM database
    traces: bool


def look_inside(name: str, plan: BuildPlan, has_repos: bool, builder: Builder, step: Steps) -> Seen:
    """While layers are being pushed: the two do not need each other."""
    with step("list rpms"):
        sizes = builder.layer_sizes(name)
        with builder.container(name) as container:
            tree = container.tree
            return Seen(sizes, list_rpms(tree), has_traces(tree, plan.repos, has_repos))


def written(work: Path, dockerfile: str) -> Path:
    """The file that the builder reads."""
    path = work / "Dockerfile"
    path.write_text(dockerfile, encoding="utf-8")
    return path


def check(
    plan: BuildPlan, made: LocalImage, looking: Future[Seen], tools: Tools, step: Steps
) -> tuple[str, ...]:
    """Warnings. What is not checked is not waited for: it goes on beside the push."""
    checks = plan.checks
    warnings: tuple[str, ...] = ()
    if checks.max_size:
        with step("check size"):
            sizes = looking.result().layer_sizes
            check_size(sum(sizes[: made.below]), sum(made.own_sizes(sizes)), checks.max_size)
    if checks.signatures != IGNORE:
        with step("check signatures"):
            warnings = check_signatures(looking.result().rpms, made.parent is None, checks)
    if checks.tests:
        with step("tests"):
            hide = partial(without_repos, repos=plan.repos)
            run_tests(checks.tests, made.name, hide, tools.builder, tools.console)
    return warnings


@contextmanager
def removing(name: str, builder: Builder) -> Iterator[None]:
    """An image in the builder's store that does not stay when the build fails."""
    try:
        yield
    except BaseException:
        builder.remove(name)
        raise


def image_name(plan: BuildPlan) -> str:
    """name-version-release for file names in the image; the label `name`, not the Koji package."""
    repository = Pullspec.parse(plan.destination.repository).repository
    return f"{repository}-{plan.nvr.version}-{plan.nvr.release}"


def base_of(dockerfile: Dockerfile, pinned: Mapping[str, str]) -> Optional[str]:
    """The pinned parent of the last stage; None: scratch."""
    return pinned.get(dockerfile.final_parent or "")


def has_repo_layer(
    dockerfile: Dockerfile, pinned: Mapping[str, str], local: Mapping[str, str]
) -> bool:
    """Whether the last stage stands on a parent that got a layer with repo files."""
    parent = dockerfile.final_parent
    return parent is not None and local[parent] != pinned[parent]

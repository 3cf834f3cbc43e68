"""From images to a Koji build: the index, its tags, the import, in the one order that is safe.

Floating tags move last, since they are what people pull; after the import nothing that is optional
may turn the task red.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional

from koji_containerbuild.contract.image import ArchImage, ImageIndex, Rpm
from koji_containerbuild.contract.outcome import Outcome
from koji_containerbuild.contract.plan import BuildPlan
from koji_containerbuild.contract.tasks import (
    METADATA_FILE,
    PLAN_FILE,
    WARNINGS_LOG,
    BuildResult,
    arch_log,
    build_log,
    warning_lines,
)
from koji_containerbuild.errors import BuildCancelled, ServiceError
from koji_containerbuild.koji_api import import_
from koji_containerbuild.koji_api.lookups import OPEN, Lookups
from koji_containerbuild.koji_api.metadata import Facts, OutputFile, document
from koji_containerbuild.koji_api.reserve import Reservation
from koji_containerbuild.registry.client import Registry
from koji_containerbuild.rules.pullspec import Pullspec
from koji_containerbuild.tasks.changes import change_documents
from koji_containerbuild.tasks.ends import optional, told_to_end
from koji_containerbuild.tasks.files import SOURCES, fetch_sources, sources_of
from koji_containerbuild.tasks.index import Report, pull_report, push_index
from koji_containerbuild.tasks.packages import at_most_warned, check_packages, check_same
from koji_containerbuild.tasks.prepare import stage
from koji_containerbuild.tasks.state import TaskState
from koji_containerbuild.tasks.timeline import timeline_documents
from koji_containerbuild.tasks.tools import Task, Tools


def publish(
    plan: BuildPlan, outcomes: Sequence[Outcome], task: Task, tools: Tools, state: TaskState
) -> BuildResult:
    """Raises ServiceError; before the import, nothing is left that would be in the way."""
    repository = Pullspec.parse(plan.destination.repository)
    with stage(tools, "reports"):
        reports = [pull_report(o, repository, tools.registry, tools.work) for o in outcomes]
    images = [report.image for report in reports]
    with stage(tools, "packages"):
        check_same(plan, images, tools.config.packages.may_differ)
        policy = tools.config.packages
        packages = check_packages(
            images, at_most_warned(policy) if plan.scratch else policy, tools.session
        )
    with stage(tools, "index"):
        index = push_index(plan, images, tools.registry)
    warnings = [*plan.warnings, *(w for i in images for w in i.warnings), *packages.warnings]
    with stage(tools, "changes"):
        parents = [parent.build.id for parent in plan.parents if parent.build]
        documents = change_documents(plan, images, tools, parents)
    documents.update(timeline_documents(plan, images, tools))
    with stage(tools, "metadata"):
        upload = _Upload(plan, Made(reports, index, documents, packages.unlinked), tools, state)
    reservation = state.reservation()
    result = BuildResult(
        repositories=_pull_specs(plan, index),
        koji_builds=(str(reservation.build_id),) if reservation and not plan.scratch else (),
        user_warnings=tuple(warnings),
    )
    if not plan.scratch:
        state.save_expected(result)
        _import(upload, task, tools)
    return finish(plan, result, task, tools, state)


def finish(
    plan: BuildPlan, result: BuildResult, task: Task, tools: Tools, state: TaskState
) -> BuildResult:
    """What follows the import; a task that starts again after it begins here."""
    reservation = state.reservation()
    if reservation and plan.koji and not plan.scratch:
        with stage(tools, "tag"):
            tag = plan.koji.destination_tag
            import_.tag_build(tools.session, task.id, tag, reservation)
    if plan.destination.floating_tags:
        with stage(tools, "floating tags"):
            spec = Pullspec.parse(result.repositories[1])
            moved = _move_floating_tags(plan, spec, tools.registry)
        result = replace(result, user_warnings=(*result.user_warnings, *moved))
    if set(result.user_warnings) - set(plan.warnings):  # those of the plan are there already
        with optional(tools.logs, "warnings"):
            tools.logs.put(WARNINGS_LOG, warning_lines(result.user_warnings))
    return result


def _pull_specs(plan: BuildPlan, index: ImageIndex) -> tuple[str, ...]:
    """The tag that a person would use, the digest, and the tag of this attempt."""
    where = plan.destination
    repository = Pullspec.parse(where.repository)
    first = repository.at_tag(where.primary_tag or where.unique_tag)
    specs = (first, repository.at_digest(index.digest), repository.at_tag(where.unique_tag))
    return tuple(dict.fromkeys(map(str, specs)))


@dataclass(frozen=True)
class Made:
    """What came of the arches' builds."""

    reports: Sequence[Report]
    index: ImageIndex
    documents: Mapping[str, str]  # texts about the build, by file name
    unlinked: frozenset[Rpm]  # packages that Koji would mistake for others


class _Upload:
    """The files of the build and its metadata, on this host."""

    def __init__(self, plan: BuildPlan, made: Made, tools: Tools, state: TaskState) -> None:
        folder = tools.work / "upload"
        folder.mkdir()
        archives = {r.image.arch: _archive(r.image, plan, folder) for r in made.reports}
        logs = _logs(plan, made, tools, folder)
        sources = _sources(plan, tools, folder)
        self.reservation: Optional[Reservation] = state.reservation()
        self.files = [folder / file.name for file in (*archives.values(), *sources.values(), *logs)]
        facts = Facts(
            plan=plan,
            generator=tools.config.builder.content_generator,
            submitter=tools.session.getLoggedInUser()["name"],
            job=state.name,
            images=tuple(r.image for r in made.reports),
            index=made.index,
            archives=archives,
            logs=tuple(logs),
            sources=sources,
            started=plan.created,
            ended=int(tools.clock()),
            build_id=self.reservation.build_id if self.reservation else None,
            unlinked=made.unlinked,
        )
        metadata = document(facts)
        import_.check(metadata)
        text = json.dumps(metadata, ensure_ascii=False, indent=1)
        self.metadata = folder / METADATA_FILE
        self.metadata.write_text(text, encoding="utf-8")
        if plan.scratch:  # there is no Koji build that would have them
            for name, document_text in {METADATA_FILE: text, **made.documents}.items():
                tools.logs.put(name, document_text)


def _archive(image: ArchImage, plan: BuildPlan, folder: Path) -> OutputFile:
    """A small archive that stands for the image: the image itself is in the registry."""
    repository = Pullspec.parse(plan.destination.repository)
    where = repository.at_digest(image.digest)
    readme = f"This image is in the registry. Pull it with:\n\n    podman pull {where}\n"
    path = folder / f"docker-image-{image.config_digest}.{image.arch}.tar.gz"
    with tarfile.open(path, "w:gz", compresslevel=6) as archive:
        for name, text in (
            ("README", readme),
            ("config.json", json.dumps(dict(image.config), indent=1)),
        ):
            data = text.encode()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(data), plan.created
            archive.addfile(entry, io.BytesIO(data))
    return import_.measure(path, image.arch)


def _sources(plan: BuildPlan, tools: Tools, folder: Path) -> Mapping[str, OutputFile]:
    """The source code of fetched artifacts, by URL."""
    if plan.scratch:
        return {}
    sources = sources_of(plan.files)
    kept = tools.work / SOURCES  # since before the build, unless the task was started again
    fetch_sources(sources, kept, tools)
    for name in sources:
        (kept / name).replace(folder / name)
    return {source.url: import_.measure(folder / name) for name, source in sources.items()}


def _logs(plan: BuildPlan, made: Made, tools: Tools, folder: Path) -> list[OutputFile]:
    """The task's log, the documents, and of each arch the whole log and the builder's output."""
    files = []
    for report in made.reports:
        arch = report.image.arch
        whole = folder / arch_log(arch)
        report.log.replace(whole)
        files.append(import_.measure(whole))
        raw = folder / build_log(arch)
        _copy_part(whole, raw, report.image.build_log)
        files.append(import_.measure(raw, arch))
    task_log = folder / tools.logs.task_log.name
    task_log.write_bytes(tools.logs.task_log.read_bytes())
    files.append(import_.measure(task_log))
    for name, text in {PLAN_FILE: plan.to_json(), **made.documents}.items():
        (folder / name).write_text(text, encoding="utf-8")
        files.append(import_.measure(folder / name))
    return files


def _copy_part(source: Path, to: Path, part: Sequence[int]) -> None:
    begin, end = part
    with source.open("rb") as whole, to.open("wb") as raw:
        whole.seek(begin)
        left = end - begin
        while left and (block := whole.read(min(left, import_.BLOCK))):
            raw.write(block)
            left -= len(block)


def _import(upload: _Upload, task: Task, tools: Tools) -> None:
    reservation = upload.reservation
    if reservation is None:
        raise ServiceError("The reservation of the build is lost.", do="Build again.")
    with stage(tools, "import"):
        if Lookups(tools.session).task_state(task.id) != OPEN:
            raise BuildCancelled("The task was ended before its build was imported.")
        import_.import_build(tools.session, upload.metadata, upload.files, reservation)


def _move_floating_tags(plan: BuildPlan, spec: Pullspec, registry: Registry) -> list[str]:
    """What could not be moved comes back as warnings: the build is done."""
    warnings = []
    for tag in plan.destination.floating_tags:
        try:
            registry.tag(spec, tag)
        except Exception as error:  # noqa: BLE001 — no bug may make a finished build red
            if told_to_end(error):
                raise
            warnings.append(f"The tag {tag} was not moved: {error}")
    return warnings

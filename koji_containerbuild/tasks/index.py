"""What the arches' builds left in the registry: their reports, and the index made over them.

A few calls to the registry, so no machine is taken for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from koji_containerbuild.contract.image import LOG_FILE, ArchImage, ImageIndex, log_tag, report_tag
from koji_containerbuild.contract.outcome import Outcome
from koji_containerbuild.contract.plan import BuildPlan
from koji_containerbuild.errors import ContainerBuildError
from koji_containerbuild.registry.artifact import Pulled, pull_artifact
from koji_containerbuild.registry.client import Registry
from koji_containerbuild.rules.manifests import Platform, build_index, goarch, index_type
from koji_containerbuild.rules.pullspec import Pullspec


@dataclass(frozen=True)
class Report:
    """What one arch's build told: the record, and its log on this host."""

    image: ArchImage
    log: Path


def pull_report(outcome: Outcome, repository: Pullspec, registry: Registry, work: Path) -> Report:
    """The artifact that the buildroot left beside the image."""
    pulled = _pulled(f"report-{outcome.arch}", repository.at_digest(outcome.report), registry, work)
    return Report(ArchImage.from_json(pulled.config), _log_in(pulled))


def pull_log(outcome: Outcome, repository: Pullspec, registry: Registry, work: Path) -> Path:
    """The complete log, of an arch that kept one: in its report, or, if it failed, alone."""
    kept = repository.at_digest(outcome.log or outcome.report)
    return _log_in(_pulled(f"log-{outcome.arch}", kept, registry, work))


def _pulled(name: str, spec: Pullspec, registry: Registry, work: Path) -> Pulled:
    folder = work / name
    folder.mkdir()
    return pull_artifact(registry, spec, folder)


def _log_in(pulled: Pulled) -> Path:
    return next(file.path for file in pulled.files if file.name == LOG_FILE)


def push_index(plan: BuildPlan, images: Sequence[ArchImage], registry: Registry) -> ImageIndex:
    """A manifest list, also of one arch, under the unique and the primary tag."""
    repository = Pullspec.parse(plan.destination.repository)
    kind = index_type(image.media_type for image in images)
    body = build_index([_entry(image) for image in images], kind)
    digest = ""
    for tag in filter(None, (plan.destination.unique_tag, plan.destination.primary_tag)):
        digest = registry.put_manifest(repository.at_tag(tag), body, kind)
    return ImageIndex(digest, kind)


def _entry(image: ArchImage) -> Platform:
    variant = str(image.config.get("variant") or "")
    size, kind = image.size, image.media_type
    return Platform(goarch(image.arch), "linux", variant, image.digest, kind, size)


def unpublish(plan: BuildPlan, registry: Registry) -> None:
    """Take back what a failed build has pushed, as far as the registry lets us.

    Never raises: the error that brought us here is the one to tell.
    """
    repository = Pullspec.parse(plan.destination.repository)
    arch_tags = [plan.destination.arch_tag(arch) for arch in plan.arches]
    ours = (*arch_tags, *map(report_tag, arch_tags), *map(log_tag, arch_tags))
    for tag in (plan.destination.unique_tag, *ours):
        with suppress(ContainerBuildError):  # NotFound, mostly: it was not made yet
            found = registry.manifest(repository.at_tag(tag))
            registry.delete_manifest(repository.at_digest(found.digest))

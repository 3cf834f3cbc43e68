"""What changed since the previous build of an image and against its parent, for the Koji build.

What cannot be learned fails no build: then the report says why it is not there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Optional

from koji_containerbuild.contract.codec import to_json
from koji_containerbuild.contract.image import ArchImage
from koji_containerbuild.contract.plan import BuildPlan
from koji_containerbuild.contract.tasks import CHANGES_FILE, CHANGES_LOG
from koji_containerbuild.errors import ContainerBuildError, NotFound, ServiceError
from koji_containerbuild.koji_api.images import build_facts, previous_build, unknown_packages
from koji_containerbuild.koji_api.metadata import clean
from koji_containerbuild.registry.client import Registry
from koji_containerbuild.rules.changes import (
    BuildFacts,
    Changes,
    ImageFacts,
    Package,
    compare,
    evr,
    image_facts,
)
from koji_containerbuild.rules.changes_text import render, shown
from koji_containerbuild.rules.pullspec import Pullspec
from koji_containerbuild.tasks.tools import Tools

FIRST = "This is the first build of the image that Koji knows."
NO_IMAGES = "The previous build has no container images."
FROM_SCRATCH = "The image has no parent: it is FROM scratch."


@dataclass(frozen=True)
class Comparison:
    """Exactly one of the two is set."""

    changes: Optional[Changes] = None
    missing: str = ""  # why there is nothing to compare with


@dataclass(frozen=True)
class ChangeReport:
    """The JSON form."""

    nvr: str
    previous: Comparison
    parent: Comparison
    not_in_koji: tuple[str, ...] = ()  # name-version-release.arch; compared with nothing
    version: int = 1

    def text(self) -> str:
        """The form for people."""
        parts = [
            _titled("Since the previous build", self.previous),
            _titled("Against the parent image", self.parent),
        ]
        if self.not_in_koji:
            title = "Not compared: packages that Koji does not have"
            parts.append(
                "\n".join([title, "-" * len(title), "", *map(shown, self.not_in_koji), ""])
            )
        return "\n\n".join(parts)


def _titled(title: str, comparison: Comparison) -> str:
    text = render(comparison.changes) if comparison.changes else f"{comparison.missing}\n"
    return f"{title}\n{'-' * len(title)}\n\n{text}"


def change_documents(
    plan: BuildPlan, images: Sequence[ArchImage], tools: Tools, parent_builds: Sequence[int]
) -> dict[str, str]:
    """Text and JSON, by file name. `parent_builds`: ids of the Koji builds of parents."""
    try:
        report = change_report(plan, images, tools, parent_builds)
    except ContainerBuildError as error:
        tools.logs.event("changes", "note", text=f"Not compared: {error}")
        missing = Comparison(missing=f"Not compared: {error}")
        report = ChangeReport(str(plan.nvr), missing, missing)
    return {CHANGES_LOG: report.text(), CHANGES_FILE: to_json(report)}


def change_report(
    plan: BuildPlan, images: Sequence[ArchImage], tools: Tools, parent_builds: Sequence[int]
) -> ChangeReport:
    """Raises ServiceError."""
    own = BuildFacts(str(plan.nvr), tuple(map(_own_facts, images)))
    tag = plan.koji.destination_tag if plan.koji else ""
    previous_id = previous_build(tools.session, plan.nvr.name, tag)
    known = build_facts(tools.session, [*parent_builds, *([previous_id] if previous_id else [])])
    previous = known.get(previous_id or 0)
    parent = _parent_in_koji(images, [known[i] for i in parent_builds if i in known])
    parent = parent or _parent_in_registry(plan, images, tools.registry)
    foreign = _foreign([old for old in (previous, parent) if old], own, tools)
    own = _without(own, foreign)
    return ChangeReport(
        nvr=own.name,
        previous=_compared(previous, own, NO_IMAGES if previous_id else FIRST),
        parent=_compared(parent, own, FROM_SCRATCH),
        not_in_koji=tuple(sorted({f"{p.name}-{p.evr}.{p.arch}" for p in foreign})),
    )


def _compared(old: Optional[BuildFacts], new: BuildFacts, missing: str) -> Comparison:
    return Comparison(compare(old, new)) if old else Comparison(missing=missing)


def _own_facts(image: ArchImage) -> ImageFacts:
    """As Koji will know it."""
    return image_facts(
        image.arch,
        clean(image.config),
        {layer.diff_id: layer.size for layer in image.layers},
        tuple(
            Package(*clean((r.name, r.arch, evr(r.epoch, r.version, r.release), r.sigmd5)))
            for r in image.rpms
        ),
        image.config_digest,
    )


def _parent_in_koji(
    images: Sequence[ArchImage], builds: Sequence[BuildFacts]
) -> Optional[BuildFacts]:
    """The build whose image is below ours: its config tells."""
    below = {image.arch: image.parent_config_digest for image in images}
    for build in builds:
        if any(image.config_digest == below.get(image.arch) for image in build.images):
            return build
    return None


def _parent_in_registry(
    plan: BuildPlan, images: Sequence[ArchImage], registry: Registry
) -> Optional[BuildFacts]:
    """None: the images are FROM scratch."""
    found = [_in_registry(plan, image, registry) for image in images if image.parent_config_digest]
    if not found:
        return None
    return BuildFacts(found[0].name, tuple(image for each in found for image in each.images))


def _in_registry(plan: BuildPlan, image: ArchImage, registry: Registry) -> BuildFacts:
    """Labels and layers of the parent of one arch. Its packages nobody has listed."""
    digest = str(image.parent_config_digest)
    sizes = {layer.diff_id: layer.size for layer in image.layers}
    for parent in reversed(plan.parents):  # the last stage mostly stands on the last one
        try:
            blob = registry.blob(Pullspec.parse(parent.pinned), digest)
            facts = image_facts(image.arch, clean(json.loads(blob)), sizes, None, digest)
        except NotFound:
            continue
        except ValueError as error:
            raise ServiceError(f"The config of {parent.pinned} is not JSON.") from error
        return BuildFacts(parent.resolved, (facts,))
    raise ServiceError(f"The parent image of {image.arch} is not in its registry any more.")


def _foreign(others: Sequence[BuildFacts], own: BuildFacts, tools: Tools) -> frozenset[Package]:
    """Packages that seem to be new, and that no build can be known to have: Koji has none such.

    Those that stand in the list of another build are Koji's, so nothing is asked of them.
    """
    lists = [image.packages for build in others for image in build.images if image.packages]
    certain = {package for packages in lists for package in packages}
    names = [{package.name for package in packages} for packages in lists]
    ours = {package for image in own.images for package in image.packages or ()} - certain
    unsure = [package for package in ours if any(package.name not in each for each in names)]
    return unknown_packages(tools.session, unsure) if unsure else frozenset()


def _without(build: BuildFacts, packages: frozenset[Package]) -> BuildFacts:
    return replace(
        build,
        images=tuple(
            replace(image, packages=tuple(p for p in image.packages or () if p not in packages))
            for image in build.images
        ),
    )

"""Hold the packages of an image against Koji's own record, before Koji is told of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from koji_containerbuild.config import PackagesConfig
from koji_containerbuild.contract.image import ArchImage, Rpm
from koji_containerbuild.contract.plan import BuildPlan
from koji_containerbuild.errors import BuildFailed
from koji_containerbuild.koji_api.rpms import strangers
from koji_containerbuild.koji_api.session import Session
from koji_containerbuild.rules.changes import evr
from koji_containerbuild.rules.levels import FAIL, IGNORE, WARN, Level
from koji_containerbuild.rules.same_packages import Installed, differing

SHOWN = 20  # packages in one message


@dataclass(frozen=True)
class Packages:
    """What became of the look."""

    unlinked: frozenset[Rpm]  # not to be told to Koji: it would take others for them
    warnings: tuple[str, ...]


def check_packages(
    images: Sequence[ArchImage], policy: PackagesConfig, session: Session
) -> Packages:
    """Raises BuildFailed, naming packages, where the site wants that."""
    ours = {rpm for image in images for rpm in image.rpms}
    hosts = {rpm for image in images for rpm in image.buildroot.rpms}
    signed = ours if policy.foreign_signature != IGNORE else set()
    found = strangers(session, [*ours, *hosts], signed=signed)
    kinds = (
        (policy.differs_from_koji, found.differ, "are not those that Koji has under these names"),
        (policy.unknown_to_koji, found.unknown, "were not built in this Koji"),
        (policy.foreign_signature, found.foreign, "are signed with a key that Koji has not"),
    )
    say = [(level, _sentence(rpms & ours, what)) for level, rpms, what in kinds if rpms & ours]
    failed = [text for level, text in say if level == FAIL]
    if failed:
        raise BuildFailed(
            "\n".join(failed), do="Install them from the repo of the build tag (no --repo-url)."
        )
    warnings = [text for level, text in say if level == WARN]
    return Packages(found.differ, (*_without_database(images), *warnings))


def _without_database(images: Sequence[ArchImage]) -> Iterator[str]:
    """On scratch there need not be one."""
    arches = [
        image.arch for image in images if not image.has_rpm_database and image.parent_config_digest
    ]
    if arches:
        of = "" if len(arches) == len(images) else f" for {', '.join(arches)}"
        yield f"The image{of} has no RPM database: Koji will know none of its packages."


def at_most_warned(policy: PackagesConfig) -> PackagesConfig:
    """For what is only tried, which may take packages from anywhere."""

    def lowered(level: Level) -> Level:
        return WARN if level == FAIL else level

    return replace(
        policy,
        differs_from_koji=lowered(policy.differs_from_koji),
        unknown_to_koji=lowered(policy.unknown_to_koji),
        foreign_signature=lowered(policy.foreign_signature),
    )


def check_same(plan: BuildPlan, images: Sequence[ArchImage], may_differ: Collection[str]) -> None:
    """Every package is the same on all arches. Raises BuildFailed, naming each with its versions.

    Not so for what is only tried, or has no parent whose packages could be meant.
    """
    if plan.scratch or any(image.parent_config_digest is None for image in images):
        return
    lines = differing(
        {
            image.arch: [
                Installed(rpm.name, evr(rpm.epoch, rpm.version, rpm.release), rpm.signature)
                for rpm in image.rpms
            ]
            for image in images
        },
        may_differ,
    )
    if lines:
        more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
        raise BuildFailed(
            "\n    ".join(["Packages are not the same on all arches:", *lines[:SHOWN], *more]),
            do="Use repos and parents that have the same for each arch, or ask the admin to except "
            "a package with may_differ in [packages].",
        )


def _sentence(rpms: Collection[Rpm], what: str) -> str:
    names = sorted({rpm.nvra for rpm in rpms})
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"Packages of the image {what}: {', '.join(names[:SHOWN])}{more}."

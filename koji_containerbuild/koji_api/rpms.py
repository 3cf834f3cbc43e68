"""What Koji itself has recorded of the RPMs that an image holds.

The hub links a component to the RPM of the same name, version, release and arch, even when their
checksums differ (kojihub, CG_Importer.match_rpm); and one that it does not know it leaves out. So
we look first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from koji_containerbuild.contract.image import Rpm
from koji_containerbuild.koji_api.metadata import clean
from koji_containerbuild.koji_api.session import Session, asking

BATCH = 1000  # calls in one request


@dataclass(frozen=True)
class Strangers:
    """RPMs that are not quite Koji's."""

    differ: frozenset[Rpm]  # Koji has another one under that name
    unknown: frozenset[Rpm]  # not built in this Koji: it has none, or one of an external repo
    foreign: frozenset[Rpm]  # signed with a key with which Koji has no signature of it


def strangers(
    session: Session, rpms: Iterable[Rpm], *, signed: Collection[Rpm] = frozenset()
) -> Strangers:
    """Two requests at most for each thousand; `signed`: those whose signatures are asked for."""
    asked = [rpm for rpm in dict.fromkeys(rpms) if rpm.has_checksum]
    with asking("tell about the packages of the image"):
        with session.multicall(strict=True, batch=BATCH) as call:
            answers = {rpm: call.getRPM(_named(rpm)) for rpm in asked}
        known = {rpm: answer.result for rpm, answer in answers.items() if answer.result}
        differ = {rpm for rpm, found in known.items() if found["payloadhash"] != rpm.sigmd5}
        ours = {rpm: found for rpm, found in known.items() if not found["external_repo_id"]}
        same = {rpm: of for rpm, of in ours.items() if rpm in signed and rpm not in differ}
        foreign = _foreign(session, {rpm: of for rpm, of in same.items() if rpm.signature})
    unknown = {rpm for rpm in asked if rpm not in ours}
    return Strangers(frozenset(differ), frozenset(unknown), frozenset(foreign))


def _foreign(session: Session, signed: Mapping[Rpm, Mapping[str, Any]]) -> set[Rpm]:
    with session.multicall(strict=True, batch=BATCH) as call:
        answers = {rpm: call.queryRPMSigs(rpm_id=of["id"]) for rpm, of in signed.items()}
    return {
        rpm
        for rpm, answer in answers.items()
        if str(rpm.signature)[-8:] not in {each["sigkey"].lower()[-8:] for each in answer.result}
    }


def _named(rpm: Rpm) -> dict[str, str]:
    named = {
        "name": rpm.name,
        "version": rpm.version,
        "release": rpm.release,
        "arch": rpm.arch,
    }
    cleaned: dict[str, str] = clean(named)
    return cleaned

"""What we ask the hub. Its dicts end here: records go out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

import koji

from koji_containerbuild.errors import BadRequest
from koji_containerbuild.koji_api.session import Session, asking
from koji_containerbuild.rules.target import check_destination, no_such_target

OPEN = koji.TASK_STATES["OPEN"]
CANCELED = koji.TASK_STATES["CANCELED"]
FAILED = koji.TASK_STATES["FAILED"]
ENDED = (CANCELED, koji.TASK_STATES["CLOSED"], FAILED)


@dataclass(frozen=True)
class Target:
    """A build target as it was at one event."""

    name: str
    build_tag: str
    build_tag_id: int
    destination: str
    destination_id: int
    arches: tuple[str, ...]  # of the build tag
    event: int
    dist: str  # rpm.macro.dist of the build tag, as Koji's RPM builds have it; mostly empty


@dataclass(frozen=True)
class Repo:
    """A repo of a tag that is ready for use."""

    id: int
    event: int  # at which it was made


@dataclass(frozen=True)
class Submitter:
    """Whose task it is, and where it runs."""

    name: str
    id: int
    channel: str


@dataclass(frozen=True)
class BuildRecord:
    """A build that the hub knows."""

    id: int
    nvr: str
    state: str  # COMPLETE, BUILDING, FAILED, ...

    @property
    def holds_its_name(self) -> bool:
        """Whether the NVR is taken; a failed or cancelled build gives it back."""
        return self.state not in ("FAILED", "CANCELED")


class Lookups:
    """Questions to one hub."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def target(self, name: str, scratch: bool) -> Target:
        """The target, its tags and arches, all at the hub's last event. Raises BadRequest."""
        with asking(f"tell about the target {name}"):
            event = int(self._session.getLastEvent()["id"])
            found = self._session.getBuildTarget(name, event=event)
            if not found:
                known = [target["name"] for target in self._session.getBuildTargets()]
                raise no_such_target(name, known)
            with self._session.multicall(strict=True) as call:
                config = call.getBuildConfig(found["build_tag"], event=event)
                destination = call.getTag(found["dest_tag"], event=event)
        check_destination(found, destination.result, scratch)
        return Target(
            name=name,
            build_tag=found["build_tag_name"],
            build_tag_id=found["build_tag"],
            destination=found["dest_tag_name"],
            destination_id=found["dest_tag"],
            arches=tuple((config.result.get("arches") or "").split()),
            event=event,
            dist=str((config.result.get("extra") or {}).get("rpm.macro.dist") or ""),
        )

    def repo(self, tag_id: int, tag: str) -> Repo:
        """The newest repo that is ready. Raises BadRequest when the tag has none."""
        with asking(f"tell about the repo of {tag}"):
            found = self._session.getRepo(tag_id)
        if not found:
            raise BadRequest(
                f"The build tag {tag} has no repo yet.",
                do=f"Make one with `koji regen-repo {tag}`, or give --repo-url.",
            )
        return Repo(int(found["id"]), int(found["create_event"]))

    def submitter(self, owner: int, channel: int) -> Submitter:
        """Name of a task's owner and channel."""
        with asking("name the task's owner"), self._session.multicall(strict=True) as call:
            user = call.getUser(owner)
            where = call.getChannel(channel)
        return Submitter(user.result["name"], owner, where.result["name"])

    def check_package(self, component: str, target: Target) -> None:
        """Raises BadRequest unless the destination tag may have builds of that package."""
        with asking(f"tell about the package {component}"):
            found = self._session.getPackageConfig(target.destination_id, component)
        if not found:
            raise BadRequest(
                f"The package {component} is not in the list of the tag {target.destination}.",
                do=f"Ask an admin: koji add-pkg --owner USER {target.destination} {component}",
            )
        if found.get("blocked"):
            raise BadRequest(f"The package {component} is blocked in the tag {target.destination}.")

    def package_owner(self, component: str, tag: str) -> str:
        """Name of the user who owns the package in the tag; empty if it is not there."""
        with asking(f"tell about the package {component}"):
            found = self._session.getPackageConfig(tag, component)
        return str(found["owner_name"]) if found else ""

    def build(self, nvr: str) -> Optional[BuildRecord]:
        """The build of that name, in whatever state."""
        with asking(f"tell about the build {nvr}"):
            found = self._session.getBuild(nvr)
        if not found:
            return None
        return BuildRecord(int(found["id"]), found["nvr"], koji.BUILD_STATES[found["state"]])

    def task_states(self, task_ids: Sequence[int]) -> dict[int, Optional[int]]:
        """As task_state, for any number of tasks at once."""
        if not task_ids:
            return {}
        with asking("tell about tasks"), self._session.multicall(strict=True) as call:
            found = {task_id: call.getTaskInfo(task_id) for task_id in task_ids}
        return {
            key: int(each.result["state"]) if each.result else None for key, each in found.items()
        }

    def task_state(self, task_id: int) -> Optional[int]:
        """One of koji.TASK_STATES, or None for no such task."""
        with asking(f"tell about the task {task_id}"):
            found = self._session.getTaskInfo(task_id)
        return int(found["state"]) if found else None

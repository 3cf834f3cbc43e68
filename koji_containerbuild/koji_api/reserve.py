"""A release number that is ours, before anything is built.

`CGInitBuild` makes the build in state BUILDING and gives a token; who has the token may import into
it or give it back (`CGRefundBuild`). Hubs before 1.32 refuse the import of a reservation that names
its task, so there it does not; but every reservation bears the task's number in its extra.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Union

import koji

from koji_containerbuild.errors import BadRequest, ServiceError
from koji_containerbuild.koji_api.lookups import Lookups
from koji_containerbuild.koji_api.session import HUB_ERRORS, Session, asking
from koji_containerbuild.rules.nvr import NVR, main_stream_number

TRIES = 50  # other builds that may take a number before us
NEWEST = 200  # builds of a version that are looked at for the next number
TASK_KEY = "container_koji_task_id"  # in a build's extra; the import gives it there, too


@dataclass(frozen=True)
class Reservation:
    """A build in state BUILDING that nobody else can touch. `token` is a secret."""

    build_id: int
    token: str
    nvr: NVR


class Reservations:
    """Reservations of one content generator."""

    def __init__(self, session: Session, content_generator: str, task_id: int) -> None:
        self._session = session
        self._generator = content_generator
        self._task_id = task_id

    def given(self, nvr: NVR) -> Reservation:
        """Reserve exactly that. Raises BadRequest when it is taken."""
        taken = self._refused(nvr)
        if isinstance(taken, Reservation):
            return taken
        raise _taken(nvr) from taken

    def next(self, name: str, version: str, dist: str = "") -> Reservation:
        """Reserve the next free release: ask, take, and if another build was quicker, again.

        `dist` stands behind the number: with .fc43, the releases are 1.fc43, 2.fc43, ...
        """
        number = 0
        for _ in range(TRIES):
            number = max(number, self._last_number(name, version)) + 1
            taken = self._refused(NVR(name, version, f"{number}{dist}"))
            if isinstance(taken, Reservation):
                return taken
        raise ServiceError(
            f"No free release of {name}-{version} in {TRIES} tries.", do="Give one with --release."
        )

    def would_be(self, nvr: NVR, dist: str = "") -> NVR:
        """The name that a build would have now; with an empty release, the next free one.

        Nothing is reserved. Raises BadRequest when a given one is taken.
        """
        if not nvr.release:
            number = self._last_number(nvr.name, nvr.version) + 1
            return NVR(nvr.name, nvr.version, f"{number}{dist}")
        build = Lookups(self._session).build(str(nvr))
        if build and build.holds_its_name:
            raise _taken(nvr)
        return nvr

    def refund(self, reservation: Reservation, cancelled: bool) -> bool:
        """Give the number back; False if a build came of it. Given back already is no error."""
        state = koji.BUILD_STATES["CANCELED" if cancelled else "FAILED"]
        with asking(f"take back the reservation of {reservation.nvr}"):
            try:
                self._session.CGRefundBuild(
                    self._generator, reservation.build_id, reservation.token, state
                )
            except koji.GenericError:
                build = Lookups(self._session).build(str(reservation.nvr))
                if build and build.state == "BUILDING":
                    raise
                return not (build and build.state == "COMPLETE")
        return True

    def _last_number(self, name: str, version: str) -> int:
        """The highest one of the version's builds; that of a failed or cancelled one is free.

        Koji's own getNextRelease looks at the last build alone, which may be an isolated one, and
        knows some forms of releases only.
        """
        with asking(f"list the builds of {name}-{version}"):
            builds = self._session.listBuilds(
                packageID=name,
                pattern=f"{name}-{version}-*",
                queryOpts={"order": "-build_id", "limit": NEWEST},
            )
        numbers = (
            main_stream_number(build["release"])
            for build in builds
            if build["version"] == version
            and koji.BUILD_STATES[build["state"]] not in ("FAILED", "CANCELED")
        )
        return max(numbers, default=0)

    def _refused(self, nvr: NVR, *, again: bool = True) -> Union[Reservation, Exception]:
        """The reservation, or the hub's refusal because the name is taken."""
        try:
            got = self._session.CGInitBuild(self._generator, self._data(nvr))
        except (koji.GenericError, *HUB_ERRORS) as error:
            if again and self._freed(nvr, error):  # taken by us
                return self._refused(nvr, again=False)
            build = Lookups(self._session).build(str(nvr))
            # At the very same moment: then it is the hub's database that refuses, without words.
            if build and build.holds_its_name:
                return error
            raise ServiceError(f"Koji did not reserve {nvr}: {error}.", do=_DO) from error
        return Reservation(int(got["build_id"]), got["token"], nvr)

    def _freed(self, nvr: NVR, error: Exception) -> bool:
        """Whether the hub had made the reservation, and its token was lost, with the answer or with
        a process that died before it kept it.

        Then the build bears our task's number. It is ours to cancel; but where it is linked to the
        task, that would cancel the task.
        """
        with asking(f"tell about the build {nvr}"):
            build = self._session.getBuild(str(nvr))
            extra = (build and build.get("extra")) or {}
            if not build or build["state"] != koji.BUILD_STATES["BUILDING"]:
                return False
            if extra.get(TASK_KEY) != self._task_id:
                return False
            if build.get("task_id"):
                raise ServiceError(
                    f"Koji has reserved {nvr} for this task, and the token was lost: {error}.",
                    do=f"Free the name (koji cancel {nvr}), then build again.",
                ) from error
            return bool(self._session.cancelBuild(build["id"]))

    def _data(self, nvr: NVR) -> dict[str, Any]:
        data: dict[str, Any] = {
            "name": nvr.name,
            "version": nvr.version,
            "release": nvr.release,
            "epoch": None,
            "extra": {TASK_KEY: self._task_id},
        }
        if self._links_tasks():
            data["task_id"] = self._task_id
        return data

    def _links_tasks(self) -> bool:
        return hub_version(self._session) >= (1, 32)


def _taken(nvr: NVR) -> BadRequest:
    return BadRequest(
        f"The build {nvr} exists already.",
        do="Give another release, or none: then the next free one is used.",
    )


_DO = "An admin gives the host access: koji grant-cg-access HOST GENERATOR"


def hub_version(session: Session) -> tuple[int, int]:
    """Major and minor version of the hub."""
    numbers = re.findall(r"\d+", str(session.getKojiVersion()))
    return int(numbers[0]), int(numbers[1])

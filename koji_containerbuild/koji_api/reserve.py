"""A release number that is ours, before anything is built.

`CGInitBuild` makes the build in state BUILDING and gives a token; who has the token may import into
it or give it back (`CGRefundBuild`). Hubs before 1.32 refuse the import of a reservation that names
its task, so there it does not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import koji

from koji_containerbuild.errors import BadRequest, ServiceError
from koji_containerbuild.koji_api.lookups import Lookups
from koji_containerbuild.koji_api.session import HUB_ERRORS, Session, asking
from koji_containerbuild.rules.nvr import ISOLATED_RELEASE, NVR, next_release

TRIES = 50  # other builds that may take a number before us


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

    def next(self, name: str, version: str) -> Reservation:
        """Reserve the next free release: ask, take, and if another build was quicker, again."""
        release = self._next_release(name, version)
        for _ in range(TRIES):
            taken = self._refused(NVR(name, version, release))
            if isinstance(taken, Reservation):
                return taken
            after = self._next_release(name, version)
            release = after if after != release else next_release(release)
        raise ServiceError(
            f"No free release of {name}-{version} in {TRIES} tries.", do="Give one with --release."
        )

    def would_be(self, nvr: NVR) -> NVR:
        """The name that a build would have now; with an empty release, the next free one.

        Nothing is reserved. Raises BadRequest when a given one is taken.
        """
        if not nvr.release:
            return NVR(nvr.name, nvr.version, self._next_release(nvr.name, nvr.version))
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

    def _next_release(self, name: str, version: str) -> str:
        """The hub's idea, or for a release that it cannot count, ours."""
        try:
            release = str(self._session.getNextRelease({"name": name, "version": version}))
            if ISOLATED_RELEASE.fullmatch(release):  # counted up from an isolated build
                return self._after_main_stream(name, version)
            return release
        except koji.BuildError as error:
            last = re.search(r"release (?:value:? )?'?([0-9][\w.~^]*)", str(error))
            return next_release(last[1]) if last else "1"
        except (koji.GenericError, *HUB_ERRORS) as error:
            raise ServiceError(f"Koji did not tell the next release: {error}.") from error

    def _after_main_stream(self, name: str, version: str) -> str:
        """The number after those of all builds that have a plain number."""
        builds = self._session.listBuilds(packageID=self._session.getPackageID(name))
        taken = [
            int(build["release"])
            for build in builds
            if build["version"] == version
            and build["release"].isdigit()
            and koji.BUILD_STATES[build["state"]] in ("BUILDING", "COMPLETE", "DELETED")
        ]
        return str(max(taken, default=0) + 1)

    def _refused(self, nvr: NVR) -> Reservation | koji.GenericError:
        """The reservation, or the hub's refusal because the name is taken."""
        data: dict[str, Any] = {
            "name": nvr.name,
            "version": nvr.version,
            "release": nvr.release,
            "epoch": None,
        }
        if self._links_tasks():
            data["task_id"] = self._task_id
        try:
            got = self._session.CGInitBuild(self._generator, data)
        except koji.GenericError as error:
            build = Lookups(self._session).build(str(nvr))
            if build and build.holds_its_name:
                return error
            raise ServiceError(f"Koji did not reserve {nvr}: {error}.", do=_DO) from error
        except HUB_ERRORS as error:
            raise ServiceError(f"Koji did not answer (reserve {nvr}): {error}.") from error
        return Reservation(int(got["build_id"]), got["token"], nvr)

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

"""The devstack as a thing in your hand: bring it up, ask it for sessions, end it.

stack = Stack()
stack.up()
commit = stack.git.create("container/web", {"Dockerfile": "FROM demo/base:1\\n"})
stack.admin.add_package("web-container")
stack.koji("container-build", "f43-container-candidate", commit.source)
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from koji_containerbuild.devstack import certs, postgres, profile, seed, state_folder, up
from koji_containerbuild.devstack.git_server import GitServer
from koji_containerbuild.devstack.lookaside import Lookaside
from koji_containerbuild.devstack.places import (
    Addresses,
    Places,
    Ports,
    addresses,
    find_places,
    read_ports,
)
from koji_containerbuild.devstack.process import running, stop
from koji_containerbuild.errors import BadRequest, ConfigError

MARK = ".devstack"  # a folder without it is not ours, and never deleted


@dataclass(frozen=True)
class PartStatus:
    """One line of `status`."""

    name: str
    pid: int | None  # None: it does not run


class Stack:
    """One devstack, known by its state folder. Nothing runs until up()."""

    def __init__(self, places: Places | None = None) -> None:
        self.places = places or find_places()
        self._sessions: dict[str, Any] = {}

    def up(
        self,
        *,
        say: Callable[[str], None] = lambda line: None,
        ports: Mapping[str, int] | None = None,
        host: str | None = None,
        home_profile: bool = False,
    ) -> None:
        """Start what does not run, seed what is not there. Seconds the second time.

        `host`: an address of this machine, by which pods of a cluster can reach all parts.
        """
        with state_folder.alone(self.places.state, MARK):
            up.bring_up(self.places, ports or {}, host=host, say=say, home_profile=home_profile)

    def down(self) -> None:
        """End all parts; what they know stays."""
        self.close()
        if not (self.places.state / MARK).exists():
            return
        with state_folder.alone(self.places.state, MARK):
            self._end()

    def reset(self) -> None:
        """End all parts and delete everything, the database too; the cache stays."""
        state_folder.require_ours(self.places.state, MARK)
        self.close()
        with state_folder.alone(self.places.state, MARK):
            self._end()
            profile.forget(self.places)
            postgres.remove(self.places)
            state_folder.delete(self.places.state)

    def _end(self) -> None:
        for name, how in reversed(list(up.PARTS.items())):
            stop(self.places.run, name, how)
        _unmount_below(self.places.state / "containers")

    def status(self) -> list[PartStatus]:
        """All parts, in the order they are started."""
        found = [(name, running(self.places.run, name)) for name in up.PARTS]
        return [PartStatus(name, record.pid if record else None) for name, record in found]

    @property
    def ports(self) -> Ports:
        """Known after the first up()."""
        ports = read_ports(self.places)
        if ports is None:
            raise ConfigError(f"There is no devstack in {self.places.state}.", do="Run `up`.")
        return ports

    @property
    def addresses(self) -> Addresses:
        """Known after the first up()."""
        return addresses(self.ports)

    @property
    def git(self) -> GitServer:
        """Makes repositories that Koji may build from."""
        return GitServer(self.places.git, self.addresses.git)

    @property
    def lookaside(self) -> Lookaside:
        """Takes large files for these repositories."""
        return Lookaside(self.places.lookaside, self.addresses.lookaside)

    @property
    def admin(self) -> seed.Admin:
        """Does an admin's work."""
        return seed.Admin(self.session(seed.ADMIN), self.places)

    def session(self, user: str = seed.PACKAGER) -> Any:
        """A koji.ClientSession, logged in with the user's certificate.

        The same one each time for a user: leave it logged in, close() ends them all.
        """
        if user == seed.HOST:
            raise BadRequest(
                f"{seed.HOST} is kojid's user, and Koji gives it one session only.",
                do="Use packager or kojiadmin.",
            )
        if user not in self._sessions:
            self._sessions[user] = up.login(self.places, self.ports, user)
        return self._sessions[user]

    def close(self) -> None:
        """Log out all sessions; the devstack goes on."""
        while self._sessions:
            up.logout(self._sessions.popitem()[1])

    def koji(
        self, *words: str, profile_name: str = "devstack", check: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run the real `koji` command; its output and exit code."""
        beside = Path(sys.executable).with_name("koji")
        program = str(beside) if beside.exists() else "koji"
        argv = [program, "-c", str(self.places.koji_conf), "-p", profile_name, *words]
        env = {**os.environ, "PYTHONPATH": str(self.places.repo)}
        return subprocess.run(argv, env=env, capture_output=True, text=True, check=check)

    def certificate(self, user: str) -> Path:
        """The user's client certificate with its key; made if there is none."""
        return certs.client(self.places.certs, user)


def _unmount_below(folder: Path) -> None:
    """Container mounts that a killed build left behind: below our folder only, deepest first."""
    with open("/proc/self/mountinfo") as table:
        points = [line.split()[4].replace("\\040", " ") for line in table]
    for point in sorted((one for one in points if one.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", point], check=False)

"""What a task must find again if it is started again: its plan and its reservation."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

from koji_containerbuild.contract.codec import NotThisRecord, from_json, to_json
from koji_containerbuild.contract.plan import BuildPlan
from koji_containerbuild.koji_api.reserve import Reservation
from koji_containerbuild.tasks.tools import Task


class TaskState:
    """A folder of one task on this host, for nobody else to read: it holds a token."""

    def __init__(self, folder: Path, name: str) -> None:
        """`name`: of the task's job, too."""
        self.name = name
        self.folder = folder / name

    @classmethod
    def of(cls, task: Task, folder: Path) -> TaskState:
        """Hub and task id are the name: two hubs may share a builder's disk."""
        return cls(folder, f"{_hub_key(task.hub)}-{task.id}")

    def save_plan(self, plan: BuildPlan) -> None:
        """From now on a task that starts again goes on with this plan."""
        self._write("plan.json", plan.to_json())

    def plan(self) -> Optional[BuildPlan]:
        """None: there is none, or none that this version can read."""
        try:
            return BuildPlan.from_json((self.folder / "plan.json").read_bytes())
        except (OSError, NotThisRecord):
            return None

    def save_reservation(self, reservation: Reservation) -> None:
        """Keep the token, without which nobody could give the number back."""
        self._write("reservation.json", to_json(reservation))

    def reservation(self) -> Optional[Reservation]:
        """None: there is none, or it is used up."""
        try:
            return from_json(Reservation, (self.folder / "reservation.json").read_bytes())
        except (OSError, NotThisRecord):
            return None

    def forget_reservation(self) -> None:
        """It became a build, or was given back."""
        (self.folder / "reservation.json").unlink(missing_ok=True)

    def forget(self) -> None:
        """The task is over."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, name: str, text: str) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = self.folder / f"{name}.partial"
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
        partial.replace(self.folder / name)


def left_over(folder: Path, hub: str) -> Iterator[tuple[int, TaskState]]:
    """Task ids of that hub with something on this host, and what it is."""
    for path in folder.glob(f"{_hub_key(hub)}-*"):
        number = path.name.rpartition("-")[2]
        if number.isdigit():
            yield int(number), TaskState(folder, path.name)


def _hub_key(hub: str) -> str:
    return "kcb-" + hashlib.sha256(hub.encode()).hexdigest()[:8]

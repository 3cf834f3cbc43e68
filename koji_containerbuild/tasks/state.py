"""What a task must find again if it is started again: plan, reservation and result."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

from koji_containerbuild.contract.codec import NotThisRecord, from_json, to_json
from koji_containerbuild.contract.plan import BuildPlan
from koji_containerbuild.contract.tasks import BuildResult
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

    def save_expected(self, result: BuildResult) -> None:
        """What the result is once Koji has imported the build: said before it is asked to."""
        self._write("expected.json", to_json(result))

    def expected(self) -> Optional[BuildResult]:
        """None: the task has not come so far."""
        return self._result("expected.json")

    def save_result(self, result: BuildResult) -> None:
        """The build is done: from now on a task that starts again has nothing to do."""
        self._write("result.json", to_json(result))

    def result(self) -> Optional[BuildResult]:
        """None: the build is not done."""
        return self._result("result.json")

    def forget_plan(self) -> None:
        """Nothing of it is left elsewhere: the number is given back, what was pushed is deleted."""
        for name in (
            "plan.json",
            "reservation.json",
        ):  # a number without a plan is given back again
            (self.folder / name).unlink(missing_ok=True)

    def forget(self) -> None:
        """The task is over."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _result(self, name: str) -> Optional[BuildResult]:
        try:
            return from_json(BuildResult, (self.folder / name).read_bytes())
        except (OSError, NotThisRecord):
            return None

    def _write(self, name: str, text: str) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = self.folder / f"{name}.partial"
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
        partial.replace(self.folder / name)


def left_over(folder: Path, hub: str) -> Iterator[tuple[int, TaskState]]:
    """Task ids of that hub with something on this host, and what it is."""
    for path in folder.glob(f"{_hub_key(hub)}-*"):
        task_id = task_of(path.name, hub)
        if task_id is not None:
            yield task_id, TaskState(folder, path.name)


def task_of(name: str, hub: str) -> Optional[int]:
    """The task id in a name, which may come from anywhere; None: it is no name of that hub's."""
    key, _, number = name.rpartition("-")
    return int(number) if key == _hub_key(hub) and re.fullmatch("[0-9]{1,18}", number) else None


def _hub_key(hub: str) -> str:
    return "kcb-" + hashlib.sha256(hub.encode()).hexdigest()[:8]

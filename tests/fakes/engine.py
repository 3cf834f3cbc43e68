"""An engine in this process: each arch is a thread that plays tests/fakes/buildroot_program.py."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Collection, Iterator
from typing import Callable, Optional

from koji_containerbuild.contract.outcome import Failure, Outcome
from koji_containerbuild.contract.plan import BuildPlan
from koji_containerbuild.engines.base import Job, News
from koji_containerbuild.errors import ServiceError
from tests.fakes.buildroot_program import Crash, ToldToEnd, play

Write = Callable[[bytes], None]
Program = Callable[[BuildPlan, str, Write, Callable[[], None]], Outcome]


def scripted(plan: BuildPlan, arch: str, write: Write, check: Callable[[], None]) -> Outcome:
    cause = play((plan.userdata or {})[arch], write, check)
    if cause:
        return Outcome(arch, failure=Failure("build", cause))
    return Outcome(arch, image="sha256:" + 64 * "1", report="sha256:" + 64 * "2")


def sent(job: Job) -> Job:
    """To another process."""
    return pickle.loads(pickle.dumps(job))  # type: ignore[no-any-return]  # noqa: S301  our own


class FakeEngine:
    """`program`: what runs in place of the buildroot program."""

    def __init__(self, arches: Collection[str] = ("x86_64",), program: Program = scripted) -> None:
        self.arches = arches
        self.runs = arches  # whose programs it can run
        self.away = self.cannot_cancel = False
        self.notes: list[str] = []  # told about the first arch
        self.loses = 0  # bytes of the first log that do not come through
        self.cancelled: list[str] = []
        self.started: list[str] = []
        self.fresh: list[bool] = []  # what was said of each job that was to be started
        self._program = program
        self._jobs: dict[str, dict[str, _Arch]] = {}

    def lacks(self, arch: str, *, runs: bool) -> str:
        if arch not in self.arches:
            return "a machine for it"
        return "an emulator" if runs and arch not in self.runs else ""

    def start(self, job: Job) -> Job:
        self.fresh.append(job.fresh)
        if job.name in self._jobs:
            return job
        self.started.append(job.name)
        self._jobs[job.name] = {
            arch: _Arch(job.plan, arch, self._program) for arch in job.plan.arches
        }
        return job

    def follow(self, job: Job, beat: float) -> Iterator[News]:
        for note in self.notes:
            yield News(job.plan.arches[0], note=note)
        left, read = dict(self._jobs[job.name]), dict.fromkeys(job.plan.arches, 0)
        while left:
            for name, arch in list(left.items()):
                ended = arch.ended.is_set()
                data = bytes(arch.log[read[name] :])
                read[name] += len(data)
                if data and self.loses:
                    data, self.loses = data[self.loses :], 0
                    yield News(name, gap=True)
                if data:
                    yield News(name, data)
                if ended:
                    del left[name]
                    yield News(name, outcome=arch.outcome)
            yield News()
            if left:
                next(iter(left.values())).ended.wait(min(beat, 0.01))

    def cancel(self, name: str) -> None:
        self.cancelled.append(name)
        if self.away or self.cannot_cancel:
            self.cannot_cancel = False
            raise ServiceError("The cluster cannot be reached.")
        for arch in self._jobs.get(name, {}).values():
            arch.told.set()

    def remove(self, name: str, patience: float) -> bool:
        if all(arch.ended.wait(patience) for arch in self._jobs.get(name, {}).values()):
            self._jobs.pop(name, None)
            return True
        return False

    def names(self) -> Collection[str]:
        if self.away:
            raise ServiceError("The cluster cannot be reached.")
        return list(self._jobs)

    def in_another_process(self) -> FakeEngine:
        """One that knows of the jobs what is to be found out about them: here, all."""
        other = FakeEngine(self.arches, self._program)
        other._jobs = self._jobs
        return other

    def kill(self, name: str, arch: str) -> None:
        """As if its process were killed."""
        self._jobs[name][arch].killed = True
        self._jobs[name][arch].told.set()


class _Arch:
    def __init__(self, plan: BuildPlan, name: str, program: Program) -> None:
        self.log = bytearray()
        self.told, self.ended = threading.Event(), threading.Event()
        self.killed = False
        self.outcome: Optional[Outcome] = None
        self._run = lambda: program(plan, name, self.log.extend, self._check)
        self._name = name
        threading.Thread(target=self._main, daemon=True).start()

    def _check(self) -> None:
        if self.told.is_set():
            raise Crash if self.killed else ToldToEnd

    def _main(self) -> None:
        try:
            self.outcome = self._run()
        except ToldToEnd:
            self.outcome = Outcome(
                self._name, failure=Failure("build", "Told to end."), cancelled=True
            )
        except Crash:
            self.outcome = Outcome(
                self._name, failure=Failure("build", "The buildroot program ended without a word.")
            )
        self.ended.set()

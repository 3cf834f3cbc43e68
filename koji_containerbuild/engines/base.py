"""Where a plan runs. An engine starts it, follows it, and can stop it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Protocol

from koji_containerbuild.contract.outcome import Outcome
from koji_containerbuild.contract.plan import BuildPlan


@dataclass(frozen=True)
class Job:
    """A plan that runs, under a name made of hub and task: whoever knows these finds it again."""

    name: str
    plan: BuildPlan
    near: Optional[Path] = None  # a checkout of the source on this host, for engines that run here
    fresh: bool = False  # prepared just now: before it is started, nothing of it is anywhere
    begun: Any = None  # by `start`: what another process must know to follow it


@dataclass(frozen=True)
class News:
    """What came in from one arch. All empty: nothing new, but time has passed."""

    arch: str = ""
    log: bytes = b""
    outcome: Optional[Outcome] = None  # set once per arch: it has ended
    note: str = ""  # a sentence for the user: it waits, it cannot start, it is started again
    gap: bool = False  # bytes of the log did not come before this, and will not


class Engine(Protocol):
    """A place where the buildroot program runs."""

    @property
    def arches(self) -> Collection[str]:
        """Those that it builds for when nobody says which, by Koji's names."""

    def lacks(self, arch: str, *, runs: bool) -> str:
        """What is missing here to build for an arch, in words; empty: nothing is.

        `runs`: the build runs programs of the arch; else it only copies files.
        """

    def start(self, job: Job) -> Job:
        """Begin every arch of the plan. A job of that name that is there already is adopted.

        The answer is to be followed, by this engine or by that of another process.
        """

    def follow(self, job: Job, beat: float) -> Iterator[News]:
        """What happens, until every arch has ended; something at least every `beat` seconds.

        An arch that waits for room was started by nobody: it begins when there is room.
        Log bytes may be lost, an outcome never is: it comes from the job itself.
        """

    def cancel(self, name: str) -> None:
        """Tell the job to end: one short request. Twice, too late, or unknown: no error."""

    def remove(self, name: str, patience: float) -> bool:
        """Forget a job that ends within `patience` seconds; False: it still runs, ask again.

        Not there is not an error.
        """

    def names(self) -> Collection[str]:
        """The jobs that are there, running or ended."""


@contextmanager
def cancelling(
    engine: Engine, job: Job, told_to_end: tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """A job that was started is cancelled if we leave by an error.

    Not so if we are told to end (SystemExit, KeyboardInterrupt, and the kinds in `told_to_end`):
    whether that means the job too is for the caller to find out.
    """
    try:
        yield
    except told_to_end:
        raise
    except Exception:
        engine.cancel(job.name)
        raise

"""Follow a job: pass on what it says, collect how its arches end, say what went wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from koji_containerbuild.contract.events import Event
from koji_containerbuild.contract.outcome import Failure, Outcome
from koji_containerbuild.contract.plan import BuildPlan
from koji_containerbuild.contract.tasks import arch_log
from koji_containerbuild.engines.base import Engine, Job
from koji_containerbuild.errors import BuildCancelled, BuildFailed, ServiceError

PLACE = "cluster"  # stage of what is told about the place where an arch is built
BEAT = 0.15  # seconds: how often the logs are looked after


class Logs(Protocol):
    """Where the words of a build go."""

    def write(self, name: str, data: bytes) -> None:
        """Append to the log of that name."""

    def relay(self, event: Event) -> None:
        """An arch has come to another stage."""

    def flush(self, now: bool = False) -> None:
        """Called every beat; `now`: an arch has ended."""


def follow(
    job: Job, engine: Engine, logs: Logs, mend: Callable[[Outcome], None] = lambda outcome: None
) -> Iterator[Outcome]:
    """The outcome of each arch as it ends; the first that fails stops the others.

    `mend`: called at the end of an arch whose log has a gap.
    """
    readers = {arch: LineReader(arch) for arch in job.plan.arches}
    gaps: set[str] = set()
    for news in engine.follow(job, BEAT):
        if news.log:
            logs.write(arch_log(news.arch), news.log)
            readers[news.arch].relay(news.log, logs)
        if news.note:
            logs.relay(Event(time.time(), news.arch, PLACE, "note", text=news.note))
        if news.gap:
            gaps.add(news.arch)
        if news.outcome:
            if news.arch in gaps:
                mend(news.outcome)
            if news.outcome.failure:
                _end_the_others(job, news.arch, engine, logs)
            yield news.outcome
        logs.flush(now=bool(news.outcome or news.note))


def _end_the_others(job: Job, failed: str, engine: Engine, logs: Logs) -> None:
    """Where they cannot be told, the failure is to be told all the same: it comes first."""
    try:
        engine.cancel(job.name)
    except ServiceError as error:
        text = f"The other arches could not be told to end: {error}"
        logs.relay(Event(time.time(), failed, PLACE, "note", text=text))


class LineReader:
    """Finds the events in an arch's log. Nothing depends on their being found."""

    def __init__(self, arch: str) -> None:
        self._arch = arch
        self._mark = f" {arch} ".encode()
        self._rest = b""

    def relay(self, data: bytes, logs: Logs) -> None:
        """Pass on the events in this piece of log."""
        for event in self.events(data):
            logs.relay(event)

    def events(self, data: bytes) -> Iterator[Event]:
        """Of this piece of log; a line may be cut between two pieces."""
        data = self._rest + data
        whole, newline, self._rest = data.rpartition(b"\n")
        self._rest = self._rest[-1000:]
        if not newline or self._mark not in whole:
            return
        for line in whole.split(b"\n"):
            if self._mark in line[:60]:
                event = Event.parse(line.decode(errors="replace"))
                if event and event.arch == self._arch:  # an arch speaks for itself only
                    yield event


def succeeded(outcomes: Sequence[Outcome], plan: BuildPlan) -> Sequence[Outcome]:
    """All of them, in the order of the plan. Raises BuildFailed naming every failure."""
    failed = [o for o in outcomes if o.failure and not o.cancelled]
    if failed:
        raise BuildFailed("\n".join(explain(o.arch, o.failure) for o in failed if o.failure))
    if any(outcome.cancelled for outcome in outcomes):
        raise BuildCancelled("The build was told to end.", do="Build again.")
    return sorted(outcomes, key=lambda outcome: plan.arches.index(outcome.arch))


def explain(arch: str, failure: Failure) -> str:
    """Stage, arch, cause, instruction, its last lines, hint, log: one below the other."""
    lines = [f"Stage '{failure.stage}' failed for {arch}: {failure.cause}"]
    if failure.instruction:
        lines.append(f"Instruction: {failure.instruction}")
    if failure.last_lines:
        lines += ["Its last lines:", *(f"    {line}" for line in failure.last_lines.splitlines())]
    if failure.hint:
        lines.append(f"Hint: {failure.hint}")
    return "\n".join([*lines, f"Log: {arch_log(arch)}"])

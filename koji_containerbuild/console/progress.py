"""From the lines of a task's log to what is going on now: one line for each arch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

from koji_containerbuild.contract.events import TASK, Event


class EventReader:
    """Events out of a log that comes in pieces, cut anywhere. Other lines are passed over."""

    def __init__(self) -> None:
        self._rest = b""

    def read(self, piece: bytes) -> list[Event]:
        """The events whose lines `piece` completes."""
        lines = (self._rest + piece).split(b"\n")
        self._rest = lines.pop()
        found = (Event.parse(line.decode("utf-8", "replace")) for line in lines)
        return [event for event in found if event]


@dataclass
class _Row:
    """What one arch does."""

    running: dict[str, float] = field(default_factory=dict)  # stage → when it started
    last: str = ""  # how the last stage ended


class Progress:
    """Stages that run and that ended, by arch.

    Times in events are of the builder's clock and `now` is of ours, so elapsed time is taken
    against the smallest difference seen between the two.
    """

    def __init__(self) -> None:
        self._rows: dict[str, _Row] = {TASK: _Row()}
        self._ahead: Optional[float] = None  # how far our clock is ahead, and the way here

    def take(self, event: Event, now: float) -> None:
        """Something happened. `now`: seconds since 1970."""
        ahead = now - event.time
        self._ahead = ahead if self._ahead is None else min(ahead, self._ahead)
        row = self._rows.setdefault(event.arch, _Row())
        if event.state == "started":
            row.running[event.stage] = event.time
        elif event.state in ("done", "failed"):
            row.running.pop(event.stage, None)
            row.last = f"{event.stage:<24} {ending(event)}"

    def lines(self, now: float) -> list[str]:
        """One line for each arch that has begun, the task's own first."""
        return [
            f"{arch:<8} {self._doing(row, now)}"
            for arch, row in self._rows.items()
            if row.running or row.last
        ]

    def _doing(self, row: _Row, now: float) -> str:
        if not row.running:
            return row.last
        stage, since = list(row.running.items())[-1]
        return f"{stage:<24} {elapsed(now - since - (self._ahead or 0.0))}"


def ending(event: Event) -> str:
    """How a stage ended, or what is said of it, in words."""
    if event.state == "done":
        return f"done in {event.seconds:.1f} s"
    return f"FAILED: {event.text}".rstrip(": ") if event.state == "failed" else event.text


def sentence(event: Event) -> Optional[str]:
    """A line to print when there is no display to update; None for the start of a stage.

    >>> sentence(Event(0.0, "x86_64", "push", "done", 3.284))
    'x86_64   push                     done in 3.3 s'
    """
    if event.state == "started":
        return None
    return f"{event.arch:<8} {event.stage:<24} {ending(event)}"


def elapsed(seconds: float) -> str:
    """Time as on a clock.

    >>> elapsed(12), elapsed(3723.9), elapsed(-1)
    ('00:12', '1:02:03', '00:00')
    """
    minutes, rest = divmod(int(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"

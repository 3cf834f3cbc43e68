"""A clock that moves when somebody sleeps, and lets things happen at their time."""

from __future__ import annotations

from typing import Callable


class FakeClock:
    def __init__(self, now: float = 1_800_000_000.0):
        self.begun = now
        self.now = now
        self.slept: list[float] = []
        self._plan: list[tuple[float, Callable[[], object]]] = []

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        until = self.now + seconds
        while self._plan and self._plan[0][0] <= until:
            when, happen = self._plan.pop(0)
            self.now = max(when, self.now)
            happen()
        self.now = until

    def at(self, second: float, happen: Callable[[], object]) -> None:
        """`happen` is called when `second` seconds have gone by since the beginning."""
        self._plan.append((self.begun + second, happen))
        self._plan.sort(key=lambda row: row[0])


def interrupt() -> None:
    """Somebody presses Ctrl-C."""
    raise KeyboardInterrupt

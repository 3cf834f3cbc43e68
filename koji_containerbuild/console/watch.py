"""Follow a task until it ends, and show how it comes along.

The task is asked for its state, and its log for the part that is new. Asking begins every half
second and slows down while nothing changes, so that an end is seen at once and an hour's build
costs the hub no more than `koji watch-task` does, or little more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol
from xml.parsers.expat import ExpatError
from xmlrpc.client import Fault

import koji

from koji_containerbuild.console.progress import EventReader, Progress, elapsed, sentence
from koji_containerbuild.console.screen import Screen
from koji_containerbuild.contract.tasks import TASK_LOG
from koji_containerbuild.errors import ServiceError

FIRST_PAUSE = 0.5  # seconds between two questions, at first
LONGEST_PAUSE = 3.0  # and at most, whatever poll_interval is
PIECE = 65536  # bytes of log in one answer
# The hub is being restarted, or is not to be reached: requests' errors are OSErrors; a proxy in
# front of the hub may answer with something that is not XML.
# A Fault that is none of Koji's errors is trouble inside the hub, such as a lost database.
LOST = (OSError, ExpatError, Fault, koji.ServerOffline, koji.RetryError)
WAITING = ("FREE", "ASSIGNED")
ENDED = ("CLOSED", "CANCELED", "FAILED")


class Clock(Protocol):
    """Time is handed in, so that tests need none."""

    def time(self) -> float:
        """Seconds since 1970."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


@dataclass(frozen=True)
class Pace:
    """How often to ask, and for how long to put up with no answer."""

    poll_interval: float = 6.0  # the site's: we never ask less often than LONGEST_PAUSE
    patience: float = 600.0  # seconds without an answer from the hub until we give up

    def longest(self) -> float:
        """Seconds between two questions while nothing changes."""
        return min(self.poll_interval, LONGEST_PAUSE)


class Watcher:
    """One task of one hub. `session` need not be logged in, and should not retry by itself."""

    def __init__(self, session: Any, task_id: int, screen: Screen, clock: Clock, pace: Pace):
        self._session = session
        self._task_id = task_id
        self._screen = screen
        self._clock = clock
        self._pace = pace
        self._begun = clock.time()
        self._started: Any = None  # when the task was opened: another time is another run of it
        self._state = ""
        self._fresh_log()

    def wait(self) -> str:
        """Return when the task has ended, with its state: CLOSED, CANCELED or FAILED.

        Raises ServiceError when the hub cannot be reached for longer than our patience.
        """
        pause = min(FIRST_PAUSE, self._pace.longest())
        while True:
            changed = self._look()
            if self._state in ENDED:
                self._screen.leave()
                return self._state
            pause = FIRST_PAUSE if changed else pause * 1.25
            self._sleep(min(pause, self._pace.longest()))

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Call the hub; a lost connection is waited out. Raises koji's errors, ServiceError."""
        lost_at = None
        while True:
            try:
                answer = getattr(self._session, name)(*args, **kwargs)
            except LOST as error:
                if lost_at is None:
                    lost_at = self._clock.time()
                    self._screen.say(f"The hub does not answer ({error}). Trying again ...")
                self._check_patience(lost_at, error)
                self._sleep(self._pace.longest())
                continue
            if lost_at is not None:
                away = elapsed(self._clock.time() - lost_at)
                self._screen.say(f"The hub answers again, after {away}.")
            return answer

    def _check_patience(self, lost_at: float, error: Exception) -> None:
        if self._clock.time() - lost_at > self._pace.patience:
            raise ServiceError(
                f"The hub has not answered for {elapsed(self._clock.time() - lost_at)}: {error}.",
                do="The build may go on without us.",
            ) from error

    def _look(self) -> bool:
        """Ask for what is new; whether there was anything."""
        info = self.call("getTaskInfo", self._task_id)
        if info is None:
            raise koji.GenericError(f"No such task: {self._task_id}")
        if info.get("start_time") != self._started:
            self._started = info.get("start_time")
            self._fresh_log()
        state: str = koji.TASK_STATES[info["state"]]
        changed = state != self._state
        if changed and state not in ENDED:
            self._say_state(state, info.get("host_id"))
        news = state not in WAITING and self._read_log()
        if state in ENDED:  # after all that happened before
            self._say_state(state, None)
        self._draw()
        return changed or news

    def _say_state(self, state: str, host_id: Any) -> None:
        before, self._state = self._state, state
        host = self.call("getHost", host_id) if host_id and state == "OPEN" else None
        where = f" ({host['name']})" if host else ""
        if before in WAITING and state not in WAITING:
            self._screen.show([])  # it waits no longer
        came_from = f"{before.lower()} -> " if before else ""
        self._screen.say(f"{self._task_id} buildContainer: {came_from}{state.lower()}{where}")

    def _fresh_log(self) -> None:
        self._offset = 0
        self._events = EventReader()
        self._progress = Progress()

    def _read_log(self) -> bool:
        at = self._offset
        while True:
            piece = self._piece()
            self._offset += len(piece)
            for event in self._events.read(piece):
                self._progress.take(event, self._clock.time())
                words = sentence(event)
                if words and (event.state != "done" or not self._screen.live):
                    self._screen.say(words)
            if len(piece) < PIECE:
                return self._offset > at

    def _piece(self) -> bytes:
        """What is new in the log. Progress may be missed: the task's state alone decides."""
        try:
            piece: bytes = self._session.downloadTaskOutput(
                self._task_id, TASK_LOG, offset=self._offset, size=PIECE
            )
        except (koji.GenericError, *LOST):
            return b""  # not written yet, mostly
        return piece

    def _draw(self) -> None:
        now = self._clock.time()
        if self._state in WAITING:
            self._screen.show([f"waiting for a builder {elapsed(now - self._begun)}"])
        else:
            self._screen.show(self._progress.lines(now))

    def _sleep(self, seconds: float) -> None:
        """Wait, while the clocks on the screen go on."""
        until = self._clock.time() + seconds
        while (left := until - self._clock.time()) > 0:
            self._clock.sleep(min(left, 1.0) if self._screen.live else left)
            self._draw()

"""Where one arch of a job is, as far as its follower knows."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Optional

from koji_containerbuild.engines.pod_state import Pod
from koji_containerbuild.engines.streams import Health, Log, Reader, Watch

TAIL = 20  # lines


class ArchState:
    """Filled in by pods.follow; begins when the arch is started."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.since = time.monotonic()
        self.pod: Optional[Pod] = None
        self.log: Optional[Log] = None
        self.log_ended = False
        self.log_ended_at = 0.0
        self.log_broken = False  # it ended before its end
        self.lost_bytes = 0
        self.events: Optional[Watch] = None  # of the object that gives no sign
        self.leaving_since = 0.0
        self.trouble = ""
        self.told: set[str] = set()  # notes
        self.tail: deque[str] = deque(maxlen=TAIL)
        self.asked_since = self.ask_at = 0.0  # how it ended: since when, and when again
        self._unread_since = 0.0  # the cluster answers, but does not give us the log
        self._unread = ""  # why
        self._told_unread = False

    @property
    def waited(self) -> float:
        return time.monotonic() - self.since

    def end_is_overdue(self, seconds: float) -> bool:
        """Whether the log has ended that long ago, but not the pod, as far as we know; once."""
        if not self.log_ended_at or time.monotonic() - self.log_ended_at < seconds:
            return False
        self.log_ended_at = 0.0
        return True

    def readers(self) -> Sequence[Reader]:
        return [reader for reader in (self.log, self.events) if reader]

    def note_log(self, health: Health) -> None:
        """Whether the log can be read."""
        if health.error is None:
            self._unread_since = 0.0
        else:
            self._unread_since = self._unread_since or time.monotonic()
            self._unread = health.error.what

    def cluster_is_away(self) -> None:
        """That is told already: then nobody expects a log."""
        if not self._told_unread:
            self._unread_since = 0.0

    def log_note(self, silent: float) -> str:
        """What is to be told of that, once; `silent`: seconds that it may take."""
        unread = bool(self._unread_since) and not self.log_ended
        if self._told_unread and not unread:
            self._told_unread = False
            return "The log can be read again."
        if unread and not self._told_unread and time.monotonic() - self._unread_since > silent:
            self._told_unread = True
            return (
                f"The log cannot be read for now. {self._unread} The build goes on; we try again."
            )
        return ""

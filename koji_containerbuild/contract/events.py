"""What a running build says of its progress: lines for people that programs can read too.

    2026-11-20T23:59:54.123Z x86_64 build: started
    2026-11-20T23:59:57.401Z x86_64 build: done in 3.28 s

Lines may be lost with a connection, so nothing here decides anything: see outcome.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Optional

TASK = "task"  # in place of the arch, for what the task itself does

_LINE = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) "
    r"(?P<arch>[a-z0-9_]+) (?P<stage>[^:\n]{1,40}): "
    r"(?P<state>started|done in (?P<seconds>\d+\.\d\d) s|failed|note)(?:: (?P<text>.*))?"
)


@dataclass(frozen=True)
class Event:
    """A stage of the build began or ended, or there is something to say about it."""

    time: float  # seconds since 1970
    arch: str
    stage: str
    state: str  # started | done | failed | note
    seconds: float = 0.0  # of a stage that is done
    text: str = ""

    def line(self) -> str:
        """One line of log, without the newline.

        >>> Event(0.25, "x86_64", "build", "done", 3.284).line()
        '1970-01-01T00:00:00.250Z x86_64 build: done in 3.28 s'
        """
        when = datetime.fromtimestamp(self.time, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
        state = f"done in {self.seconds:.2f} s" if self.state == "done" else self.state
        text = " ".join(self.text.split())
        return f"{when}Z {self.arch} {self.stage}: {state}" + (f": {text}" if text else "")

    @classmethod
    def parse(cls, line: str) -> Optional[Event]:
        """The event in a line of log, or None: a build tool may print what it likes."""
        match = _LINE.fullmatch(line.rstrip("\r\n"))
        if not match:
            return None
        try:
            when = datetime.fromisoformat(match["time"].replace("Z", "+00:00"))
        except ValueError:  # the 30th of February
            return None
        return cls(
            time=when.timestamp(),
            arch=match["arch"],
            stage=match["stage"],
            state=match["state"].split()[0],
            seconds=float(match["seconds"] or 0),
            text=match["text"] or "",
        )

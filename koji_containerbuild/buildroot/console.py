"""What the build says: bytes into the log file, and on to standard output where that is read.

In a pod standard output is framed: see contract/frames.py.

The log file is complete whatever becomes of standard output; it goes into the report.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Optional

from koji_containerbuild.contract.events import Event
from koji_containerbuild.contract.frames import Framer

BLOCK = 256 * 1024  # bytes read from a program at once
TAIL = 8 * 1024  # bytes of a program's output that are kept for an error message


class Console:
    """The log of one arch's build."""

    def __init__(
        self, log: Path, arch: str, echo: Optional[int] = None, *, framed: bool = False
    ) -> None:
        """Append to `log`, and write to the file descriptor `echo` as long as someone reads it."""
        self.path = log
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._echo = echo
        self._arch = arch
        self._at_line_start = True
        self._lock = threading.RLock()  # stages beside each other speak, and in one order for all
        self._busy = False  # the main thread is writing
        self._put_off: Optional[BaseException] = None
        self.size = os.fstat(self._log).st_size  # bytes in the log so far
        self._framer = Framer(self.size) if framed else None

    def event(self, stage: str, state: str, seconds: float = 0.0, text: str = "") -> None:
        """A line about the progress of the build, always on a line of its own."""
        line = Event(time.time(), self._arch, stage, state, seconds, text).line()
        with self._lock:
            self.write(("" if self._at_line_start else "\n").encode() + line.encode() + b"\n")

    def say(self, text: str) -> None:
        """A line of our own for people."""
        self.write(text.encode(errors="replace") + b"\n")

    def copy(self, source: int) -> bytes:
        """All that comes from the file descriptor, as it is; returns the last of it."""
        tail: deque[bytes] = deque()
        kept = 0
        while block := os.read(source, BLOCK):
            self.write(block)
            tail.append(block[-TAIL:])
            kept += len(tail[-1])
            while kept - len(tail[0]) >= TAIL:
                kept -= len(tail.popleft())
        return b"".join(tail)[-TAIL:]

    def write(self, data: bytes) -> None:
        """Raises OSError when the log cannot be written (a full disk): that fails the build."""
        if not data:
            return
        with self._whole(), self._lock:
            self._all(self._log, data)
            self.size += len(data)
            self._at_line_start = data.endswith(b"\n")
            self._pass_on(self._framer.frame(data) if self._framer else data)

    def interrupt(self, error: BaseException) -> None:
        """For a signal's handler: raise this, but let what is being written be written first."""
        if not self._busy:
            raise error
        self._put_off = error

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Half a frame would spoil the next one. Handlers run in the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._busy = True
        try:
            yield
        finally:
            self._busy = False
            error, self._put_off = self._put_off, None
            if error:
                raise error

    def end(self) -> None:
        """Who reads frames is told that there is no more; said once."""
        with self._lock:
            if self._framer:
                self._pass_on(self._framer.end())
                self._framer = self._echo = None

    def _pass_on(self, data: bytes) -> None:
        if self._echo is not None:
            try:
                self._all(self._echo, data)
            except OSError:  # the reader is gone; the log file has it
                self._echo = None

    @staticmethod
    def _all(to: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(to, view) :]

    def close(self) -> None:
        """Nothing can be said after this."""
        os.close(self._log)

"""The task's output files on the hub: bytes go up soon after they are written, in order, once."""

from __future__ import annotations

import base64
import hashlib
import time
from pathlib import Path

from koji_containerbuild.contract.events import TASK, Event
from koji_containerbuild.contract.tasks import TASK_LOG
from koji_containerbuild.errors import ServiceError
from koji_containerbuild.koji_api.session import Session, asking, end_if_gone

BEAT = 0.15  # seconds between uploads of one file
RETRY = 5.0  # seconds more, after the hub did not take one
BLOCK = 1024 * 1024  # bytes in one upload

State = tuple[dict[str, bytearray], dict[str, int], str]


class TaskLogs:
    """Append-only files of one task. `flush` must be called every now and then."""

    def __init__(self, session: Session, upload_folder: str, folder: Path) -> None:
        """`upload_folder`: of the task, on the hub. `folder`: where the task log is kept, here.

        A task that starts again goes on with the log that it finds there.
        """
        self._session = session
        self._upload_folder = upload_folder
        self._waiting: dict[str, bytearray] = {}
        self._uploaded: dict[str, int] = {}
        self._next = 0.0
        self.trouble = ""  # why a log was not taken, if one was not
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.task_log = folder / TASK_LOG
        self.task_log.touch()
        self.again()
        self._told_before = frozenset(bytes(self._waiting[TASK_LOG]).splitlines(keepends=True))

    def again(self) -> None:
        """From its beginning, as it is kept here: another process may have told, and died."""
        self._waiting[TASK_LOG] = bytearray(self.task_log.read_bytes())
        self._uploaded[TASK_LOG] = 0

    def state(self) -> State:
        """For another process, which goes on with it."""
        return self._waiting, self._uploaded, self.trouble

    def go_on(self, state: State) -> None:
        """Where another process has left it."""
        self._waiting, self._uploaded, self.trouble = state

    def write(self, name: str, data: bytes) -> None:
        """Append to a file."""
        self._waiting.setdefault(name, bytearray()).extend(data)
        if len(self._waiting[name]) >= BLOCK:
            self.flush(now=not self.trouble)

    def event(self, stage: str, state: str, seconds: float = 0.0, text: str = "") -> None:
        """A line in the task's own log about what the task does."""
        self.relay(Event(time.time(), TASK, stage, state, seconds, text))

    def relay(self, event: Event) -> None:
        """A line in the task's own log about what an arch does.

        Where this host cannot keep it, it goes to the hub alone: a full disk fails no finished
        build. Who adopts a job reads its log from the beginning, so some of it was told before.
        """
        line = event.line().encode() + b"\n"
        if line in self._told_before:
            return
        try:
            with self.task_log.open("ab") as file:
                file.write(line)
        except OSError as error:
            self.trouble = str(error)
        self.write(TASK_LOG, line)

    def flush(self, now: bool = False) -> None:
        """Upload what waits, if it is time to or `now`.

        A hub that does not take it fails no build: the bytes wait, and `trouble` says why. The log
        that is kept with the build is another one. Raises ServerExit when our session is gone.
        """
        if not now and time.monotonic() < self._next:
            return
        self._next = time.monotonic() + BEAT
        try:
            for name, data in self._waiting.items():
                if data:
                    self._upload(name)
        except ServiceError as error:
            end_if_gone(error)
            self.trouble = str(error)
            self._next += RETRY

    def put(self, name: str, text: str) -> None:
        """A whole file; a second time in place of the first, which must not be longer."""
        self._waiting[name] = bytearray(text.encode())
        self._uploaded[name] = 0
        self.flush(now=True)

    def replace(self, name: str, path: Path) -> None:
        """A file of this host in place of what was written, which must not be longer."""
        self._waiting[name] = bytearray()
        self._uploaded[name] = 0
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                self.write(name, block)
        self.flush(now=True)

    def _upload(self, name: str) -> None:
        data = self._waiting[name]
        while data:
            block = bytes(data[:BLOCK])
            offset = self._uploaded.get(name, 0)
            with asking(f"take the log {name}"):
                taken = self._session.uploadFile(
                    self._upload_folder,
                    name,
                    len(block),
                    hashlib.md5(block).hexdigest(),  # noqa: S324 — what the call takes
                    str(offset),
                    base64.b64encode(block).decode(),
                )
            if not taken:
                raise ServiceError(f"Koji did not take the log {name} at byte {offset}.")
            del data[: len(block)]
            self._uploaded[name] = offset + len(block)

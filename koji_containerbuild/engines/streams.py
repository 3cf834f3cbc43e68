"""Threads that read a cluster's streams into a queue: changes of objects, and a pod's log.

A stream that breaks is opened again where it ended, as often as it takes. What comes of it, and
when it is enough, is decided by the reader of the queue.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Optional

from koji_containerbuild.contract.frames import Foreign, Read, Unframer
from koji_containerbuild.engines.api import Api, ApiError, Stream
from koji_containerbuild.errors import ServiceError

WATCHED = 3600.0  # seconds of one connection, where no build's end limits it
FIRST_WAIT, LONGEST_WAIT = 0.2, 5.0  # seconds between two connections
SILENCE = 300.0  # seconds after which a watch has broken: clusters send a bookmark every minute
HUNG = 30.0  # seconds after which a connection is given up that brings nothing of what there is
LONGEST_LINE = 8 * 1024 * 1024  # bytes of an object
GONE = 410  # HTTP: what was missed is not known any more
LATE = 4  # connections after a container's end: its runtime may be slow to write the last lines
LATE_WAIT = 0.5  # seconds between these
UNREADABLE = 30.0  # seconds that a cluster may refuse the log of a container that has ended


@dataclass(frozen=True)
class Change:
    """Of an object: ADDED, MODIFIED or DELETED; or ALL: the objects that there are."""

    kind: str
    found: dict[str, Any] = field(default_factory=dict)
    all: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Said:
    """Something of a log; `ended`: it was the last of it."""

    read: Read = Read(())
    lost: int = 0  # bytes of the log that will not come, so far
    ended: bool = False
    broken: bool = False  # and it was not whole


@dataclass(frozen=True)
class Health:
    """Whether a cluster answers, or gives a log; with the error if it does not."""

    error: Optional[ServiceError] = None


@dataclass(frozen=True)
class Died:
    """A reader has ended by an error of ours."""

    error: Exception


@dataclass(frozen=True)
class Item:
    """What a reader has put into the queue."""

    reader: Reader
    what: Any  # Change, Said, Health or Died


class Reader(threading.Thread):
    """One stream, opened again and again until it is stopped."""

    def __init__(self, api: Api, items: queue.Queue[Item]) -> None:
        super().__init__(daemon=True)
        self._api = api
        self._items = items
        self._stop_now = threading.Event()
        self._lock = threading.Lock()
        self._stream: Optional[Stream] = None
        self._wait = FIRST_WAIT
        self._answered = 0.0  # when the last connection's answer began; 0: there was none

    def stop(self) -> None:
        """Nothing comes after this, though the thread may need a moment to end."""
        self._stop_now.set()
        with self._lock:
            if self._stream:
                self._stream.close()

    @property
    def _stopped(self) -> bool:
        return self._stop_now.is_set()

    def run(self) -> None:
        try:
            self._read()
        except Exception as error:  # noqa: BLE001 — whoever reads the queue raises it again
            self._put(Died(error))

    @abstractmethod
    def _read(self) -> None: ...

    def _put(self, what: Any) -> None:
        while not self._stopped:
            try:
                return self._items.put(Item(self, what), timeout=1.0)
            except queue.Full:  # whoever reads is busy: the cluster may wait
                continue

    def _blocks(
        self, path: str, params: dict[str, str], silent: Optional[float] = None
    ) -> Iterator[bytes]:
        """Of one connection, as Api.stream. Raises ServiceError."""
        stream = self._api.stream(path, params, silent)
        with self._lock:
            self._stream = stream
        if self._stopped:
            stream.close()
        for block in stream:
            self._answered = self._answered or time.monotonic()
            yield block

    def _pause(self) -> None:
        self._forgive()
        self._stop_now.wait(self._wait)
        self._wait = min(2 * self._wait, LONGEST_WAIT)

    def _forgive(self) -> None:
        """A connection that lasted is no reason to wait: a proxy may end those that are idle."""
        if self._answered and time.monotonic() - self._answered > self._wait:
            self._wait = FIRST_WAIT
        self._answered = 0.0


class Watch(Reader):
    """Changes of the objects below a path: those that are there come as ADDED."""

    def __init__(
        self, api: Api, items: queue.Queue[Item], path: str, select: dict[str, str], seconds: float
    ) -> None:
        """`select`: labelSelector or fieldSelector; `seconds`: for which the cluster keeps one
        connection open.
        """
        super().__init__(api, items)
        self._path = path
        self.select = select
        self._seconds = seconds
        self._version = ""  # of the last change; empty: begin with what is there
        self.missed = False  # there were changes that nobody can tell us
        self._listing = False  # what comes may be of what was there, in the order of names

    def _read(self) -> None:
        while not self._stopped:
            try:
                if self.missed:
                    self._look()
                for line in self._lines():
                    self._tell(line)
                self._put(Health())
            except ApiError as error:
                if error.status == GONE:
                    self.missed = True
                self._put(Health(None if error.status == GONE else error))
            except ServiceError as error:  # the token cannot be read
                self._put(Health(error))
            if self._listing and self._version:  # cut: older ones than the last may be missing
                self.missed = True
            self._pause()

    def _look(self) -> None:
        """All of them. Whoever reads finds out what has changed."""
        found = self._api.call("GET", self._path, params=self.select, patience=5.0)
        self._version = str((found.get("metadata") or {}).get("resourceVersion") or "")
        self.missed = False
        self._put(Health())
        self._put(Change("ALL", all=tuple(found.get("items") or ())))

    def _lines(self) -> Iterator[bytes]:
        params = {
            **self.select,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(int(self._seconds)),
        }
        self._listing = not self._version
        if self._version:
            params["resourceVersion"] = self._version
        parts: list[bytes] = []
        for block in self._blocks(self._path, params, SILENCE):
            if not block:
                self._put(Health())
            *lines, rest = block.split(b"\n")
            for line in lines:
                yield b"".join([*parts, line])
                parts = []
            parts.append(rest)
            if len(rest) and sum(map(len, parts)) > LONGEST_LINE:
                raise ApiError("The cluster sent an object of more than 8 MiB.", reason="TooLarge")

    def _tell(self, line: bytes) -> None:
        try:
            event = json.loads(line)
            kind, found = event["type"], event["object"]
            code = int(found.get("code") or 500) if kind == "ERROR" else 0
            version = "" if code else str(found["metadata"].get("resourceVersion") or "")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ApiError(f"The cluster sent what is no change: {line[:100]!r}.") from error
        if code:
            raise self._api.refusal(code, found)
        self._wait = FIRST_WAIT
        self._version = version
        self._listing = self._listing and kind == "ADDED"
        if kind != "BOOKMARK":
            self._put(Change(kind, found))


class Log(Reader):
    """The framed log of one container, each byte once, to its end."""

    def __init__(self, api: Api, items: queue.Queue[Item], path: str, container: str) -> None:
        """`path`: of the log."""
        super().__init__(api, items)
        self._path = path
        self._container = container
        self._unframer = Unframer()
        self._container_ended = threading.Event()
        self._heard = 0.0  # when the last bytes came, or a connection began
        self._refused = False
        self._foreign = Foreign()

    def stop(self) -> None:
        super().stop()
        self._container_ended.set()

    def container_ended(self) -> None:
        """There will be no more: what a connection brings from now on is all.

        Called again as long as we wait for that: a connection that brings nothing is opened anew.
        """
        if not self._container_ended.is_set():
            self._heard = time.monotonic()
            self._container_ended.set()
        elif time.monotonic() - self._heard > HUNG:
            self._heard = time.monotonic()
            with self._lock:
                if self._stream:
                    self._stream.close()

    def _read(self) -> None:
        refused_since = 0.0
        late = 0
        while not self._stopped:
            last = self._container_ended.is_set()
            late += last
            refused = False
            self._heard = time.monotonic()
            try:
                for block in self._blocks(self._path, self._params()):
                    self._feed(block)
                    self._heard = time.monotonic()
                    if self._unframer.complete:
                        break
                whole = late >= (LATE if self._unframer.seconds else 1)
            except ApiError as error:
                refused = last and error.status != 0
                whole = refused and error.status == 404 and self._pod_is_gone()
                if error.status != 0:  # else the watch tells
                    self._refused = True
                    self._put(Health(error))
            except ServiceError:
                whole = False
            self._say(self._unframer.close())
            refused_since = (refused_since or time.monotonic()) if refused else 0.0
            too_long = refused and time.monotonic() - refused_since > UNREADABLE
            if whole or too_long or self._unframer.complete:
                break
            self._pause()
        broken = not self._unframer.complete
        self._put(Said(lost=self._unframer.lost, ended=True, broken=broken))

    def _pod_is_gone(self) -> bool:
        """And its log with it. A kubelet that has just started knows none of its pods, either."""
        pods, _, name = self._path.rpartition("/")[0].rpartition("/")
        select = {"fieldSelector": f"metadata.name={name}"}
        try:
            return not self._api.call("GET", pods, params=select, patience=1.0).get("items")
        except ServiceError:
            return False

    def _params(self) -> dict[str, str]:
        params = {"container": self._container, "follow": "true"}
        begin = self._unframer.seconds - 1
        self._foreign.come_again(begin)
        if self._unframer.seconds:
            since = datetime.fromtimestamp(begin, timezone.utc)
            params["sinceTime"] = since.strftime("%Y-%m-%dT%H:%M:%SZ")
        return params

    def _feed(self, block: bytes) -> None:
        if block:
            self._say(self._unframer.feed(block))
        elif self._refused:
            self._refused = False
            self._put(Health())

    def _say(self, read: Read) -> None:
        foreign = self._foreign.new(read.foreign, self._unframer.seconds, bool(read.pieces))
        if read.pieces or foreign:
            self._wait = FIRST_WAIT
            self._put(Said(Read(read.pieces, foreign), self._unframer.lost))

    def _pause(self) -> None:
        """The container's end cuts it short: most often that is why the connection ended. After
        that it is for the runtime, which may still be writing.
        """
        self._forgive()
        if self._container_ended.is_set():
            self._stop_now.wait(max(self._wait, LATE_WAIT))
            self._wait = min(2 * self._wait, LONGEST_WAIT)
        elif not self._container_ended.wait(self._wait):
            self._wait = min(2 * self._wait, LONGEST_WAIT)

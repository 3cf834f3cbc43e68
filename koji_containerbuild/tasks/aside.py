"""Work in a child process, whose memory goes with it.

A task is a fork of kojid and shares kojid's memory, but for what one of the two has touched: Python
counts in every object who uses it. What is touched to prepare and start a build would lie there for
as long as the build runs (docs/adr/0013-begun-in-a-child.md).
"""

from __future__ import annotations

import ctypes
import os
import pickle
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn, Optional, TypeVar

import koji

from koji_containerbuild.errors import ServiceError
from koji_containerbuild.koji_api.session import Session
from koji_containerbuild.koji_api.task_logs import State, TaskLogs

T = TypeVar("T")

PATIENCE = 1.0  # seconds, twice, for a child to end; kojid tells it before it tells us
MANY_CALLS = 10_000  # of the hub: more than a child makes
PR_SET_PDEATHSIG = 1  # prctl(2)
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)  # that kojid heeds


class InChild(Exception):
    """The traceback of what was raised there."""


@dataclass(frozen=True)
class _Words:
    """What a child says at its end."""

    calls: int  # of the session with the hub, so far
    logs: State
    result: Any = None
    error: Optional[BaseException] = None
    kind: str = ""  # of a koji.GenericError that does not survive the way
    code: int = 1  # its fault code
    where: str = ""  # traceback of the error


def in_child(session: Session, logs: TaskLogs, work: Callable[[], T]) -> T:
    """What the work returns or raises; of what else it has changed in memory, only the logs stay.

    Session and logs go on where the child has left them. Who is told to end waits for the child's
    end. Raises ServiceError if the child was killed.
    """
    child, pipe = _fork(session, logs, work)
    said = bytearray()
    try:
        _read(pipe, said)
    except BaseException:
        _end(child, pipe, said)
        raise
    finally:
        os.close(pipe)
        os.waitpid(child, 0)
        words = _understood(bytes(said))
        _go_on(session, logs, words)
    if words is None:
        raise ServiceError(
            "The process that prepares the build was killed.",
            do="Build again. If it happens again, an admin should look at the builder's memory.",
        )
    if words.error is not None:
        raise _raised(words.error, words) from InChild(words.where)
    result: T = words.result
    return result


def _fork(session: Session, logs: TaskLogs, work: Callable[[], T]) -> tuple[int, int]:
    """The child, and the pipe to read its words from."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # none comes to half a child
    try:
        child = os.fork()
        if child == 0:
            _be_child(parent, reader, writer, lambda: _words(session, logs, work, before))
        os.close(writer)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return child, reader


def _be_child(parent: int, reader: int, writer: int, say: Callable[[], bytes]) -> NoReturn:
    """Nobody reads what the child of a dead task says: the task that Koji starts again does all."""
    try:
        os.close(reader)
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == parent:  # else it was quicker
            said = say()
            with os.fdopen(writer, "wb") as pipe:
                pipe.write(said)
    finally:
        os._exit(0)


def _words(session: Session, logs: TaskLogs, work: Callable[[], T], mask: Any) -> bytes:
    result, error, where = None, None, ""
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        session.new_session()  # two processes cannot share a connection
        result = work()
    except BaseException as raised:  # noqa: BLE001  it is raised again, in the parent
        error, where = raised, traceback.format_exc()
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # what there is to say is said whole
    calls, state = session.callnum, logs.state()
    try:
        said = pickle.dumps(_Words(calls, state, result, error, where=where))
        pickle.loads(said)  # noqa: S301  our own words
    except Exception as trouble:  # noqa: BLE001  whatever is wrong with it
        error = error or trouble
        kind = type(error).__name__ if isinstance(error, koji.GenericError) else ""
        code = getattr(error, "faultCode", 1)
        told = RuntimeError(str(error) if kind else f"{type(error).__name__}: {error}")
        said = pickle.dumps(_Words(calls, state, None, told, kind, code, where))
    return said


def _raised(error: BaseException, words: _Words) -> BaseException:
    """A site's callback may have errors of its own, of which Koji passes on text and code."""
    if not words.kind:
        return error
    kind = type(words.kind, (koji.GenericError,), {"faultCode": words.code})
    told: BaseException = kind(str(error))
    return told


def _read(pipe: int, said: bytearray, seconds: Optional[float] = None) -> bool:
    """To the end of what the child says, which is its own; False: it takes longer."""
    deadline = None if seconds is None else time.monotonic() + seconds
    while True:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        if not select.select([pipe], [], [], left)[0]:
            return False
        block = os.read(pipe, 1 << 16)
        if not block:
            return True
        said += block


def _end(child: int, pipe: int, said: bytearray) -> None:
    """kojid has told it before us; anybody else may have told us alone."""
    try:
        if not _read(pipe, said, PATIENCE):
            os.kill(child, signal.SIGTERM)
            _read(pipe, said, PATIENCE)
    finally:  # told once more, we wait no longer
        os.kill(child, signal.SIGKILL)


def _understood(said: bytes) -> Optional[_Words]:
    """None: it was killed before it came to the end."""
    try:
        words: _Words = pickle.loads(said)  # noqa: S301  our own words
    except (pickle.UnpicklingError, EOFError):
        return None
    return words


def _go_on(session: Session, logs: TaskLogs, words: Optional[_Words]) -> None:
    if words is None:
        session.callnum += MANY_CALLS  # the hub wants each to be higher than the one before
        logs.again()
    else:
        session.callnum = words.calls
        logs.go_on(words.logs)

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
import traceback
from collections.abc import Callable
from typing import TypeVar

from koji_containerbuild.errors import ServiceError
from koji_containerbuild.koji_api.session import Session
from koji_containerbuild.koji_api.task_logs import TaskLogs

T = TypeVar("T")

PATIENCE = 2.0  # seconds for a child to end: kojid tells it before it tells us, and gives us three
MANY_CALLS = 10_000  # of the hub: more than a child makes
PR_SET_PDEATHSIG = 1  # prctl(2)


class InChild(Exception):
    """The traceback of what was raised there."""


def in_child(session: Session, logs: TaskLogs, work: Callable[[], T]) -> T:
    """What the work returns or raises; of what else it has changed in memory, only the logs stay.

    Session and logs go on where the child has left them. Who is told to end waits for the child's
    end. Raises ServiceError if the child was killed.
    """
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            _die_with(parent)
            said = _do(session, logs, work)
            with os.fdopen(writer, "wb") as pipe:
                pipe.write(said)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        try:
            said = pipe.read()
        except BaseException:
            _end(child, pipe.fileno())
            raise
        finally:
            os.waitpid(child, 0)
    if not said:
        session.callnum += MANY_CALLS  # the hub wants each to be higher than the one before
        raise ServiceError(
            "The process that prepares the build was killed.",
            do="Build again. If it happens again, an admin should look at the builder's memory.",
        )
    result, error, where, session.callnum, state = pickle.loads(said)  # noqa: S301  our own words
    logs.go_on(state)
    if error is not None:
        raise error from InChild(where)
    answer: T = result
    return answer


def _do(session: Session, logs: TaskLogs, work: Callable[[], T]) -> bytes:
    result, error, where = None, None, ""
    try:
        session.new_session()  # two processes cannot share a connection
        result = work()
    except BaseException as raised:  # noqa: BLE001  it is raised again, in the parent
        error, where = _fit(raised), traceback.format_exc()
    return pickle.dumps((result, error, where, session.callnum, logs.state()))


def _fit(error: BaseException) -> BaseException:
    """For the way to the parent, which not every kind survives."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  our own words
    except Exception:  # noqa: BLE001  whatever is wrong with it
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _die_with(parent: int) -> None:
    """Nobody reads what the child of a dead task says: the task that Koji starts again does all."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was quicker
        os._exit(0)


def _end(child: int, pipe: int) -> None:
    """kojid has told it before us; anybody else may have told us alone."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if select.select([pipe], [], [], PATIENCE)[0]:
            return
        os.kill(child, number)

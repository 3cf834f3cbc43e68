"""What may end a task, and what may not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from koji.tasks import ServerExit, ServerRestart

from koji_containerbuild.tasks.tools import Events

KOJID_ENDS = (ServerExit, ServerRestart)  # kojid's own words for it; they are Exceptions


def told_to_end(error: BaseException) -> bool:
    """Whether it comes from outside: the task is cancelled, or kojid is restarted."""
    return not isinstance(error, Exception) or isinstance(error, KOJID_ENDS)


@contextmanager
def optional(events: Events, stage: str) -> Iterator[None]:
    """What goes wrong in the body is told in the log and forgotten: the build is done by then."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 — no bug may make a finished build red
        if told_to_end(error):
            raise
        events.event(stage, "failed", text=f"{type(error).__name__}: {error}")

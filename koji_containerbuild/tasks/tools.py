"""What a task works with: gathered by the entry files, handed in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from koji_containerbuild.config import Config
from koji_containerbuild.contract.request import BuildRequest
from koji_containerbuild.engines.base import Engine
from koji_containerbuild.koji_api.session import Session
from koji_containerbuild.koji_api.task_logs import TaskLogs
from koji_containerbuild.registry.client import Registry

T = TypeVar("T")

# What the task is to do. Raises BadRequest for what nobody can read. It is asked for where it is
# needed, and not kept for as long as the build runs.
Ask = Callable[[], BuildRequest]


@dataclass(frozen=True)
class Task:
    """The Koji task that we are."""

    id: int
    owner: int  # user id
    channel: int  # channel id
    hub: str  # URL; with the id, the one name of the task in the world


@dataclass(frozen=True)
class Kojid:
    """The kojid that runs us."""

    options: Any  # its configuration: topurl, allowed_scms, ...
    callbacks: Callable[..., None]  # run_callbacks of the task handler


class Events(Protocol):
    """Where is told what is done."""

    def event(self, stage: str, state: str, seconds: float = 0.0, text: str = "") -> None:
        """A stage began or ended, or there is something to say about it."""

    def flush(self, now: bool = False) -> None:
        """Whoever reads may have it."""


@dataclass(frozen=True)
class Place:
    """The outside world of a build, with Koji or without."""

    config: Config
    engine: Engine
    registry: Registry
    logs: Events
    work: Path  # a folder of this build's own, gone afterwards
    clock: Callable[[], float]  # seconds since 1970
    # The text of a .repo file by its URL; the hosts that it may be read from, none: any.
    read_url: Callable[[str, Sequence[str]], str]


class Aside(Protocol):
    """Where work is done that should leave nothing in the memory of a task that waits."""

    def __call__(self, work: Callable[[], T]) -> T:
        """What the work returns or raises. What else it changes in memory may be lost."""


@dataclass(frozen=True)
class Tools(Place):
    """The outside world of a task."""

    logs: TaskLogs
    session: Session
    kojid: Kojid
    sleep: Callable[[float], None]  # seconds
    aside: Aside

"""One build through Koji, as the hub, the client and the task's log tell of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Optional

import koji

from koji_containerbuild.contract.events import Event
from koji_containerbuild.contract.tasks import TASK_LOG
from koji_containerbuild.devstack import postgres
from koji_containerbuild.devstack.git_server import Commit
from koji_containerbuild.devstack.process import running
from koji_containerbuild.devstack.seed import TARGET
from tests.bench import processes
from tests.bench.processes import Memory
from tests.bench.site import Site

WATCH = 0.2  # seconds between two looks at the task: each costs the hub 10 ms
ENDED = {koji.TASK_STATES[name] for name in ("CLOSED", "CANCELED", "FAILED")}


@dataclass(frozen=True)
class Sample:
    """What the task costs at one moment."""

    memory: Memory  # of kojid's child
    cpu: float  # seconds so far, of kojid's child
    tree: int  # processes below kojid
    programs: tuple[Memory, ...]  # of the buildroot program, outside kojid's tree
    at: float


@dataclass(frozen=True)
class KojiBuild:
    """Times in seconds since 1970, by the hub's clock, which is this machine's."""

    created: float
    opened: float
    closed: float
    seen: float  # that it is closed, by a client that looks every now and then
    events: tuple[Event, ...]
    requests: int  # to the hub, by the task
    samples: tuple[Sample, ...]
    cpu: float  # of the task's processes in kojid's tree, to the end

    @property
    def whole(self) -> float:
        return self.closed - self.created

    def begun(self, stage: str) -> float:
        return next(e.time for e in self.events if (e.stage, e.state) == (stage, "started"))

    def done(self, stage: str) -> float:
        return next(e.time for e in self.events if (e.stage, e.state) == (stage, "done"))


class BuildBroke(Exception):
    """The task did not succeed, so there is nothing to measure."""


def start(site: Site, commit: Commit, target: str = TARGET) -> int:
    """A task of user packager."""
    task: int = site.stack.session().buildContainer(
        commit.source, target, {"git_branch": commit.branch}
    )
    return task


def build(site: Site, commit: Commit, sampled: bool = False) -> KojiBuild:
    """Build, and wait for the end. One at a time: kojid's whole tree is taken to be the task's."""
    kojid = running(site.stack.places.run, "kojid")
    assert kojid
    before = processes.cpu(kojid.pid).children
    session, samples = site.stack.session(), []
    task = start(site, commit)
    while (info := session.getTaskInfo(task))["state"] not in ENDED:
        if sampled and (sample := _sample(site, kojid.pid)):
            samples.append(sample)
        time.sleep(WATCH)
    seen = time.time()
    log = session.downloadTaskOutput(task, TASK_LOG).decode()
    if info["state"] != koji.TASK_STATES["CLOSED"]:
        raise BuildBroke(f"Task {task} ended in state {info['state']}. Its log:\n{log}")
    while processes.below(kojid.pid):  # kojid counts a child's CPU when it has reaped it
        time.sleep(0.05)
    return KojiBuild(
        created=info["create_ts"],
        opened=info["start_ts"],
        closed=info["completion_ts"],
        seen=seen,
        events=tuple(_events(log)),
        requests=_requests(site, info["start_ts"]),
        samples=tuple(samples),
        cpu=processes.cpu(kojid.pid).children - before,
    )


def _events(log: str) -> Iterator[Event]:
    for line in log.splitlines():
        event = Event.parse(line)
        if event:
            yield event


def _requests(site: Site, opened: float) -> int:
    """Koji numbers the calls of a session from 0, and a task has a session of its own."""
    statement = """SELECT callnum FROM sessions WHERE master IS NOT NULL
        AND start_time >= to_timestamp(%s) - interval '0.5 s' ORDER BY id DESC LIMIT 1"""
    ((last,),) = postgres.sql(site.stack.places, statement, (opened,))
    return int(last) + 1


def _sample(site: Site, kojid: int) -> Optional[Sample]:
    """None: the task is not there yet, or no more."""
    try:
        tree = processes.below(kojid)
        task = next(pid for pid in tree if pid == min(tree))
        programs = [
            processes.memory(pid)
            for pid in processes.working_below(site.stack.places.state / "builder")
            if "koji_containerbuild.buildroot" in processes.command(pid)
        ]
        own = processes.cpu(task).own
        return Sample(processes.memory(task), own, len(tree), tuple(programs), time.time())
    except (OSError, StopIteration, ValueError, KeyError):
        return None

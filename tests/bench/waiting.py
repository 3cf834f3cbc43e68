"""What many builds at once cost the builder that waits for them."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import koji

from koji_containerbuild.contract.tasks import arch_log
from koji_containerbuild.devstack.kojid import HOSTNAME
from koji_containerbuild.devstack.process import running
from koji_containerbuild.devstack.seed import ADMIN
from tests.bench import processes
from tests.bench.figures import Aim, Figure, against_old, spread
from tests.bench.koji_build import BuildBroke, start
from tests.bench.processes import Memory
from tests.bench.site import MARK, Site, asleep

CAPACITY = 1000.0  # of the host: kojid is not to stop at what the tasks weigh
CHANNEL = "container-binary"
PATIENCE = 600.0  # seconds until all builds have come to their RUN
WATCHED = 20.0  # seconds that CPU time is counted for
MIB = 1024 * 1024 / 1e6  # the aims are in MB


def many_at_once(site: Site) -> list[tuple[str, list[Figure]]]:
    """Beside them: as many of Koji's own tasks `sleep`, the least that a task of kojid costs."""
    with room(site) as kojid:
        with tasks(site, kojid, sleeping) as pids:
            bare, _ = cost(pids)
        with tasks(site, kojid, building) as pids:
            ours, cpu = cost(pids)
    figures = [
        *memory("PSS", ours, bare, old=24.0, aim=13.0),
        *memory("private", ours, bare, old=15.0, aim=8.0),
        *memory("RSS", ours, bare, old=57.0),
        Figure("CPU of one that waits", max(cpu), "%", spread=spread(cpu), aim=Aim(0.3)),
    ]
    return [(f"{site.at_once} builds at once on one builder", figures)]


def memory(
    name: str,
    ours: Sequence[Memory],
    bare: Sequence[Memory],
    old: float,
    aim: float | None = None,
    what: str = "bare task",
) -> tuple[Figure, Figure]:
    """Both in MB, of one task. `name`: of a field of Memory; `old`: in MiB, of its two processes;
    `what`: what `bare` is of.
    """
    mine, theirs = ([getattr(one, name.lower()) * MIB for one in found] for found in (ours, bare))
    first = against_old(f"{name} of one task", mine, "MB", old * MIB, Aim(aim) if aim else None)
    base = sum(theirs) / len(theirs)
    return first, Figure("the same", first.ours, "MB", base, what, first.ours / base)


@contextmanager
def room(site: Site) -> Iterator[int]:
    """The builder's kojid, which takes more tasks than it would."""
    admin = site.stack.session(ADMIN)
    capacity = admin.getHost(HOSTNAME)["capacity"]
    kojid = running(site.stack.places.run, "kojid")
    assert kojid
    admin.editHost(HOSTNAME, capacity=CAPACITY)
    try:
        yield kojid.pid
    finally:
        admin.editHost(HOSTNAME, capacity=capacity)


@contextmanager
def tasks(
    site: Site, kojid: int, begin: Callable[[Site, Any], Callable[[], bool]]
) -> Iterator[list[int]]:
    """Process ids of as many tasks as there are to be, which all wait; they are cancelled then."""
    admin = site.stack.session(ADMIN)
    ready = begin(site, admin)
    try:
        _until(site, lambda: len(processes.below(kojid)) >= site.at_once and ready())
        time.sleep(2)  # what the last one did to come here is not to be counted
        yield processes.below(kojid)
    finally:
        for task in admin.listTasks(opts={"state": [koji.TASK_STATES["OPEN"]]}):
            admin.cancelTask(task["id"])
        _until(site, lambda: not processes.below(kojid))


def cost(pids: Sequence[int]) -> tuple[list[Memory], list[float]]:
    """The memory of each process, and its CPU time in percent of a processor."""
    before = {pid: processes.cpu(pid).own for pid in pids}
    time.sleep(WATCHED)
    busy = [100 * (processes.cpu(pid).own - before[pid]) / WATCHED for pid in pids]
    return [processes.memory(pid) for pid in pids], busy


def sleeping(site: Site, admin: Any) -> Callable[[], bool]:
    for _ in range(site.at_once):
        admin.makeTask("sleep", [int(PATIENCE)], channel=CHANNEL)
    return lambda: True


def building(site: Site, admin: Any) -> Callable[[], bool]:
    """Each in its RUN, as its log on the hub tells."""
    commit = site.commit("asleep", asleep(int(2 * PATIENCE)))
    started = [start(site, commit) for _ in range(site.at_once)]
    folders = [site.stack.places.topdir / "work" / koji.pathinfo.taskrelpath(t) for t in started]
    logs = [folder / arch_log(platform.machine()) for folder in folders]
    return lambda: all(log.exists() and MARK in log.read_bytes().split(b"\n") for log in logs)


def _until(site: Site, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > deadline:
            raise BuildBroke(f"{site.at_once} tasks at once did not get there in {PATIENCE:.0f} s.")
        time.sleep(1)

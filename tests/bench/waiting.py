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

AT_ONCE = 20
CAPACITY = 1000.0  # of the host: kojid is not to stop at what the tasks weigh
CHANNEL = "container-binary"
PATIENCE = 600.0  # seconds until all builds have come to their RUN
WATCHED = 20.0  # seconds that CPU time is counted for
MIB = 1024 * 1024 / 1e6  # the aims are in MB


def many_at_once(site: Site) -> list[tuple[str, list[Figure]]]:
    """Beside them: as many of Koji's own tasks `sleep`, the least that a task of kojid costs."""
    with _room(site) as kojid:
        bare, _ = _waiting(site, kojid, _sleeping)
        ours, cpu = _waiting(site, kojid, _building)
    figures = [
        _memory("PSS", [m.pss for m in ours], [m.pss for m in bare], old=24.0, aim=13.0),
        _memory("private", [m.private for m in ours], [m.private for m in bare], 15.0, 8.0),
        _memory("RSS", [m.rss for m in ours], [m.rss for m in bare], 57.0),
        Figure("CPU of one that waits", max(cpu), "%", spread=spread(cpu), aim=Aim(0.3)),
    ]
    flat = [figure for both in figures for figure in (both if isinstance(both, tuple) else (both,))]
    return [(f"{AT_ONCE} builds at once on one builder", flat)]


def _memory(
    name: str, ours: Sequence[float], bare: Sequence[float], old: float, aim: float | None = None
) -> tuple[Figure, Figure]:
    """Both in MB, of one task; `old`: in MiB, of its two processes."""
    mine, theirs = ([value * MIB for value in values] for values in (ours, bare))
    limit = Aim(aim) if aim else None
    first = against_old(f"{name} of one task", mine, "MB", old * MIB, limit)
    base = sum(theirs) / len(theirs)
    ratio = first.ours / base
    return first, Figure("the same", first.ours, "MB", base, "bare task", ratio)


@contextmanager
def _room(site: Site) -> Iterator[int]:
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


def _waiting(
    site: Site, kojid: int, begin: Callable[[Site, Any], Callable[[], bool]]
) -> tuple[list[Memory], list[float]]:
    """The memory of each task, and its CPU time in percent of a processor."""
    admin = site.stack.session(ADMIN)
    ready = begin(site, admin)
    try:
        _until(lambda: len(processes.below(kojid)) >= AT_ONCE and ready())
        time.sleep(2)  # what the last one did to come here is not to be counted
        tasks = processes.below(kojid)
        before = {pid: processes.cpu(pid).own for pid in tasks}
        time.sleep(WATCHED)
        busy = [100 * (processes.cpu(pid).own - before[pid]) / WATCHED for pid in tasks]
        return [processes.memory(pid) for pid in tasks], busy
    finally:
        for task in admin.listTasks(opts={"state": [koji.TASK_STATES["OPEN"]]}):
            admin.cancelTask(task["id"])
        _until(lambda: not processes.below(kojid))


def _sleeping(site: Site, admin: Any) -> Callable[[], bool]:
    for _ in range(AT_ONCE):
        admin.makeTask("sleep", [int(PATIENCE)], channel=CHANNEL)
    return lambda: True


def _building(site: Site, admin: Any) -> Callable[[], bool]:
    """Each in its RUN, as its log on the hub tells."""
    commit = site.commit("asleep", asleep(int(2 * PATIENCE)))
    tasks = [start(site, commit) for _ in range(AT_ONCE)]
    folders = [site.stack.places.topdir / "work" / koji.pathinfo.taskrelpath(t) for t in tasks]
    logs = [folder / arch_log(platform.machine()) for folder in folders]
    return lambda: all(log.exists() and MARK in log.read_bytes().split(b"\n") for log in logs)


def _until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > deadline:
            raise BuildBroke(f"{AT_ONCE} tasks at once did not get there in {PATIENCE:.0f} s.")
        time.sleep(1)

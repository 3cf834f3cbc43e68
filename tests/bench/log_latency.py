"""How long after it is written a line can be read through the hub."""

from __future__ import annotations

import platform
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import koji

from koji_containerbuild.contract.tasks import arch_log
from koji_containerbuild.devstack.seed import MULTI_BUILD_TAG, MULTI_TARGET, TARGET
from tests.bench.cluster_site import ClusterSite, follower
from tests.bench.figures import Aim, Figure, part, spread
from tests.bench.koji_build import ENDED, BuildBroke, start
from tests.bench.raw import Raw
from tests.bench.site import Site, talking, words
from tests.cluster.pods import script

LINES = 200
PAUSE = 0.05  # seconds between two lines
LOOK = 0.03  # seconds between two looks: half of it is in the figures
LINE = re.compile(rb"^bench-line \d+ (\d+\.\d+)$", re.M)


def log_latency(site: Site) -> list[tuple[str, list[Figure]]]:
    """Beside it: the same lines out of buildah's own pipe."""
    dockerfile = talking(LINES, PAUSE)
    context = site.context("talking", dockerfile)
    with Raw(site).talking(context) as lines:
        raw = [late for line in lines for late in lateness(line)]
    ours = list(_through_the_hub(site, dockerfile))
    rows = _rows(ours, raw, "from buildah's pipe")
    return [(f"line written → readable ({LINES} lines)", rows)]


def cluster_log_latency(site: ClusterSite) -> list[tuple[str, list[Figure]]]:
    """Beside it: the same lines out of a follower of a pod that is no build."""
    dockerfile = talking(LINES, PAUSE)
    ours = list(_through_the_hub(site, dockerfile))
    with site.pods() as pods:
        pods.run("talking", script(words(LINES, PAUSE)))
        pods.running("talking")
        with site.followed(["talking"], pods.namespace) as (program,):
            assert program.stdout
            raw = [late for line in iter(program.stdout.readline, b"") for late in lateness(line)]
    with _waiting_arch(site):
        beside_waiting = list(_through_the_hub(site, dockerfile, MULTI_TARGET))
    late = part(beside_waiting, 0.95)
    rows = [
        *_rows(ours, raw, f"by {follower()}"),
        Figure("p95 beside a waiting arch", late, "s", 20.0, "old", late / 20.0, aim=Aim(0.5)),
    ]
    return [(f"line written in a pod → readable ({LINES} lines)", rows)]


@contextmanager
def _waiting_arch(site: ClusterSite) -> Iterator[None]:
    """The second arch of a build never starts: there is no node for it, and none comes."""
    site.stack.admin.fresh_repo(MULTI_BUILD_TAG)
    site.koji.configure("kubernetes", arches="x86_64, aarch64")
    site.stack.up()
    try:
        yield
    finally:
        site.koji.configure("kubernetes")
        site.stack.up()


def _rows(ours: Sequence[float], raw: Sequence[float], of_raw: str) -> list[Figure]:
    rows = []
    for name, share, old, aim in (("p50", 0.5, 0.55, None), ("p95", 0.95, 1.01, Aim(0.5))):
        late = part(ours, share)
        rows.append(
            Figure(f"{name} through the hub", late, "s", old, "old", late / old, spread(ours), aim)
        )
        rows.append(Figure(f"{name} {of_raw}", part(raw, share)))
    rows.append(Figure("lines seen", len(ours), "", LINES, "written", len(ours) / LINES))
    return rows


def _through_the_hub(site: Site, dockerfile: str, target: str = TARGET) -> Iterator[float]:
    """Of the first arch; a build that another one keeps from ending is told to end."""
    session = site.stack.session()
    task = start(site, site.commit("talking", dockerfile), target)
    name = arch_log(platform.machine())
    while name not in session.listTaskOutput(task) and not _ended(session, task):
        time.sleep(LOOK)
    offset, rest, seen, ended = 0, b"", 0, False
    while not ended:
        ended = _ended(session, task)
        data = session.downloadTaskOutput(task, name, offset=offset)
        offset += len(data)
        whole, newline, rest = (rest + data).rpartition(b"\n")
        for late in lateness(whole + newline):
            seen += 1
            yield late
        if target != TARGET and seen == LINES:
            session.cancelTask(task)
            return
        time.sleep(LOOK)
    if session.getTaskInfo(task)["state"] != koji.TASK_STATES["CLOSED"]:
        raise BuildBroke(f"Task {task} did not succeed.")


def _ended(session: Any, task: int) -> bool:
    return session.getTaskInfo(task)["state"] in ENDED


def lateness(data: bytes) -> Iterator[float]:
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    for written in LINE.findall(data):
        yield max(0.0, now - float(written))

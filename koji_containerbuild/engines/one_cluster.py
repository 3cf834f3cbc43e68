"""The engine of one cluster: each arch of a build is an object that makes a pod.

What there is to know of a job is in the cluster, under names and labels made of hub and task. The
engine keeps what it knows for as long as it lives, to ask less.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Optional

from koji_containerbuild.engines import objects, pods
from koji_containerbuild.engines.base import Job, News
from koji_containerbuild.engines.cluster_objects import QUICK, ClusterObjects, label, name_of
from koji_containerbuild.engines.runs import Known, Runs
from koji_containerbuild.engines.streams import WATCHED, Item, Watch
from koji_containerbuild.errors import ServiceError

FIRST_LOOK, LONGEST_LOOK = 0.2, 2.0  # seconds between two looks whether a job has ended


class OneCluster:
    """Builds in the namespace of one cluster: placement.ClusterEngine."""

    def __init__(self, there: ClusterObjects) -> None:
        self.name = there.name
        self.cluster = there.cluster
        self._there = there
        self._jobs: dict[str, Runs] = {}

    @property
    def arches(self) -> Collection[str]:
        return self.cluster.arches

    def lacks(self, arch: str, *, runs: bool) -> str:
        """Nodes run what they are, so it does not matter whether programs run."""
        return "" if arch in self.cluster.arches else f"a cluster with nodes of {arch}"

    def start(self, job: Job) -> Job:
        self.start_arches(job, job.plan.arches)
        return replace(job, begun=self.known(job.name))

    def start_arches(self, job: Job, arches: Collection[str]) -> None:
        """As start, but only these."""
        runs = self._runs(job)
        for arch in arches:
            runs.start(arch)

    def follow(self, job: Job, beat: float) -> Iterator[News]:
        if job.name not in self._jobs:
            self.take_up(job, job.begun)
        return self.follow_arches(job, job.plan.arches, beat)

    def follow_arches(self, job: Job, arches: Collection[str], beat: float) -> Iterator[News]:
        """As follow, but only these."""
        runs = self._runs(job)
        self.close()  # nothing is asked for as long as it takes
        return pods.follow(runs, beat, arches)

    def known(self, name: str) -> Known:
        """What another process must know to follow a job. Plain data."""
        return self._jobs[name].known()

    def take_up(self, job: Job, known: Known) -> None:
        """Go on with what another process has begun."""
        self._jobs[job.name] = Runs(self._there, job, known)

    def adopt(
        self, job: Job, arches: Collection[str], patience: Optional[float] = None
    ) -> Collection[str]:
        """Those of the arches that are there, to be followed, by one question: see Runs."""
        return self._runs(job).adopt(arches, patience)

    def withdraw(self, name: str, arch: str) -> None:
        """Remove what has just been started, or perhaps was. Raises ServiceError."""
        for found in self._there.found(name, QUICK):
            if label(found, objects.ARCH) == arch:
                self._there.delete(name_of(found))
        if name in self._jobs:
            self._jobs[name].forget([arch])

    def _runs(self, job: Job) -> Runs:
        return self._jobs.setdefault(job.name, Runs(self._there, job))

    def cancel(self, name: str) -> None:
        there, runs = self._there, self._jobs.get(name)
        names = runs.cancel() if runs else []
        if runs is None or not runs.sure:
            names = [name_of(x) for x in there.found(name) if there.state_of(x) == "runs"]
        trouble: Optional[ServiceError] = None
        for each in names:
            try:
                there.end(each)
            except ServiceError as error:  # the others are told all the same
                trouble = error
        if trouble:
            raise trouble

    def remove(self, name: str, patience: float) -> bool:
        there = self._there
        runs = self._jobs.get(name)
        if runs and runs.over:
            names, ended = runs.names(), True
        else:
            ended = self._ends(name, patience)
            found = there.found(name)
            names = [name_of(x) for x in found if ended or there.state_of(x) == "cancelled"]
        for each in names:  # what was told to end goes, though its pod may take some seconds more
            there.delete(each)
        if ended:
            self._jobs.pop(name, None)
        return ended

    def _ends(self, name: str, patience: float) -> bool:
        """Looks, since a builder may not watch the objects, and a pod's end is not yet theirs."""
        deadline = time.monotonic() + patience
        wait = FIRST_LOOK
        while self._there.running(name):
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(wait, left))
            wait = min(2 * wait, LONGEST_LOOK)
        return True

    def names(self) -> Collection[str]:
        return sorted({label(found, objects.JOB) for found in self._there.all()})

    def close(self) -> None:
        """Close connections that nobody uses; builds go on."""
        self._there.api.close()

    def busy(self, patience: Optional[float] = None) -> int:
        """How many images are being built, of all jobs. Raises ServiceError."""
        return sum(self._there.state_of(found) == "runs" for found in self._there.all(patience))

    def changes(self, items: queue.Queue[Item]) -> Watch:
        """What tells, once it is started, that something about that number may have changed."""
        select = {"labelSelector": self._there.pods}
        api = self._there.api
        return Watch(api, items, api.path("v1", "pods"), select, WATCHED)

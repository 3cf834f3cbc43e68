"""The Kubernetes engine: each arch of a build is a Job of one cluster.

What there is to know of a job is in the cluster, under names and labels made of hub and task. The
engine keeps what it knows for as long as it lives, to ask less.
"""

from __future__ import annotations

import queue
import secrets
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from koji_containerbuild.config.cluster import ClusterConfig
from koji_containerbuild.contract.plan import BuildPlan
from koji_containerbuild.engines import objects, pods
from koji_containerbuild.engines.api import PATIENCE, Api, ApiError
from koji_containerbuild.engines.base import Job, News
from koji_containerbuild.engines.objects import Run
from koji_containerbuild.engines.pod_state import busy
from koji_containerbuild.engines.runs import State
from koji_containerbuild.engines.streams import WATCHED, Item, Watch
from koji_containerbuild.errors import ServiceError

JOBS = "batch/v1"
QUICK = 2.0  # seconds for a request of a task that is about to be ended
EXISTS, MISSING = 409, 404  # HTTP


class KubernetesEngine:
    """Builds in the namespace of one cluster."""

    def __init__(
        self,
        name: str,
        cluster: ClusterConfig,
        program: Sequence[str] = objects.PROGRAM,
        patience: float = PATIENCE,
    ) -> None:
        """`name`: of the section; `program`: what the pods run; `patience`: seconds for a question
        to a cluster that does not answer.
        """
        self.name = name
        self.cluster = cluster
        self._program = program
        self._api = Api(name, cluster)
        self._patience = patience
        self._jobs: dict[str, _Runs] = {}

    @property
    def arches(self) -> Collection[str]:
        return self.cluster.arches

    def lacks(self, arch: str, *, runs: bool) -> str:
        """Nodes run what they are, so it does not matter whether programs run."""
        return "" if arch in self.cluster.arches else f"a cluster with nodes of {arch}"

    def start(self, job: Job) -> None:
        self.start_arches(job, job.plan.arches)

    def start_arches(self, job: Job, arches: Collection[str]) -> None:
        """As start, but only these."""
        runs = self._jobs.setdefault(job.name, _Runs(self, job))
        for arch in arches:
            runs.start(arch)

    def follow(self, job: Job, beat: float) -> Iterator[News]:
        return self.follow_arches(job, job.plan.arches, beat)

    def follow_arches(self, job: Job, arches: Collection[str], beat: float) -> Iterator[News]:
        """As follow, but only these."""
        runs = self._jobs.setdefault(job.name, _Runs(self, job))
        missing = [arch for arch in arches if arch not in runs.arches()]
        for arch in missing:  # another process has started them
            runs.start(arch)
        self._api.close()  # nothing is asked for as long as it takes
        return pods.follow(runs, beat, arches)

    def cancel(self, name: str) -> None:
        runs = self._jobs.get(name)
        if runs:
            runs.cancel()
            return
        for found in self.found(name):
            if _state(found) == "runs":
                self.end(str(found["metadata"]["name"]))

    def remove(self, name: str, patience: float) -> bool:
        runs = self._jobs.get(name)
        if runs and runs.over:
            there, ended = runs.names(), True
        else:
            ended = self._ends(name, patience)
            found = [each for each in self.found(name) if ended or _state(each) == "cancelled"]
            there = [str(each["metadata"]["name"]) for each in found]
        for each in there:  # what was told to end goes, though its pod may take some seconds more
            self.delete(each)
        if ended:
            self._jobs.pop(name, None)
        return ended

    def _ends(self, name: str, patience: float) -> bool:
        deadline = time.monotonic() + patience
        while self._running(name):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.2)
        return True

    def names(self) -> Collection[str]:
        return sorted({_label(each, objects.JOB) for each in self._ours()} - {""})

    def close(self) -> None:
        """Close connections that nobody uses."""
        self._api.close()

    def here(self, name: str) -> Collection[str]:
        """The arches of a job that there are. Raises ServiceError."""
        return {_label(found, objects.ARCH) for found in self.found(name)}

    def busy(self) -> int:
        """How many images are being built, of all jobs. Raises ServiceError."""
        return sum(_state(found) == "runs" for found in self._ours())

    def changes(self, items: queue.Queue[Item]) -> Watch:
        """What tells, once it is started, that something about that number may have changed."""
        select = {"labelSelector": f"{objects.MANAGED}={objects.OURS}"}
        return Watch(self._api, items, self._api.path("v1", "pods"), select, WATCHED)

    # -- what is in the cluster

    def found(self, name: str) -> list[dict[str, Any]]:
        """The Jobs of a job."""
        return self._list("jobs", {objects.JOB: name}, JOBS)

    def _ours(self) -> list[dict[str, Any]]:
        return self._list("jobs", {objects.MANAGED: objects.OURS}, JOBS)

    def _running(self, name: str) -> bool:
        found = self._list("pods", {objects.JOB: name}, "v1")
        if any(busy(pod) for pod in found):
            return True
        return any(_state(each) == "runs" for each in self.found(name))

    def _list(self, kind: str, labels: Mapping[str, str], group: str) -> list[dict[str, Any]]:
        select = ",".join(f"{key}={value}" for key, value in labels.items())
        answer = self._api.call(
            "GET",
            self._api.path(group, kind),
            params={"labelSelector": select},
            patience=self._patience,
        )
        return list(answer.get("items") or ())

    def create(self, run: Run, plan: BuildPlan) -> dict[str, Any]:
        """Job and Secret. Raises ApiError with status 409 when there is such a Job."""
        secret = f"{run.name}-{secrets.token_hex(3)}"  # an earlier one may still be on its way out
        body = objects.job(run, plan, secret, self.cluster, self._program)
        made = self._api.call("POST", self._api.path(JOBS, "jobs"), body, patience=self._patience)
        self.give_plan(run, plan, made)
        return made

    def give_plan(self, run: Run, plan: BuildPlan, job: Mapping[str, Any]) -> None:
        """The Secret that the Job's pod waits for, if it is not there."""
        try:
            self._api.call("POST", self._api.path("v1", "secrets"), objects.secret(run, plan, job))
        except ApiError as error:
            if error.status != EXISTS:
                raise

    def get(self, name: str, patience: float) -> dict[str, Any]:
        """One Job. Raises ApiError."""
        return self._api.call("GET", self._api.path(JOBS, "jobs", name), patience=patience)

    def end(self, name: str, patience: float = QUICK) -> None:
        """Tell a Job to end."""
        try:
            path = self._api.path(JOBS, "jobs", name)
            self._api.call("PATCH", path, objects.cancelled(), patience=patience)
        except ApiError as error:
            if error.status != MISSING:
                raise

    def delete(self, name: str, patience: float = QUICK) -> None:
        """A Job and all that belongs to it."""
        try:
            path = self._api.path(JOBS, "jobs", name)
            self._api.call("DELETE", path, {"propagationPolicy": "Background"}, patience=patience)
        except ApiError as error:
            if error.status != MISSING:
                raise


class _Runs:
    """The runs of one job that this process follows: runs.Runs."""

    container = objects.CONTAINER

    def __init__(self, engine: KubernetesEngine, job: Job) -> None:
        self._engine = engine
        self._job = job
        self._runs: dict[str, Run] = {}
        self._uids: dict[str, str] = {}  # of the Jobs, by arch
        self._ended: set[str] = set()
        self._told_to_end = False
        self.api = engine._api
        self.start_seconds = engine.cluster.start_seconds
        self.seconds = job.plan.limits.seconds + self.start_seconds + objects.SLACK

    def start(self, arch: str) -> None:
        """Begin, or adopt."""
        run = Run(self._job.name, arch)
        try:
            made = self._engine.create(run, self._job.plan)
        except ApiError as error:
            if error.status != EXISTS:
                raise
            run, made = self._adopted(arch)
        self._set(arch, run, made)

    def _set(self, arch: str, run: Run, made: Mapping[str, Any]) -> None:
        self._runs[arch] = run
        self._uids[arch] = str(made["metadata"]["uid"])
        self._ended.discard(arch)

    def _adopted(self, arch: str) -> tuple[Run, dict[str, Any]]:
        """The last attempt, if it is of this plan and nobody has cancelled it; else a new one."""
        found = [
            each
            for each in self._engine.found(self._job.name)
            if _label(each, objects.ARCH) == arch
        ]
        found.sort(key=_attempt)
        plan = self._job.plan
        if found and _adoptable(found[-1], objects.plan_hash(plan.to_json())):
            run = Run(self._job.name, arch, _attempt(found[-1]))
            if _state(found[-1]) == "runs":
                self._engine.give_plan(run, plan, found[-1])
            return run, found[-1]
        for each in found:
            self._engine.delete(str(each["metadata"]["name"]))
        run = Run(self._job.name, arch)
        return run, self._engine.create(run, plan)

    @property
    def over(self) -> bool:
        """Whether we have seen the end of everything."""
        return bool(self._runs) and self._ended == set(self._runs)

    def names(self) -> list[str]:
        """Of the Jobs, of those too that were lost."""
        return [
            Run(run.job, run.arch, attempt).name
            for run in self._runs.values()
            for attempt in range(1, run.attempt + 1)
        ]

    def cancel(self) -> None:
        """What has ended by itself is not cancelled by that."""
        self._told_to_end = not self.over
        for arch, run in self._runs.items():
            if arch not in self._ended:
                self._engine.end(run.name)

    # -- for pods.follow

    def arches(self) -> Collection[str]:
        return [arch for arch in self._job.plan.arches if arch in self._runs]

    def selector(self) -> str:
        return f"{objects.JOB}={self._job.name}"

    def arch_of(self, pod: Mapping[str, Any]) -> str:
        """By the uid of its Job: pods of earlier ones may still be on their way out."""
        arch = _label(pod, objects.ARCH)
        owners = pod["metadata"].get("ownerReferences") or ()
        return arch if any(owner.get("uid") == self._uids.get(arch) for owner in owners) else ""

    def owner(self, arch: str) -> str:
        return self._runs[arch].name

    def told_to_end(self) -> bool:
        return self._told_to_end

    def state(self, arch: str, patience: float) -> State:
        try:
            found = self._engine.get(self._runs[arch].name, patience)
        except ApiError as error:
            if error.status == MISSING:
                return "gone"
            raise
        if found["metadata"]["uid"] != self._uids[arch]:
            return "gone"
        state = _state(found)  # asked for where there is no result: whatever told it to end, did so
        return "cancelled" if state == "ended" and _told(found) else state

    def again(self, arch: str, patience: float) -> bool:
        run = self._runs[arch]
        if run.attempt > self._engine.cluster.retries:
            return False
        # It stays, so that who starts the job again meets it, and finds the later try.
        self._engine.end(run.name, patience)
        following = Run(run.job, arch, run.attempt + 1)
        self._set(arch, following, self._engine.create(following, self._job.plan))
        return True

    def give_up(self, arch: str) -> None:
        try:
            self._engine.end(self._runs[arch].name)
        except ServiceError:
            return  # it will be removed, or come to its deadline

    def ended(self, arch: str) -> None:
        self._ended.add(arch)


def _label(found: Mapping[str, Any], name: str) -> str:
    return str((found["metadata"].get("labels") or {}).get(name) or "")


def _attempt(job: Mapping[str, Any]) -> int:
    text = _label(job, objects.ATTEMPT)
    return int(text) if text.isdigit() else 1


def _state(job: Mapping[str, Any]) -> State:
    """Source: the conditions of a Job in batch/v1."""
    meta = job["metadata"]
    for condition in (job.get("status") or {}).get("conditions") or ():
        if condition.get("status") != "True":
            continue
        if condition.get("type") == "Complete":
            return "ended"
        if condition.get("type") == "Failed":
            if condition.get("reason") == "DeadlineExceeded":
                return "deadline"
            return "cancelled" if _told(job) else "ended"
    if _told(job):
        return "cancelled"
    return "gone" if meta.get("deletionTimestamp") else "runs"


def _told(job: Mapping[str, Any]) -> bool:
    return objects.CANCELLED in (job["metadata"].get("annotations") or {})


def _adoptable(job: Mapping[str, Any], plan_hash: str) -> bool:
    annotations = job["metadata"].get("annotations") or {}
    return annotations.get(objects.PLAN) == plan_hash and _state(job) not in ("cancelled", "gone")

"""The OpenShift engine: each arch of a build is a Build of the custom strategy.

What runs, and where, is said by BuildConfigs of the admin, one for each arch: a BuildRequest cannot
choose nodes or an image. It brings a plan, as environment variables, and our labels. OpenShift
names Builds by counting; so that a task that is started again makes no second one, it looks for
labels first and asks for a number that is the next only if nobody else has begun a Build since.
Why so: docs/adr/0012-openshift-builds.md.
"""

from __future__ import annotations

import queue
import random
import time
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Optional

from koji_containerbuild.config.cluster import ClusterConfig
from koji_containerbuild.engines import objects, pods
from koji_containerbuild.engines.api import Api, ApiError
from koji_containerbuild.engines.base import Job, News
from koji_containerbuild.engines.build_objects import BUILD, GROUP, of_builds, request, state_of
from koji_containerbuild.engines.objects import Run
from koji_containerbuild.engines.pod_state import busy
from koji_containerbuild.engines.runs import State
from koji_containerbuild.engines.streams import WATCHED, Item, Watch
from koji_containerbuild.errors import ConfigError, ServiceError

CONTAINER = "custom-build"  # OpenShift's name for it
QUICK = 2.0  # seconds for a request of a task that is about to be ended
CROWDED = 60.0  # seconds that others may be quicker in beginning Builds
REFUSED, MISSING, CONFLICT = 400, 404, 409  # HTTP


class OpenShiftEngine:
    """Builds in the namespace of one cluster."""

    def __init__(self, name: str, cluster: ClusterConfig) -> None:
        """`name`: of the section."""
        self.name = name
        self.cluster = cluster
        self.api = Api(name, cluster)
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
        for arch in set(arches) - set(runs.arches()):  # another process has started it
            runs.start(arch)
        self.api.close()  # nothing is asked for as long as it takes
        return pods.follow(runs, beat, arches)

    def cancel(self, name: str) -> None:
        runs = self._jobs.get(name)
        if runs:
            runs.cancel()
            return
        for build in self.found(name):
            if state_of(build) == "runs":
                self.end(_name(build))

    def remove(self, name: str, patience: float) -> bool:
        runs = self._jobs.get(name)
        if runs and runs.over:
            there, ended = runs.names(), True
        else:
            ended = self._ends(name, patience)
            found = [each for each in self.found(name) if ended or state_of(each) == "cancelled"]
            there = [_name(each) for each in found]
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

    def close(self) -> None:
        """Close connections; builds go on."""
        self.api.close()

    def names(self) -> Collection[str]:
        """By our own label: a BuildConfig may overrule those that others use, too."""
        return sorted({_labels(build)[objects.JOB] for build in self._list("builds", objects.JOB)})

    def here(self, name: str) -> Collection[str]:
        """The arches of a job that there are. Raises ServiceError."""
        return {_labels(build).get(objects.ARCH, "") for build in self.found(name)}

    def busy(self) -> int:
        """How many images are being built, of all jobs. Raises ServiceError."""
        return sum(state_of(build) == "runs" for build in self._list("builds", objects.JOB))

    def changes(self, items: queue.Queue[Item]) -> Watch:
        """What tells, once it is started, that something about that number may have changed."""
        select = {"labelSelector": BUILD}
        return Watch(self.api, items, self.api.path("v1", "pods"), select, WATCHED)

    # -- what is in the cluster

    def found(self, name: str) -> list[dict[str, Any]]:
        """The Builds of a job."""
        return self._list("builds", f"{objects.JOB}={name}")

    def _running(self, name: str) -> bool:
        found = self.found(name)
        if any(state_of(build) == "runs" for build in found):
            return True
        return bool(found) and any(
            busy(pod) for pod in self._list("pods", of_builds([_name(build) for build in found]))
        )

    def _list(self, kind: str, selector: str) -> list[dict[str, Any]]:
        path = self.api.path("v1" if kind == "pods" else GROUP, kind)
        answer = self.api.call("GET", path, params={"labelSelector": selector})
        return list(answer.get("items") or ())

    def config_of(self, arch: str) -> dict[str, Any]:
        """The BuildConfig for an arch. Raises ConfigError, ApiError."""
        name = self.cluster.build_config.replace("{arch}", arch.replace("_", "-"))
        try:
            found = self.api.call("GET", self.api.path(GROUP, "buildconfigs", name))
        except ApiError as error:
            if error.status != MISSING:
                raise
            raise ConfigError(
                f"The cluster {self.name} has no BuildConfig '{name}' for {arch}.",
                do=f"An admin should make it, or set build_config in [cluster {self.name}].",
            ) from error
        policy = found["spec"].get("runPolicy", "Serial")
        if policy != "Parallel":
            raise ConfigError(
                f"The BuildConfig '{name}' of the cluster {self.name} has the runPolicy {policy}: "
                "builds would wait for each other, or end each other.",
                do="An admin should set spec.runPolicy to Parallel.",
            )
        return found

    def get(self, name: str, patience: float) -> dict[str, Any]:
        """One Build. Raises ApiError."""
        return self.api.call("GET", self.api.path(GROUP, "builds", name), patience=patience)

    def end(self, name: str) -> None:
        """Tell a Build to end, as `oc cancel-build` does."""
        self._ask("PATCH", name, {"status": {"cancelled": True}})

    def delete(self, name: str) -> None:
        """A Build with its pod."""
        self._ask("DELETE", name, {"propagationPolicy": "Background"})

    def _ask(self, method: str, name: str, body: Mapping[str, Any]) -> None:
        try:
            self.api.call(method, self.api.path(GROUP, "builds", name), body, patience=QUICK)
        except ApiError as error:
            if error.status != MISSING:
                raise


class _Runs:
    """The runs of one job that this process follows: pods.Runs."""

    container = CONTAINER

    def __init__(self, engine: OpenShiftEngine, job: Job) -> None:
        self._engine = engine
        self._job = job
        self._builds: dict[str, dict[str, Any]] = {}  # metadata, by arch
        self._ended: set[str] = set()
        self._told_to_end = False
        self.api = engine.api
        self.start_seconds = engine.cluster.start_seconds
        self.seconds = job.plan.limits.seconds + self.start_seconds + objects.SLACK

    def start(self, arch: str, attempt: int = 1, patience: float = CROWDED) -> None:
        """Begin, or adopt. Raises ServiceError, ConfigError, BadRequest."""
        deadline = time.monotonic() + patience
        refusal, asked_for = None, -1
        while True:
            config = self._engine.config_of(arch)
            version = int((config.get("status") or {}).get("lastVersion", 0))
            if refusal and (version == asked_for or time.monotonic() > deadline):
                raise refusal  # not because another was quicker, or always so
            found = self._adopted(arch, attempt)
            if found is None:
                try:
                    found = self._begin(Run(self._job.name, arch, attempt), config, version)
                except ApiError as error:
                    if error.status not in (REFUSED, CONFLICT):
                        raise
                    refusal, asked_for = error, version
                    time.sleep(random.uniform(0, 0.2))  # noqa: S311  no secret in it
                    continue
            self._builds[arch] = found["metadata"]
            self._ended.discard(arch)
            return

    def _begin(self, run: Run, config: Mapping[str, Any], version: int) -> dict[str, Any]:
        name = _name(config)
        path = self.api.path(GROUP, "buildconfigs", name, "instantiate")
        return self.api.call("POST", path, request(run, self._job.plan, name, version))

    def _adopted(self, arch: str, attempt: int) -> Optional[dict[str, Any]]:
        """The last of this plan that nobody has cancelled; the others are removed."""
        found = [
            build
            for build in self._engine.found(self._job.name)
            if _labels(build).get(objects.ARCH) == arch
        ]
        found.sort(key=_attempt)
        wanted = objects.plan_hash(self._job.plan.to_json())
        if found and _adoptable(found[-1], wanted) and _attempt(found[-1]) >= attempt:
            return found[-1]
        for build in found:
            self._engine.delete(_name(build))
        return None

    @property
    def over(self) -> bool:
        """Whether we have seen the end of everything."""
        return bool(self._builds) and self._ended == set(self._builds)

    def names(self) -> list[str]:
        """Of the Builds that count."""
        return [meta["name"] for meta in self._builds.values()]

    def cancel(self) -> None:
        """What has ended by itself is not cancelled by that."""
        self._told_to_end = not self.over
        for arch, meta in self._builds.items():
            if arch not in self._ended:
                self._engine.end(meta["name"])

    # -- for pods.follow

    def arches(self) -> Collection[str]:
        return [arch for arch in self._job.plan.arches if arch in self._builds]

    def selector(self) -> str:
        return of_builds(self.names())

    def arch_of(self, pod: Mapping[str, Any]) -> str:
        owners = {owner.get("uid") for owner in pod["metadata"].get("ownerReferences") or ()}
        return next((a for a, meta in self._builds.items() if meta["uid"] in owners), "")

    def owner(self, arch: str) -> str:
        return str(self._builds[arch]["name"])

    def told_to_end(self) -> bool:
        return self._told_to_end

    def state(self, arch: str, patience: float) -> State:
        try:
            build = self._engine.get(self.owner(arch), patience)
        except ApiError as error:
            if error.status == MISSING:
                return "gone"
            raise
        return state_of(build) if build["metadata"]["uid"] == self._builds[arch]["uid"] else "gone"

    def again(self, arch: str, patience: float) -> bool:
        attempt = _attempt({"metadata": self._builds[arch]})
        if attempt > self._engine.cluster.retries:
            return False
        self.start(arch, attempt + 1, patience)
        return True

    def give_up(self, arch: str) -> None:
        try:
            self._engine.end(self.owner(arch))
        except ServiceError:
            return  # it will be removed, or come to its deadline

    def ended(self, arch: str) -> None:
        self._ended.add(arch)


def _adoptable(build: Mapping[str, Any], plan_hash: str) -> bool:
    annotations = build["metadata"].get("annotations") or {}
    return annotations.get(objects.PLAN) == plan_hash and state_of(build) in ("runs", "ended")


def _name(found: Mapping[str, Any]) -> str:
    return str(found["metadata"]["name"])


def _labels(found: Mapping[str, Any]) -> Mapping[str, str]:
    return found["metadata"].get("labels") or {}


def _attempt(build: Mapping[str, Any]) -> int:
    text = _labels(build).get(objects.ATTEMPT, "")
    return int(text) if text.isdigit() else 1

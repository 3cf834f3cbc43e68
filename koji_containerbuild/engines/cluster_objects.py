"""What the arches of builds are in one cluster: Jobs of Kubernetes, or Builds of OpenShift.

What these have in common is here, the rest in kubernetes.py and openshift.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Optional

from koji_containerbuild.config.cluster import ClusterConfig
from koji_containerbuild.contract.plan import BuildPlan
from koji_containerbuild.engines import objects
from koji_containerbuild.engines.api import PATIENCE, Api, ApiError
from koji_containerbuild.engines.objects import Run
from koji_containerbuild.engines.pod_state import busy

State = Literal["runs", "ended", "cancelled", "deadline", "gone"]
QUICK = 2.0  # seconds for a request of a task that is about to be ended
MISSING = 404  # HTTP


class ClusterObjects(ABC):
    """In the namespace of one cluster, one for each run. An object is as the API has it."""

    group: ClassVar[str]  # of the API
    kind: ClassVar[str]  # as paths have it
    container: ClassVar[str]  # the one in the pod that builds
    pods: ClassVar[str]  # label selector of the pods of all builds

    def __init__(self, name: str, cluster: ClusterConfig, patience: float = PATIENCE) -> None:
        """`name`: of the section; `patience`: seconds for a question to a cluster that does not
        answer. Raises ServiceError when a file of the section cannot be read.
        """
        self.name = name
        self.cluster = cluster
        self.patience = patience
        self.api = Api(name, cluster)

    @abstractmethod
    def begin(
        self, run: Run, plan: BuildPlan, patience: float, *, fresh: bool = False
    ) -> dict[str, Any]:
        """The object of a run: one that is there already is adopted.

        `patience`: seconds for trying; `fresh`: none can be there. Raises ServiceError,
        ConfigError, BadRequest.
        """

    @abstractmethod
    def state_of(self, found: Mapping[str, Any]) -> State:
        """What an object says."""

    @abstractmethod
    def ending(self) -> dict[str, Any]:
        """The patch that tells it to end; it stays, to tell."""

    @abstractmethod
    def pods_of(self, job: str, names: Sequence[str]) -> str:
        """The label selector of the pods of a job, whose objects have these names."""

    def end_of(self, found: Mapping[str, Any]) -> State:
        """As state_of, of one that has left no result."""
        return self.state_of(found)

    def tries(self, run: Run, name: str) -> list[str]:
        """Of the object with that name, and of those that the cluster has lost before."""
        return [name]

    @abstractmethod
    def complete(self, run: Run, plan: BuildPlan, found: Mapping[str, Any]) -> None:
        """What lacks in an object whose maker may have died over it."""

    def last_tries(
        self, job: str, plan: BuildPlan, patience: Optional[float] = None
    ) -> dict[str, dict[str, Any]]:
        """By arch, those that are of this plan and that nobody has cancelled: one request."""
        last = {label(found, objects.ARCH): found for found in self.found(job, patience)}
        return {arch: found for arch, found in last.items() if self._adoptable(found, plan)}

    def adopted(self, run: Run, plan: BuildPlan) -> Optional[dict[str, Any]]:
        """The last try, if it is of this plan and nobody has cancelled it; else all are deleted."""
        found = [each for each in self.found(run.job) if label(each, objects.ARCH) == run.arch]
        if found and attempt(found[-1]) >= run.attempt and self._adoptable(found[-1], plan):
            return found[-1]
        for each in found:
            self.delete(name_of(each))
        return None

    def _adoptable(self, found: Mapping[str, Any], plan: BuildPlan) -> bool:
        annotations = found["metadata"].get("annotations") or {}
        ours = annotations.get(objects.PLAN) == objects.plan_hash(plan.to_json())
        return ours and self.state_of(found) not in ("cancelled", "gone")

    def found(self, job: str, patience: Optional[float] = None) -> list[dict[str, Any]]:
        """Those of a job, later tries last."""
        return sorted(self._list(self.path(), f"{objects.JOB}={job}", patience), key=attempt)

    def all(self, patience: Optional[float] = None) -> list[dict[str, Any]]:
        """By our own label: an admin's BuildConfig may overrule those that others use, too."""
        return self._list(self.path(), objects.JOB, patience)

    def running(self, job: str) -> bool:
        """Whether an object of a job, or a pod, still does something."""
        found = self.found(job)
        if any(self.state_of(each) == "runs" for each in found):
            return True
        select = self.pods_of(job, [name_of(each) for each in found])
        return bool(select) and any(map(busy, self._list(self.api.path("v1", "pods"), select)))

    def _list(
        self, path: str, select: str, patience: Optional[float] = None
    ) -> list[dict[str, Any]]:
        params = {"labelSelector": select}
        patience = self.patience if patience is None else patience
        answer = self.api.call("GET", path, params=params, patience=patience)
        return list(answer.get("items") or ())

    def path(self, *name: str) -> str:
        """Of one of them, or of all."""
        return self.api.path(self.group, self.kind, *name)

    def get(self, name: str, patience: float) -> Optional[dict[str, Any]]:
        """None: there is no such object. Raises ApiError."""
        return self._ask("GET", name, None, patience)

    def end(self, name: str, patience: float = QUICK) -> None:
        """Tell it to end; not there is not an error."""
        self._ask("PATCH", name, self.ending(), patience)

    def delete(self, name: str) -> None:
        """And all that belongs to it; not there is not an error."""
        self._ask("DELETE", name, {"propagationPolicy": "Background"}, QUICK)

    def _ask(
        self, method: str, name: str, body: Optional[Mapping[str, Any]], patience: float
    ) -> Optional[dict[str, Any]]:
        try:
            return self.api.call(method, self.path(name), body, patience=patience)
        except ApiError as error:
            if error.status != MISSING:
                raise
            return None


def name_of(found: Mapping[str, Any]) -> str:
    """Of an object."""
    return str(found["metadata"]["name"])


def label(found: Mapping[str, Any], name: str) -> str:
    """Of an object; empty: it has none of that name."""
    return str((found["metadata"].get("labels") or {}).get(name) or "")


def attempt(found: Mapping[str, Any]) -> int:
    """Of an object: which try of its arch it is."""
    text = label(found, objects.ATTEMPT)
    return int(text) if text.isdigit() else 1

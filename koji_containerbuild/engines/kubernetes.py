"""The Kubernetes engine: each arch of a build is a Job of one cluster."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from koji_containerbuild.config.cluster import ClusterConfig
from koji_containerbuild.contract.plan import BuildPlan
from koji_containerbuild.engines import objects
from koji_containerbuild.engines.api import PATIENCE, ApiError
from koji_containerbuild.engines.cluster_objects import ClusterObjects, State, attempt
from koji_containerbuild.engines.objects import Run
from koji_containerbuild.engines.one_cluster import OneCluster

EXISTS = 409  # HTTP


class KubernetesEngine(OneCluster):
    """Builds in the namespace of one cluster."""

    def __init__(
        self,
        name: str,
        cluster: ClusterConfig,
        program: Sequence[str] = objects.PROGRAM,
        patience: float = PATIENCE,
    ) -> None:
        """As ClusterObjects; `program`: what the pods run."""
        super().__init__(_Jobs(name, cluster, program, patience))


class _Jobs(ClusterObjects):
    group, kind = "batch/v1", "jobs"
    container = objects.CONTAINER
    pods = f"{objects.MANAGED}={objects.OURS}"

    def __init__(
        self, name: str, cluster: ClusterConfig, program: Sequence[str], patience: float
    ) -> None:
        super().__init__(name, cluster, patience)
        self._program = program

    def begin(
        self, run: Run, plan: BuildPlan, patience: float, *, fresh: bool = False
    ) -> dict[str, Any]:
        """A Job's name is known beforehand, so there is no need to look first."""
        if run.attempt > 1:
            # It stays, so that who starts the job again meets it, and finds the later try.
            self.end(dataclasses.replace(run, attempt=run.attempt - 1).name, patience)
        try:
            return self._create(run, plan)
        except ApiError as error:
            if error.status != EXISTS:
                raise
        found = self.adopted(run, plan)
        if found is None:
            return self._create(run, plan)
        self.complete(run, plan, found)
        return found

    def complete(self, run: Run, plan: BuildPlan, found: Mapping[str, Any]) -> None:
        """Who has made the Job may not have come to make the Secret."""
        if self.state_of(found) == "runs":
            self._give_plan(dataclasses.replace(run, attempt=attempt(found)), plan, found)

    def _create(self, run: Run, plan: BuildPlan) -> dict[str, Any]:
        """Job and Secret. Raises ApiError with status 409 when there is such a Job."""
        secret = f"{run.name}-{secrets.token_hex(3)}"  # an earlier one may still be on its way out
        body = objects.job(run, plan, secret, self.cluster, self._program)
        made = self.api.call("POST", self.path(), body, patience=self.patience)
        self._give_plan(run, plan, made)
        return made

    def _give_plan(self, run: Run, plan: BuildPlan, job: Mapping[str, Any]) -> None:
        """The Secret that the Job's pod waits for, if it is not there."""
        try:
            self.api.call("POST", self.api.path("v1", "secrets"), objects.secret(run, plan, job))
        except ApiError as error:
            if error.status != EXISTS:
                raise

    def state_of(self, found: Mapping[str, Any]) -> State:
        """Source: the conditions of a Job in batch/v1."""
        for condition in (found.get("status") or {}).get("conditions") or ():
            if condition.get("status") != "True":
                continue
            if condition.get("type") == "Complete":
                return "ended"
            # The first of them comes at once, since 1.31; Failed when all pods have ended.
            if condition.get("type") in ("FailureTarget", "Failed"):
                if condition.get("reason") == "DeadlineExceeded":
                    return "deadline"
                return "cancelled" if _told(found) else "ended"
        if _told(found):
            return "cancelled"
        return "gone" if found["metadata"].get("deletionTimestamp") else "runs"

    def end_of(self, found: Mapping[str, Any]) -> State:
        """Whatever told it to end, did so, though it may have ended as if by itself."""
        state = self.state_of(found)
        return "cancelled" if state == "ended" and _told(found) else state

    def ending(self) -> dict[str, Any]:
        return objects.cancelled()

    def pods_of(self, job: str, names: Sequence[str]) -> str:
        """Those too that are on their way out after their Jobs."""
        return f"{objects.JOB}={job}"

    def tries(self, run: Run, name: str) -> list[str]:
        return [dataclasses.replace(run, attempt=n).name for n in range(1, run.attempt + 1)]


def _told(job: Mapping[str, Any]) -> bool:
    return objects.CANCELLED in (job["metadata"].get("annotations") or {})

"""The OpenShift engine: each arch of a build is a Build of the custom strategy.

What runs, and where, is said by BuildConfigs of the admin, one for each arch: a BuildRequest cannot
choose nodes or an image. It brings a plan, as environment variables, and our labels. OpenShift
names Builds by counting; so that a task that is started again makes no second one, it looks for
labels first and asks for a number that is the next only if nobody else has begun a Build since.
Why so: docs/adr/0012-openshift-builds.md.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

from koji_containerbuild.config.cluster import ClusterConfig
from koji_containerbuild.contract.plan import BuildPlan
from koji_containerbuild.engines.api import PATIENCE, ApiError
from koji_containerbuild.engines.build_objects import BUILD, GROUP, of_builds, request, state_of
from koji_containerbuild.engines.cluster_objects import MISSING, ClusterObjects, State, name_of
from koji_containerbuild.engines.objects import Run
from koji_containerbuild.engines.one_cluster import OneCluster
from koji_containerbuild.errors import ConfigError

REFUSED, CONFLICT = 400, 409  # HTTP


class OpenShiftEngine(OneCluster):
    """Builds in the namespace of one cluster."""

    def __init__(self, name: str, cluster: ClusterConfig, patience: float = PATIENCE) -> None:
        """As ClusterObjects."""
        super().__init__(Builds(name, cluster, patience))


class Builds(ClusterObjects):
    """Of the custom strategy."""

    group, kind = GROUP, "builds"
    container = "custom-build"  # OpenShift's name for it
    pods = BUILD

    def begin(
        self, run: Run, plan: BuildPlan, patience: float, *, fresh: bool = False
    ) -> dict[str, Any]:
        """`patience`: that others may be quicker in beginning Builds."""
        deadline = time.monotonic() + patience
        refusal, asked_for = None, -1
        while True:
            config = self.config_of(run.arch)
            version = int((config.get("status") or {}).get("lastVersion", 0))
            if refusal and (version == asked_for or time.monotonic() > deadline):
                raise refusal  # not because another was quicker, or always so
            found = None if fresh and not refusal else self.adopted(run, plan)
            if found:
                return found
            try:
                return self._instantiate(run, plan, name_of(config), version)
            except ApiError as error:
                if error.status not in (REFUSED, CONFLICT):
                    raise
                refusal, asked_for = error, version
                time.sleep(random.uniform(0, 0.2))  # noqa: S311  no secret in it

    def _instantiate(self, run: Run, plan: BuildPlan, config: str, version: int) -> dict[str, Any]:
        path = self.api.path(GROUP, "buildconfigs", config, "instantiate")
        return self.api.call("POST", path, request(run, plan, config, version))

    def config_of(self, arch: str) -> dict[str, Any]:
        """The BuildConfig for an arch. Raises ConfigError, ApiError."""
        name = self.cluster.build_config.replace("{arch}", arch.replace("_", "-"))
        try:
            path = self.api.path(GROUP, "buildconfigs", name)
            found = self.api.call("GET", path, patience=self.patience)
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

    def complete(self, run: Run, plan: BuildPlan, found: Mapping[str, Any]) -> None:
        """Its plan is in it."""

    def state_of(self, found: Mapping[str, Any]) -> State:
        return state_of(found)

    def ending(self) -> dict[str, Any]:
        """As `oc cancel-build` does."""
        return {"status": {"cancelled": True}}

    def pods_of(self, job: str, names: Sequence[str]) -> str:
        """OpenShift labels them with their Builds' names alone."""
        return of_builds(names) if names else ""

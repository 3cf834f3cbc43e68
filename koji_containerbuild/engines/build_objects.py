"""What a build is in OpenShift: the BuildRequest, and what its Build says. Pure.

What runs, and where, is not here: the admin's BuildConfig has it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from koji_containerbuild.contract.plan import BuildPlan
from koji_containerbuild.contract.plan_text import ARCH, VARIABLE, to_variable
from koji_containerbuild.engines import objects
from koji_containerbuild.engines.cluster_objects import State
from koji_containerbuild.engines.objects import Run

GROUP = "build.openshift.io/v1"
BUILD = "openshift.io/build.name"  # label of a pod; it has no other
ENDED = ("Complete", "Failed", "Error")


def request(run: Run, plan: BuildPlan, config: str, version: int) -> dict[str, Any]:
    """What makes the next Build of a BuildConfig, if `version` is that of its last one.

    Raises BadRequest when the plan is too large.
    """
    text = plan.to_json()
    variables = {VARIABLE: to_variable(text), ARCH: run.arch}
    return {
        "apiVersion": GROUP,
        "kind": "BuildRequest",
        "metadata": {
            "name": config,
            "labels": run.labels,
            "annotations": {objects.PLAN: objects.plan_hash(text)},
        },
        "env": [{"name": name, "value": value} for name, value in variables.items()],
        "lastVersion": version,
        "triggeredBy": [{"message": f"{run.job}: {plan.nvr}"}],
    }


def of_builds(names: Sequence[str]) -> str:
    """The label selector of their pods."""
    return f"{BUILD} in ({','.join(names)})"


def state_of(build: Mapping[str, Any]) -> State:
    """Source: phases and reasons of BuildStatus in build.openshift.io/v1."""
    status = build.get("status") or {}
    if status.get("phase") in ENDED:
        return "gone" if status.get("reason") == "BuildPodDeleted" else "ended"
    if status.get("cancelled") or status.get("phase") == "Cancelled":
        return "cancelled"
    return "gone" if build["metadata"].get("deletionTimestamp") else "runs"

"""What following pods needs to know of an engine: the promises between it and engines/pods.py."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal, Protocol

from koji_containerbuild.engines.api import Api

State = Literal["runs", "ended", "cancelled", "deadline", "gone"]


class Runs(Protocol):
    """What following needs to know of the runs of one job. The objects are the engine's."""

    api: Api
    container: str  # the one in the pod that builds
    start_seconds: int  # until a pod that does not start is an error
    seconds: int  # that a build may take, start and all

    def arches(self) -> Collection[str]:
        """Those that are to be followed."""

    def selector(self) -> str:
        """The label selector of all pods that there are or may be."""

    def arch_of(self, pod: Mapping[str, Any]) -> str:
        """Whose pod it is now; empty: nobody's, or that of a run that is given up."""

    def owner(self, arch: str) -> str:
        """Name of the object that makes the pod: while there is none, it has the events."""

    def told_to_end(self) -> bool:
        """Whether this process has cancelled the job."""

    def state(self, arch: str, patience: float) -> State:
        """Of the object that makes the pod. Asks the cluster. Raises ServiceError."""

    def again(self, arch: str, patience: float) -> bool:
        """Start anew what the cluster has lost; False: not any more. Raises ServiceError."""

    def give_up(self, arch: str) -> None:
        """End an arch that does not start. Raises nothing."""

    def ended(self, arch: str) -> None:
        """Nothing of it runs any more."""

"""The runs of one job that this process follows: what engines/pods.py asks about."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Optional

from koji_containerbuild.engines import objects
from koji_containerbuild.engines.base import Job
from koji_containerbuild.engines.cluster_objects import ClusterObjects, State, attempt, name_of
from koji_containerbuild.engines.objects import Run
from koji_containerbuild.errors import ServiceError

BEGIN = 60.0  # seconds

Known = tuple[dict[str, dict[str, Any]], set[str]]  # of Runs


class Runs:
    """Each arch's last one, with the object that it is in the cluster."""

    def __init__(self, cluster: ClusterObjects, job: Job, known: Optional[Known] = None) -> None:
        """`known`: to another process, which has begun them."""
        self._cluster = cluster
        self._job = job
        # Metadata of the objects by arch; those that may be there: no answer has told.
        self._made, self._unsure = known or ({}, set())
        self._ended: set[str] = set()
        self._given_up: set[str] = set()  # another is to come, which may take more than one attempt
        self._told_to_end = False
        self.api = cluster.api
        self.container = cluster.container  # the one in the pod that builds
        # Until a pod that does not start is an error, and until all of it takes too long.
        self.start_seconds = cluster.cluster.start_seconds
        self.seconds = job.plan.limits.seconds + self.start_seconds + objects.SLACK

    def start(self, arch: str, attempt: int = 1, patience: float = BEGIN) -> None:
        """Begin, or adopt. Raises ServiceError, ConfigError, BadRequest."""
        run = Run(self._job.name, arch, attempt)
        fresh = self._job.fresh and arch not in self._made and arch not in self._unsure
        self._unsure.add(arch)
        made = self._cluster.begin(run, self._job.plan, patience, fresh=fresh)
        self._unsure.discard(arch)
        self._set(arch, made)

    def _set(self, arch: str, made: Mapping[str, Any]) -> None:
        self._made[arch] = {"metadata": made["metadata"]}
        self._ended.discard(arch)
        self._given_up.discard(arch)

    def known(self) -> Known:
        """For another process, which is to go on with them."""
        return self._made, self._unsure

    def adopt(self, arches: Collection[str], patience: Optional[float] = None) -> Collection[str]:
        """Those of the arches that are there, by one question. Raises ServiceError."""
        plan = self._job.plan
        self._unsure.update(arches)
        found = self._cluster.last_tries(self._job.name, plan, patience)
        self._unsure.difference_update(arches)
        there = [arch for arch in arches if arch in found]
        for arch in there:
            self._cluster.complete(Run(self._job.name, arch), plan, found[arch])
            self._set(arch, found[arch])
        return there

    def forget(self, arches: Collection[str]) -> None:
        """They are not there any more."""
        for arch in arches:
            self._made.pop(arch, None)
            self._unsure.discard(arch)

    @property
    def sure(self) -> bool:
        """Whether we know all that there is."""
        return not self._unsure

    @property
    def over(self) -> bool:
        """Whether we have seen the end of everything."""
        return bool(self._made) and self.sure and self._ended == set(self._made)

    def names(self) -> list[str]:
        """Of the objects, of those too that were lost and may still be there."""
        return [
            name
            for arch, made in self._made.items()
            for name in self._cluster.tries(self._run(arch), name_of(made))
        ]

    def _run(self, arch: str) -> Run:
        return Run(self._job.name, arch, attempt(self._made[arch]))

    def cancel(self) -> list[str]:
        """Names of the objects to tell. What has ended by itself is not cancelled by that."""
        self._told_to_end = not self.over
        return [self.owner(arch) for arch in self._made if arch not in self._ended]

    # -- for pods.follow

    def arches(self) -> Collection[str]:
        """Those that are to be followed."""
        return [arch for arch in self._job.plan.arches if arch in self._made]

    def selector(self) -> str:
        """The label selector of all pods that there are or may be."""
        return self._cluster.pods_of(self._job.name, [name_of(one) for one in self._made.values()])

    def arch_of(self, pod: Mapping[str, Any]) -> str:
        """Whose pod it is now; empty: nobody's, or that of a run that is given up."""
        owners = {owner.get("uid") for owner in pod["metadata"].get("ownerReferences") or ()}
        return next((arch for arch in self._made if self.uid(arch) in owners), "")

    def owner(self, arch: str) -> str:
        """Name of the object that makes the pod: while there is none, it has the events."""
        return name_of(self._made[arch])

    def uid(self, arch: str) -> str:
        """Of that object."""
        return str(self._made[arch]["metadata"]["uid"])

    def told_to_end(self) -> bool:
        """Whether this process has cancelled the job."""
        return self._told_to_end

    def state(self, arch: str, patience: float) -> State:
        """Of the object, where there is no result. Asks the cluster. Raises ServiceError."""
        if arch in self._given_up:  # it may have been told to end, by us
            return "gone"
        found = self._cluster.get(self.owner(arch), patience)
        if found is None or found["metadata"]["uid"] != self.uid(arch):
            return "gone"
        return self._cluster.end_of(found)

    def again(self, arch: str, patience: float) -> bool:
        """Start anew what the cluster has lost; False: not any more. Raises ServiceError."""
        before = attempt(self._made[arch])
        if before > self._cluster.cluster.retries:
            return False
        self._given_up.add(arch)
        self.start(arch, before + 1, patience)
        return True

    def give_up(self, arch: str) -> None:
        """End an arch that does not start. Raises nothing."""
        try:
            self._cluster.end(self.owner(arch))
        except ServiceError:
            return  # it will be removed, or come to its deadline

    def ended(self, arch: str) -> None:
        """Nothing of it runs any more."""
        self._ended.add(arch)

"""Several clusters as one engine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import Optional, TypeVar

from koji_containerbuild.engines.base import Job, News
from koji_containerbuild.engines.placement import ClusterEngine, Placement
from koji_containerbuild.errors import ServiceError

T = TypeVar("T")


class Clusters:
    """Builds where there is room."""

    def __init__(self, engines: Sequence[ClusterEngine]) -> None:
        """`engines`: in the order of preference."""
        self._engines = engines
        self._jobs: dict[str, Placement] = {}

    @property
    def arches(self) -> Collection[str]:
        open_ones = [engine for engine in self._engines if not engine.cluster.drained]
        return tuple(dict.fromkeys(arch for each in open_ones for arch in each.cluster.arches))

    def lacks(self, arch: str, *, runs: bool) -> str:
        """Nodes run what they are, so it does not matter whether programs run."""
        if arch in self.arches:
            return ""
        drained = [each.name for each in self._engines if arch in each.cluster.arches]
        if drained:
            return f"a cluster for {arch} that takes builds ({', '.join(drained)}: drained)"
        return f"a cluster with nodes of {arch}"

    def start(self, job: Job) -> Job:
        placed = self._jobs[job.name] = Placement(self._engines, job)
        try:
            placed.adopt()
        except ServiceError:
            pass  # it is asked again by who follows the job
        else:
            placed.place()
        return replace(job, begun=placed.placed())

    def follow(self, job: Job, beat: float) -> Iterator[News]:
        placed = self._jobs.get(job.name)
        if placed is None:
            placed = Placement.taken_up(self._engines, job, job.begun)
            self._jobs[job.name] = placed
        return placed.follow(beat)

    def cancel(self, name: str) -> None:
        placed = self._jobs.get(name)
        if placed:
            placed.waiting.clear()
        self._each(name, lambda engine: engine.cancel(name))

    def _each(self, name: str, ask: Callable[[ClusterEngine], T]) -> list[T]:
        """Of those that have the job, or may have it. Raises ServiceError after the last one.

        Not of one that did not take it and does not answer: if it has it, the sweep will find it.
        """
        placed = self._jobs.get(name)
        trouble: Optional[ServiceError] = None
        answers = []
        for engine in placed.engines() if placed else self._engines:
            try:
                answers.append(ask(engine))
            except ServiceError as error:  # the others are told all the same
                if placed is None or placed.needs(engine):
                    trouble = error
        if trouble:
            raise trouble
        return answers

    def remove(self, name: str, patience: float) -> bool:
        if name in self._jobs:
            self._jobs[name].withdraw_rest()
        if not all(self._each(name, lambda engine: engine.remove(name, patience))):
            return False
        self._jobs.pop(name, None)
        return True

    def names(self) -> Collection[str]:
        """Of those that answer; raises ServiceError when none does."""
        names: set[str] = set()
        trouble: list[ServiceError] = []
        for engine in self._engines:
            try:
                names.update(engine.names())
            except ServiceError as error:
                trouble.append(error)
        if len(trouble) == len(self._engines):
            raise trouble[0]
        return sorted(names)

    def close(self) -> None:
        """Close connections that nobody uses."""
        for engine in self._engines:
            engine.close()

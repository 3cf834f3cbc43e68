"""Several clusters as one engine: which of them builds what, and waiting where all are full.

An arch goes to the first cluster that has it, is not drained and has room. A job is looked for in
all of them first, since the task may have been started before, with another configuration too.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Optional, Protocol, TypeVar

from koji_containerbuild.config.cluster import ClusterConfig
from koji_containerbuild.contract.outcome import Failure, Outcome
from koji_containerbuild.engines.base import Engine, Job, News
from koji_containerbuild.engines.pods import AWAY
from koji_containerbuild.engines.streams import Item, Reader
from koji_containerbuild.errors import ContainerBuildError, ServiceError

T = TypeVar("T")
TURN = 64  # news of one cluster before it is the next one's turn
SETTLED = 2.0  # seconds after a change
LOOK = 60.0  # seconds: a cluster with which we have lost touch is asked again


class ClusterEngine(Engine, Protocol):
    """An engine that takes some arches of a job."""

    name: str
    cluster: ClusterConfig

    def start_arches(self, job: Job, arches: Collection[str]) -> None:
        """As start, but only these."""

    def follow_arches(self, job: Job, arches: Collection[str], beat: float) -> Iterator[News]:
        """As follow, but only these."""

    def here(self, name: str) -> Collection[str]:
        """The arches of a job that there are. Raises ServiceError."""

    def busy(self) -> int:
        """How many images are being built, of all jobs. Raises ServiceError."""

    def changes(self, items: queue.Queue[Item]) -> Reader:
        """What tells, once it is started, that something about that number may have changed."""

    def close(self) -> None:
        """Close connections that nobody uses."""


class Clusters:
    """Builds where there is room."""

    def __init__(self, engines: Sequence[ClusterEngine]) -> None:
        """`engines`: in the order of preference."""
        self._engines = engines
        self._jobs: dict[str, _Placed] = {}

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

    def start(self, job: Job) -> None:
        placed = self._jobs[job.name] = _Placed(self._engines, job)
        placed.adopt()
        placed.place()

    def follow(self, job: Job, beat: float) -> Iterator[News]:
        placed = self._jobs.get(job.name)
        if placed is None:
            placed = self._jobs[job.name] = _Placed(self._engines, job)
            placed.adopt()
        return placed.follow(beat)

    def cancel(self, name: str) -> None:
        placed = self._jobs.get(name)
        if placed:
            placed.waiting.clear()
        self._each(name, lambda engine: engine.cancel(name))

    def _each(self, name: str, ask: Callable[[ClusterEngine], T]) -> list[T]:
        """Of those that have the job, or may have it. Raises ServiceError after the last one."""
        placed = self._jobs.get(name)
        trouble: Optional[ServiceError] = None
        answers = []
        for engine in [engine for engine, _ in placed.there] if placed else self._engines:
            try:
                answers.append(ask(engine))
            except ServiceError as error:  # the others are told all the same
                trouble = error
        if trouble:
            raise trouble
        return answers

    def remove(self, name: str, patience: float) -> bool:
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


class _Placed:
    """Where the arches of one job are."""

    def __init__(self, engines: Sequence[ClusterEngine], job: Job) -> None:
        self._engines = engines
        self._job = job
        self.waiting = list(job.plan.arches)
        self.there: list[tuple[ClusterEngine, list[str]]] = []
        self._why: dict[str, str] = {}  # they wait
        self._away_since = 0.0
        self._told: set[str] = set()  # that they wait

    def adopt(self) -> None:
        """Find what was started before. Not asked where nothing can be somewhere else."""
        only = self._engines[0].cluster if len(self._engines) == 1 else None
        if only and not only.max_builds and not only.drained:
            return  # what is there is met when it is started
        for engine in self._engines:
            try:
                found = [arch for arch in self.waiting if arch in engine.here(self._job.name)]
            except ServiceError:  # builds go on where they can
                continue
            self._start(engine, found)

    def place(self) -> None:
        """Start what there is room for.

        Raises ContainerBuildError where no cluster takes an arch, not even later.
        """
        for arch in list(self.waiting):
            trouble: list[ContainerBuildError] = []
            full = []
            able = [e for e in self._engines if arch in e.cluster.arches and not e.cluster.drained]
            for engine in able:
                try:
                    if self._has_room(engine):
                        self._start(engine, [arch])
                        break
                    full.append(f"{engine.name} ({engine.cluster.max_builds} at once)")
                except ContainerBuildError as error:  # of the plan, of its section, or it is away
                    trouble.append(error)
            else:
                if not full:
                    trouble.sort(key=lambda error: not isinstance(error, ServiceError))
                    raise trouble[0] if trouble else self._nowhere(arch)
                self._why[arch] = f"It waits for room in the cluster {', '.join(full)}."

    def _place_if_possible(self) -> None:
        """Builds that wait bear a cluster that is away for a while."""
        try:
            self.place()
            self._away_since = 0.0
        except ServiceError:
            now = time.monotonic()
            self._away_since = self._away_since or now
            if now - self._away_since > AWAY:
                raise

    @staticmethod
    def _nowhere(arch: str) -> ServiceError:
        return ServiceError(
            f"No cluster takes builds for {arch} any more.",
            do="An admin should look at arches and drained in the sections [cluster NAME].",
        )

    @staticmethod
    def _has_room(engine: ClusterEngine) -> bool:
        most = engine.cluster.max_builds
        return most == 0 or engine.busy() < most

    def _start(self, engine: ClusterEngine, arches: list[str]) -> None:
        if arches:
            engine.start_arches(self._job, arches)
            self.waiting = [arch for arch in self.waiting if arch not in arches]
            self.there.append((engine, arches))

    def follow(self, beat: float) -> Iterator[News]:
        """All of them, by turns: nobody waits for a cluster that is silent, or never is."""
        left = set(self._job.plan.arches)
        streams: list[Iterator[News]] = []
        followed = 0
        room = _Room(self._engines)
        try:
            while left:
                yield from self._wait(room, left, 0.0 if streams else beat)
                for engine, arches in self.there[followed:]:
                    share = beat / len(self.there)
                    streams.append(engine.follow_arches(self._job, arches, share))
                followed = len(self.there)
                for stream in list(streams):
                    yield from self._turn(stream, streams, left)
                yield News()
        finally:
            room.close()
            for stream in streams:
                stream.close()  # type: ignore[attr-defined]  # they are generators

    @staticmethod
    def _turn(
        stream: Iterator[News], streams: list[Iterator[News]], left: set[str]
    ) -> Iterator[News]:
        for _ in range(TURN):
            news = next(stream, None)
            if news is None:
                streams.remove(stream)
            if news is None or not news.arch:
                break
            if news.outcome:
                left.remove(news.arch)
            yield news

    def _wait(self, room: _Room, left: set[str], seconds: float) -> Iterator[News]:
        """See to the arches for which there was no room."""
        for arch in self.waiting:
            if arch not in self._told:
                self._told.add(arch)
                yield News(arch, note=self._why[arch])
        if self.waiting and room.may_have_changed(seconds):
            self._place_if_possible()
        if not self.waiting:
            room.close()
        begun = {arch for _, arches in self.there for arch in arches}
        for arch in left - begun - set(self.waiting):  # told to end before it began
            left.remove(arch)
            yield News(arch, outcome=_cancelled(arch))


class _Room:
    """Says when it is worth asking again whether there is room. It begins when it is asked."""

    def __init__(self, engines: Sequence[ClusterEngine]) -> None:
        self._engines = [engine for engine in engines if engine.cluster.max_builds]
        self._items: queue.Queue[Item] = queue.Queue(64)
        self._readers: list[Reader] = []
        self._next = 0.0  # when it is worth asking though nobody told us so

    def may_have_changed(self, seconds: float) -> bool:
        """Waits at most so long."""
        if not self._readers:
            self._readers = [engine.changes(self._items) for engine in self._engines]
            for reader in self._readers:
                reader.start()
            self._next = time.monotonic() + LOOK
        try:
            self._items.get(timeout=seconds) if seconds else self._items.get_nowait()
        except queue.Empty:
            if time.monotonic() < self._next:
                return False
            self._next = time.monotonic() + LOOK
            return True
        while not self._items.empty():
            self._items.get_nowait()
        self._next = time.monotonic() + SETTLED  # a pod's end is known before its job's
        return True

    def close(self) -> None:
        for reader in self._readers:
            reader.stop()
        self._readers = []


def _cancelled(arch: str) -> Outcome:
    return Outcome(arch, failure=Failure("build", "The build was told to end."), cancelled=True)

"""Where the arches of one job are, among several clusters; what waits is placed while others build.

An arch goes to the first cluster that has it, is not drained and has room. It is looked for in all
of them first, if the task may have been started before, with another configuration too.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional, Protocol

from koji_containerbuild.config.cluster import ClusterConfig
from koji_containerbuild.contract.outcome import Failure, Outcome
from koji_containerbuild.engines.base import Engine, Job, News
from koji_containerbuild.engines.reach import AWAY
from koji_containerbuild.engines.room import Room
from koji_containerbuild.engines.streams import Item, Reader
from koji_containerbuild.errors import ContainerBuildError, ServiceError

TURN = 64  # news of one cluster before it is the next one's turn
QUESTION = 1.0  # seconds that a cluster has for an answer while others tell of their builds
SILENT = "The cluster {} does not answer, and may have begun this before: it waits for an answer."


class ClusterEngine(Engine, Protocol):
    """An engine that takes some arches of a job."""

    name: str
    cluster: ClusterConfig

    def start_arches(self, job: Job, arches: Collection[str]) -> None:
        """As start, but only these."""

    def follow_arches(self, job: Job, arches: Collection[str], beat: float) -> Iterator[News]:
        """As follow, but only these."""

    def adopt(
        self, job: Job, arches: Collection[str], patience: Optional[float] = None
    ) -> Collection[str]:
        """Those of the arches that are there, to be followed, by one question.

        `patience`: seconds, None: as the engine likes. Raises ServiceError.
        """

    def known(self, name: str) -> Any:
        """What another process must know to follow a job. Plain data."""

    def take_up(self, job: Job, known: Any) -> None:
        """Go on with what another process has begun."""

    def withdraw(self, name: str, arch: str) -> None:
        """Remove what has just been started, or perhaps was. Raises ServiceError."""

    def busy(self, patience: Optional[float] = None) -> int:
        """How many images are being built, of all jobs. Raises ServiceError."""

    def changes(self, items: queue.Queue[Item]) -> Reader:
        """What tells, once it is started, that something about that number may have changed."""

    def close(self) -> None:
        """Close connections that nobody uses."""


@dataclass(frozen=True)
class Placed:
    """Of a Placement, for another process. Clusters by name."""

    there: tuple[tuple[str, Collection[str]], ...]
    half: tuple[tuple[str, str], ...]
    unasked: tuple[str, ...]
    why: Mapping[str, str]
    known: Mapping[str, Any]  # of the engines that have, or may have, something


class Placement:
    """Where the arches of one job are."""

    def __init__(self, engines: Sequence[ClusterEngine], job: Job) -> None:
        self._engines = engines
        self._job = job
        self.waiting = list(job.plan.arches)
        self.there: list[tuple[ClusterEngine, Collection[str]]] = []
        # What has begun where it does not go on, perhaps, and could not be withdrawn.
        self._half: list[tuple[ClusterEngine, str]] = []
        # Those that do not say yet whether something was started there before.
        self._unasked = [] if job.fresh else list(engines)
        self._why: dict[str, str] = {}  # they wait
        self._told: set[tuple[str, str]] = set()  # why they wait
        self._away_since = 0.0
        self._patience: Optional[float] = None  # seconds for a question; None: as usual
        self._withdrew = False

    @classmethod
    def taken_up(cls, engines: Sequence[ClusterEngine], job: Job, placed: Placed) -> Placement:
        """As another process has left it."""
        new, named = cls(engines, job), {engine.name: engine for engine in engines}
        for name, known in placed.known.items():
            named[name].take_up(job, known)
        for name, arches in placed.there:
            new._note(named[name], arches)
        new._half = [(named[name], arch) for name, arch in placed.half]
        new._unasked = [named[name] for name in placed.unasked]
        new._why = dict(placed.why)
        return new

    def placed(self) -> Placed:
        """For another process, which is to go on."""
        return Placed(
            there=tuple((engine.name, arches) for engine, arches in self.there),
            half=tuple((engine.name, arch) for engine, arch in self._half),
            unasked=tuple(engine.name for engine in self._unasked),
            why=self._why,
            known={engine.name: engine.known(self._job.name) for engine in self._begun()},
        )

    def _begun(self) -> Sequence[ClusterEngine]:
        return [engine for engine, _ in [*self.there, *self._half]]

    def engines(self) -> Collection[ClusterEngine]:
        """Those that have something of the job, or may have it."""
        return {engine.name: engine for engine in [*self._begun(), *self._unasked]}.values()

    def needs(self, engine: ClusterEngine) -> bool:
        """Whether the job is there, or nobody knows."""
        return engine in self._unasked or any(engine is each for each, _ in self.there)

    def adopt(self) -> None:
        """Find what was started before.

        Raises ServiceError where a cluster does not answer that may have what still waits: before
        it does, nothing new is begun.
        """
        trouble: Optional[ServiceError] = None
        for engine in list(self._unasked):
            if not self.waiting:
                break
            try:
                found = engine.adopt(self._job, self.waiting, self._patience)
            except ServiceError as error:
                trouble = error
                for arch in self.waiting:
                    self._why[arch] = SILENT.format(engine.name)
                continue
            self._unasked.remove(engine)
            self._note(engine, found)
        if not self.waiting:
            self._unasked.clear()
        elif trouble:
            raise trouble

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
                    if self._has_room(engine) and self._start(engine, arch):
                        break
                    full.append(f"{engine.name} ({engine.cluster.max_builds} at once)")
                except ContainerBuildError as error:  # of the plan, of its section, or it is away
                    trouble.append(error)
            else:
                if not full:
                    trouble.sort(key=lambda error: not isinstance(error, ServiceError))
                    raise trouble[0] if trouble else self._nowhere(arch)
                self._why[arch] = f"It waits for room in the cluster {', '.join(full)}."

    def look(self) -> None:
        """Find, or start, what waits. It bears a cluster that is away for a while."""
        try:
            self.adopt()
            self.place()
            self._away_since = 0.0
        except ServiceError as error:
            now = time.monotonic()
            self._away_since = self._away_since or now
            if now - self._away_since > AWAY:
                raise
            for arch in self.waiting:
                self._why.setdefault(arch, f"It waits. {error.what}")

    @staticmethod
    def _nowhere(arch: str) -> ServiceError:
        return ServiceError(
            f"No cluster takes builds for {arch} any more.",
            do="An admin should look at arches and drained in the sections [cluster NAME].",
        )

    def _has_room(self, engine: ClusterEngine) -> bool:
        most = engine.cluster.max_builds
        return most == 0 or engine.busy(self._patience) < most

    def _start(self, engine: ClusterEngine, arch: str) -> bool:
        """False: others were as quick, and it had to be withdrawn. Theirs may have been, too."""
        self._half.append((engine, arch))
        most = engine.cluster.max_builds
        try:
            engine.start_arches(self._job, [arch])
            crowded = most > 0 and engine.busy() > most
        except ContainerBuildError:
            self._withdraw(engine, arch)
            raise
        if crowded:
            self._withdraw(engine, arch)
            self._withdrew = True
            return False
        self._half.remove((engine, arch))
        self._note(engine, [arch])
        return True

    def _withdraw(self, engine: ClusterEngine, arch: str) -> None:
        """What has begun there, or perhaps has, so that it can begin elsewhere."""
        try:
            engine.withdraw(self._job.name, arch)
        except ServiceError:
            return  # again, at the job's end
        self._half.remove((engine, arch))

    def withdraw_rest(self) -> None:
        """What has begun where it did not go on, once more."""
        for engine, arch in list(self._half):
            self._withdraw(engine, arch)

    def _note(self, engine: ClusterEngine, arches: Collection[str]) -> None:
        if arches:
            self.waiting = [arch for arch in self.waiting if arch not in arches]
            self.there.append((engine, arches))

    def follow(self, beat: float) -> Iterator[News]:
        """All of them, by turns: nobody waits for a cluster that is silent, or never is."""
        left = set(self._job.plan.arches)
        streams: list[Iterator[News]] = []
        followed = 0
        room = Room(self._changes)
        try:
            while left:
                yield from self._wait(room, left, 0.0 if streams else beat)
                for engine, arches in self.there[followed:]:
                    share = beat / len(self.there)
                    streams.append(engine.follow_arches(self._job, arches, share))
                    self._patience = QUESTION
                followed = len(self.there)
                for stream in list(streams):
                    yield from self._turn(stream, streams, left)
                yield News()
        finally:
            room.close()
            for stream in streams:
                stream.close()  # type: ignore[attr-defined]  # they are generators

    def _changes(self, items: queue.Queue[Item]) -> Sequence[Reader]:
        awaited = [e for e in self._engines if e.cluster.max_builds or e in self._unasked]
        return [engine.changes(items) for engine in awaited]

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

    def _wait(self, room: Room, left: set[str], seconds: float) -> Iterator[News]:
        """See to the arches for which there was no room."""
        for arch in self.waiting:
            if (arch, self._why[arch]) not in self._told:
                self._told.add((arch, self._why[arch]))
                yield News(arch, note=self._why[arch])
        if self.waiting and room.may_have_changed(seconds):
            self.look()
            if self._withdrew:
                self._withdrew = False
                room.expect()
        if not self.waiting:
            room.close()
        begun = {arch for _, arches in self.there for arch in arches}
        for arch in left - begun - set(self.waiting):  # told to end before it began
            left.remove(arch)
            yield News(arch, outcome=_cancelled(arch))


def _cancelled(arch: str) -> Outcome:
    return Outcome(arch, failure=Failure("build", "The build was told to end."), cancelled=True)

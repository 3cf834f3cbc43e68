"""Follow the pods of a job: their logs, what keeps them from starting, and how they end.

One watch for all pods and one log reader for each are threads that fill a queue; everything is
decided here, in the thread that reads it. An arch has ended when its container has, by the watch,
and its log is complete.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Optional

from koji_containerbuild.contract.outcome import Failure, Outcome
from koji_containerbuild.engines.api import ApiError
from koji_containerbuild.engines.arch_state import ArchState
from koji_containerbuild.engines.base import News
from koji_containerbuild.engines.cluster_objects import State
from koji_containerbuild.engines.pod_state import DEADLINE, GONE, Pod, failure, lost, read
from koji_containerbuild.engines.reach import SILENT, Reach, bearable
from koji_containerbuild.engines.runs import Runs
from koji_containerbuild.engines.streams import Change, Died, Health, Item, Log, Said, Watch
from koji_containerbuild.errors import ServiceError

WAITING = 16  # items in the queue: at most a megabyte of log
NO_POD = 2.0  # seconds until we ask why there is none
SLOW = 10.0  # seconds until we ask why a pod has not started
OVERDUE = 30.0  # seconds between a log's end and its pod's, after which we look ourselves
LEAVING = 60.0  # seconds after which a deleted pod that has not ended never will
BACK_OFF = "ImagePullBackOff"  # why, was said before
HINDRANCES = ("BackOff", "ErrImageNeverPull", "NetworkNotReady")  # events that are no `Failed…`
AGAIN = 2.0  # seconds between two questions
ASK = 5.0  # seconds for a question about a build that has ended


def follow(runs: Runs, beat: float, arches: Optional[Collection[str]] = None) -> Iterator[News]:
    """As engines.base.Engine.follow. Raises ServiceError when the cluster is away for too long.

    `arches`: only these.
    """
    followed = _Followed(runs, runs.arches() if arches is None else arches)
    try:
        while followed.left:
            yield from followed.next(beat)
    finally:
        followed.close()


class _Followed:
    def __init__(self, runs: Runs, arches: Collection[str]) -> None:
        self._runs = runs
        self._items: queue.Queue[Item] = queue.Queue(WAITING)
        self.left = {arch: ArchState(arch) for arch in arches}
        self._watch = self._start_watch()
        self._reach = Reach(runs.api.name)

    def _start_watch(self, missed: bool = False) -> Watch:
        path = self._runs.api.path("v1", "pods")
        select = {"labelSelector": self._runs.selector()}
        watch = Watch(self._runs.api, self._items, path, select, self._runs.seconds)
        watch.missed = missed
        watch.start()
        return watch

    def _watch_others(self) -> None:
        """Where pods are known by the name of what has made them, there are others now."""
        if self._watch.select != {"labelSelector": self._runs.selector()}:
            self._watch_anew()

    def _watch_anew(self) -> None:
        self._watch.stop()
        self._watch = self._start_watch(missed=True)

    def close(self) -> None:
        for arch in self.left.values():
            self._stop(arch)
        self._watch.stop()
        self._watch.join(1.0)

    def next(self, beat: float) -> Iterator[News]:
        """What the next item in the queue tells, or that there was none."""
        try:
            item = self._items.get(timeout=beat)
        except queue.Empty:
            yield News()
        else:
            yield from self._read(item)
        note = self._reach.note()
        if note:
            for name in self.left:
                yield News(name, note=note)
        for arch in list(self.left.values()):
            yield from self._look_after(arch)

    def _read(self, item: Item) -> Iterator[News]:
        if isinstance(item.what, Died):
            raise item.what.error
        if item.reader is self._watch:
            if isinstance(item.what, Health):
                self._note_health(item.what)
            else:
                self._note_pods(item.what)
            return
        for arch in self.left.values():
            if item.reader is arch.log and isinstance(item.what, Said):
                yield from self._said(arch, item.what)
            elif item.reader is arch.log and isinstance(item.what, Health):
                arch.note_log(item.what)
            elif item.reader is arch.events and isinstance(item.what, Change):
                yield from self._events(arch, item.what)

    def _note_health(self, health: Health) -> None:
        self._reach.hear(health)
        if health.error:
            for arch in self.left.values():
                arch.cluster_is_away()

    # -- pods

    def _note_pods(self, change: Change) -> None:
        if change.kind == "ALL":  # those that were deleted while we did not look
            there = {pod.get("metadata", {}).get("uid") for pod in change.all}
            for arch in self.left.values():
                if arch.pod and arch.pod.uid not in there:
                    self._note_gone(arch)
        for found in change.all or (change.found,):
            arch_name = self._runs.arch_of(found) if found else ""
            if arch_name in self.left:
                gone = change.kind == "DELETED"
                self._note_pod(self.left[arch_name], read(found, self._runs.container, gone))

    def _note_gone(self, arch: ArchState) -> None:
        before = arch.pod
        if before and not before.ended:
            self._note_pod(
                arch, Pod(before.name, before.uid, before.started, ended=True, reason=GONE)
            )

    def _note_pod(self, arch: ArchState, pod: Pod) -> None:
        if arch.pod and arch.pod.ended and arch.pod.message:
            return  # it has said its last words; that it is deleted then does not matter
        if arch.pod and pod.uid != arch.pod.uid:
            return  # its object has made a second one: of a run that is lost
        arch.pod = pod
        if pod.leaving:
            arch.leaving_since = arch.leaving_since or time.monotonic()
        if pod.started:
            self._stop_events(arch)
            if arch.log is None:
                path = self._runs.api.path("v1", "pods", pod.name, "log")
                arch.log = Log(self._runs.api, self._items, path, self._runs.container)
                arch.log.start()

    def _said(self, arch: ArchState, said: Said) -> Iterator[News]:
        for piece in said.read.pieces:
            yield News(arch.name, piece.data)
        for line in said.read.foreign:
            arch.tail.append(line.decode(errors="replace"))
            yield News(arch.name, line + b"\n")
        if said.lost > arch.lost_bytes:
            arch.lost_bytes = said.lost
            note = f"{said.lost} bytes of the log did not come through."
            yield News(arch.name, note=note, gap=True)
        if said.ended:
            arch.log_ended, arch.log_ended_at = True, time.monotonic()
        arch.log_broken = arch.log_broken or said.broken

    def _events(self, arch: ArchState, change: Change) -> Iterator[News]:
        """Of the object that gives no sign: its failures are for the user, other warnings not."""
        for event in change.all or (change.found,):
            reason = str(event.get("reason"))
            if event.get("type") != "Warning" or not ("Fail" in reason or reason in HINDRANCES):
                continue
            message = " ".join(str(event.get("message")).split())[:1000]
            if not arch.trouble or not message.startswith("Error: "):  # the name of it, again
                arch.trouble = f"{reason}: {message}"
                yield from self._note(arch, reason, arch.trouble)

    def _note(self, arch: ArchState, key: str, note: str) -> Iterator[News]:
        """Once for each kind of trouble."""
        if key not in arch.told:
            arch.told.add(key)
            yield News(arch.name, note=note)

    # -- what becomes of an arch

    def _look_after(self, arch: ArchState) -> Iterator[News]:
        pod = arch.pod
        note = arch.log_note(SILENT)
        if note:
            yield News(arch.name, note=note)
        if pod and pod.trouble and not (arch.trouble and pod.trouble.startswith(BACK_OFF)):
            arch.trouble = pod.trouble
            yield from self._note(arch, pod.trouble.partition(":")[0], pod.trouble)
        if pod and (pod.ended or self._left_behind(arch)):
            yield from self._end(arch, pod)
        elif pod is None or not pod.started:
            yield from self._look_why(arch)
        elif arch.end_is_overdue(OVERDUE):
            self._watch_anew()

    def _left_behind(self, arch: ArchState) -> bool:
        """Deleted, and its node does not tell that it has ended."""
        return bool(arch.leaving_since) and time.monotonic() - arch.leaving_since > LEAVING

    def _look_why(self, arch: ArchState) -> Iterator[News]:
        """It has not started."""
        if self._runs.told_to_end() and (arch.pod or arch.waited > NO_POD):
            yield self._outcome(arch, _cancelled(arch.name))
            return
        if arch.waited > (SLOW if arch.pod else NO_POD):
            yield from self._look_at_events(arch)
        if arch.waited > self._runs.start_seconds:
            trouble = arch.trouble or "the cluster does not say why"
            self._runs.give_up(arch.name)
            cause = f"The build did not start within {self._runs.start_seconds} s: {trouble}"
            hint = f"An admin should look at the cluster {self._runs.api.name}."
            yield self._outcome(
                arch, Outcome(arch.name, failure=Failure("start", cause.rstrip(".") + ".", hint))
            )

    def _look_at_events(self, arch: ArchState) -> Iterator[News]:
        """Of the pod, or of what should make one; of that very one: names are used again."""
        runs, pod = self._runs, arch.pod
        name, uid = (pod.name, pod.uid) if pod else (runs.owner(arch.name), runs.uid(arch.name))
        key = f"events of {uid}"
        if key in arch.told or time.monotonic() < arch.ask_at:
            return
        try:
            state = "runs" if arch.pod else self._runs.state(arch.name, ASK)
        except ServiceError as error:
            arch.ask_at = time.monotonic() + AGAIN
            if isinstance(error, ApiError) and error.status:  # else the watch tells
                yield from self._note(arch, f"state of {name}", str(error))
            return
        arch.told.add(key)
        if state != "runs":
            yield from self._over_without_pod(arch, state)
            return
        self._stop_events(arch)
        path = self._runs.api.path("v1", "events")
        select = {"fieldSelector": f"involvedObject.uid={uid}"}
        arch.events = Watch(self._runs.api, self._items, path, select, self._runs.start_seconds)
        arch.events.start()

    def _over_without_pod(self, arch: ArchState, state: State) -> Iterator[News]:
        pod = Pod(self._runs.owner(arch.name), "", ended=True, reason=GONE)
        if state == "deadline":
            pod = Pod(pod.name, "", ended=True, reason=DEADLINE)
        arch.pod = pod
        yield from self._end(arch, pod)

    def _end(self, arch: ArchState, pod: Pod) -> Iterator[News]:
        """Its container has ended: wait for its log, then see what became of it."""
        if pod.started and arch.log and not arch.log_ended:
            if self._left_behind(arch) or (pod.lost and not pod.message):
                arch.log.stop()  # nobody will give it to us
                arch.log_ended = arch.log_broken = True
            else:
                arch.log.container_ended()
            return
        if time.monotonic() < arch.ask_at:
            return
        outcome = pod.outcome(arch.name)
        if outcome and not outcome.cancelled:
            if arch.log_broken:
                note = "The end of the log did not come through."
                yield News(arch.name, note=note, gap=True)
            yield self._outcome(arch, outcome)
            return
        try:
            yield from self._without_result(arch, pod, outcome)
        except ServiceError as error:
            now = time.monotonic()
            arch.asked_since = arch.asked_since or now
            if now - arch.asked_since > bearable(error):
                raise
            arch.ask_at = now + AGAIN

    def _without_result(
        self, arch: ArchState, pod: Pod, outcome: Optional[Outcome]
    ) -> Iterator[News]:
        """It was told to end, or ended without a word: by whom?"""
        state = "cancelled" if self._runs.told_to_end() else self._runs.state(arch.name, ASK)
        if state == "cancelled":
            yield self._outcome(arch, outcome or _cancelled(arch.name))
        elif state == "deadline" or pod.reason == DEADLINE:  # which may have left word of SIGTERM
            yield self._failed(arch, replace(pod, reason=DEADLINE))
        elif outcome or pod.lost or self._left_behind(arch):
            gone = pod if pod.lost else Pod(pod.name, pod.uid, ended=True, reason=GONE)
            if self._runs.again(arch.name, ASK):
                self._stop(arch)
                self.left[arch.name] = ArchState(arch.name)
                self._watch_others()
                yield News(arch.name, note=f"{lost(gone)} It is started again.")
            else:
                yield self._failed(arch, gone)
        else:
            yield self._failed(arch, pod)

    def _failed(self, arch: ArchState, pod: Pod) -> News:
        return self._outcome(arch, Outcome(arch.name, failure=failure(pod, arch.tail)))

    def _outcome(self, arch: ArchState, outcome: Outcome) -> News:
        self._stop(arch)
        del self.left[arch.name]
        self._runs.ended(arch.name)
        return News(arch.name, outcome=outcome)

    def _stop(self, arch: ArchState) -> None:
        for reader in arch.readers():
            reader.stop()

    def _stop_events(self, arch: ArchState) -> None:
        if arch.events:
            arch.events.stop()
            arch.events = None


def _cancelled(arch: str) -> Outcome:
    return Outcome(arch, failure=Failure("build", "The build was told to end."), cancelled=True)

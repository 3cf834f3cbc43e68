"""What a pod's own record says of the build in it. Pure.

Source: the types Pod, PodStatus and ContainerStatus of Kubernetes' core/v1; the reasons are those
of kubelet, scheduler and controllers, which no document lists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional

from koji_containerbuild.contract.codec import NotThisRecord
from koji_containerbuild.contract.outcome import Failure, Outcome

QUIET = ("", "ContainerCreating", "PodInitializing")  # waiting for these is nothing to tell
LOST = (
    "Evicted",
    "NodeLost",
    "Shutdown",
    "Terminated",
    "NodeShutdown",
    "Preempting",
    "Preempted",
    "ContainerStatusUnknown",  # its node was away, and has forgotten it
)
CANNOT_RUN = ("StartError", "ContainerCannotRun")  # of the program: it is not in the image
GONE = "Deleted"  # ours: the pod is not there any more
DEADLINE = "DeadlineExceeded"
OOM = "OOMKilled"
LESS = "Make it need less, or ask an admin for a higher memory_limit."


@dataclass(frozen=True)
class Pod:
    """One pod, as far as a build is concerned."""

    name: str
    uid: str
    started: bool = False  # its container runs, or has run
    ended: bool = False  # nothing runs in it any more, and nothing will
    leaving: bool = False  # somebody has deleted it
    trouble: str = ""  # what keeps it from starting or going on, in the cluster's words
    exit_code: Optional[int] = None
    reason: str = ""  # of the end, the cluster's name for it
    words: str = ""  # and what it says about it
    message: str = ""  # the last words of the program

    @property
    def lost(self) -> bool:
        """Whether it was the cluster that has ended it, and another try may do better."""
        refused = self.ended and not self.started and self.reason != DEADLINE  # by its node
        return self.reason in LOST or self.reason == GONE or refused

    def outcome(self, arch: str) -> Optional[Outcome]:
        """As the program left it; it may not know that one of its own was killed. None: no word."""
        try:
            found = Outcome.from_json(self.message)
        except NotThisRecord:
            return None
        if found.arch != arch:
            return None
        if self.reason == OOM and found.failure and not found.cancelled:
            hint = f"A program of the build used more memory than it may ({OOM}). {LESS} "
            failure = replace(found.failure, hint=hint + found.failure.hint)
            return replace(found, failure=failure)
        return found


def read(pod: Mapping[str, Any], container: str, gone: bool = False) -> Pod:
    """`container`: the one that builds; `gone`: this is what the pod was before it was deleted."""
    meta, status = pod.get("metadata") or {}, pod.get("status") or {}
    state = _container(status, container)
    terminated, waiting = state.get("terminated") or {}, state.get("waiting") or {}
    over = bool(terminated) or status.get("phase") in ("Failed", "Succeeded") or gone
    reason = status.get("reason") or terminated.get("reason") or ""
    words = status.get("message") or ""
    leaving = bool(meta.get("deletionTimestamp"))
    if over and (gone or leaving) and not terminated and reason not in LOST:
        reason = GONE
    return Pod(
        name=str(meta.get("name")),
        uid=str(meta.get("uid")),
        started="running" in state or bool(terminated),
        ended=over or (reason == "NodeLost"),
        leaving=leaving,
        trouble="" if over else _trouble(status, state, waiting),
        exit_code=terminated.get("exitCode"),
        reason=reason,
        words=" ".join(words.split()),
        message=terminated.get("message") or "",
    )


def _container(status: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    for each in status.get("containerStatuses") or ():
        if each.get("name") == name:
            return each.get("state") or {}
    return {}


def _trouble(
    status: Mapping[str, Any], state: Mapping[str, Any], waiting: Mapping[str, Any]
) -> str:
    conditions = {each.get("type"): each for each in status.get("conditions") or ()}
    scheduled, ready = conditions.get("PodScheduled") or {}, conditions.get("Ready") or {}
    if scheduled.get("status") == "False" and scheduled.get("message"):
        return f"{scheduled.get('reason')}: {_one_line(scheduled['message'])}"
    if waiting.get("reason", "") not in QUIET:
        text = _one_line(waiting.get("message") or "")
        return f"{waiting['reason']}: {text}" if text else str(waiting["reason"])
    if "running" in state and ready.get("status") in ("False", "Unknown"):
        # A container without probes is ready from its start on.
        return "NodeNotReady: its node does not answer."
    return ""


def _one_line(text: str) -> str:
    return " ".join(text.split())[:1000]


def failure(pod: Pod, tail: Sequence[str]) -> Failure:
    """Of a build that left no outcome. `tail`: the last lines that it said."""
    last = "\n".join(tail)
    code = "" if pod.exit_code is None else f" Its exit code was {pod.exit_code}."
    said = f" {pod.words}" if pod.words else ""
    if pod.reason == OOM:
        return Failure(
            "build",
            f"The build used more memory than it may, and the cluster has ended it ({OOM}).{said}",
            LESS,
            last_lines=last,
        )
    if pod.reason == DEADLINE:
        return Failure(
            "build",
            f"The build took too long, and the cluster has ended it ({DEADLINE}).{said}",
            "Ask for more by buildtime_limit in container.yaml.",
            last_lines=last,
        )
    if pod.lost:
        return Failure("build", lost(pod), "Build again.", last_lines=last)
    if pod.message:  # not of the program: it left no outcome
        said += f" {_one_line(pod.message)}"
    if pod.reason in CANNOT_RUN:
        return Failure(
            "start",
            f"The cluster could not run the buildroot program ({pod.reason}).{said}",
            "An admin should look at the image of the buildroot.",
            last_lines=last,
        )
    return Failure(
        "build",
        "The buildroot program ended without a word.",
        f"Was it killed, is the node's disk full?{code}{said} See the events of pod {pod.name}.",
        last_lines=last,
    )


def lost(pod: Pod) -> str:
    """How the cluster has lost a build."""
    if pod.reason == GONE:
        return f"The build's pod {pod.name} was deleted."
    said = f": {pod.words}" if pod.words else ""
    what = "lost the build" if pod.started else "not taken the build"
    return f"The cluster has {what} ({pod.reason or 'Failed'}){said.rstrip('.')}."


def busy(pod: Mapping[str, Any]) -> bool:
    """Whether something runs in it, or will."""
    status = pod.get("status") or {}
    if status.get("phase") in ("Succeeded", "Failed"):
        return False
    states = [each.get("state") or {} for each in status.get("containerStatuses") or ()]
    if any("running" in state for state in states):
        return True
    ended = bool(states) and all("terminated" in state for state in states)
    return not ended and not pod["metadata"].get("deletionTimestamp")

"""When each stage of a build ran, as the Koji build will show it.

It ends where it is written, before the import: the rest is in the task's own log.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from koji_containerbuild.contract.codec import to_json
from koji_containerbuild.contract.events import TASK, Event
from koji_containerbuild.contract.image import ArchImage
from koji_containerbuild.contract.plan import BuildPlan
from koji_containerbuild.contract.tasks import TIMELINE_FILE, TIMELINE_LOG
from koji_containerbuild.rules.timeline import Span, in_order, render
from koji_containerbuild.tasks.tools import Tools


@dataclass(frozen=True)
class Timeline:
    """The JSON form."""

    nvr: str
    stages: tuple[Span, ...]  # as they began
    version: int = 1


def timeline_documents(
    plan: BuildPlan, images: Sequence[ArchImage], tools: Tools
) -> dict[str, str]:
    """Text and JSON, by file name."""
    log = tools.logs.task_log.read_text(encoding="utf-8", errors="replace")
    spans = tuple(in_order([*task_stages(log.splitlines()), *arch_stages(images)]))
    begun = min((span.began for span in spans), default=0.0)
    when = datetime.fromtimestamp(begun, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    title = f"Timeline of {plan.nvr} up to its import, from {when}\n\n"
    return {
        TIMELINE_LOG: title + render(spans),
        TIMELINE_FILE: to_json(Timeline(str(plan.nvr), spans)),
    }


def task_stages(lines: Iterable[str]) -> Iterator[Span]:
    """Those that the task itself has done, also before it was started again."""
    for line in lines:
        event = Event.parse(line)
        if event and event.arch == TASK and event.state == "done":
            yield Span(TASK, event.stage, round(event.time - event.seconds, 3), event.seconds)


def arch_stages(images: Iterable[ArchImage]) -> Iterator[Span]:
    """From the reports, since a log line may be anybody's."""
    for image in images:
        for one in image.timeline:
            if one.began:
                yield Span(image.arch, one.stage, one.began, one.seconds)

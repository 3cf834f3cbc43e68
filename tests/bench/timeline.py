"""Where the time of a build goes: its stages, and what lies between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from koji_containerbuild.contract.events import TASK
from tests.bench.figures import Figure, spread
from tests.bench.koji_build import KojiBuild

SHOWN = 0.02  # seconds: a shorter gap is counted and not named


@dataclass(frozen=True)
class Part:
    """Of a build, from its creation to its end."""

    name: str
    seconds: float
    gap: bool  # no stage has it


def parts(build: KojiBuild) -> list[Part]:
    """All of the build, in order. Stages that run at the same time count once in the gaps."""
    found = [Part("(kojid takes the task)", build.opened - build.created, True)]
    until, before = build.opened, "task process"
    for name, begin, end in _stages(build):
        found.append(Part(f"({before} → {name})", max(0.0, begin - until), True))
        found.append(Part(name, end - begin, False))
        if end > until:
            until, before = end, name
    return [*found, Part(f"({before} → task closed)", build.closed - until, True)]


def unaccounted(build: KojiBuild) -> float:
    """Seconds in no stage, after kojid took the task."""
    return sum(part.seconds for part in parts(build)[1:] if part.gap)


def shares(builds: Sequence[KojiBuild]) -> list[Figure]:
    """Medians of each part, as shares of the whole."""
    every = [{part.name: part for part in parts(build)} for build in builds]
    whole = median(build.whole for build in builds)
    rows = []
    for name, example in every[0].items():
        seconds = [one[name].seconds for one in every if name in one]
        middle = median(seconds)
        if example.gap and middle < SHOWN:
            continue
        share = middle / whole
        rows.append(Figure(name, middle, "s", whole, "whole", share, spread(seconds)))
    return rows


def _stages(build: KojiBuild) -> list[tuple[str, float, float]]:
    """Name, begin and end of every stage that was done."""
    begun: dict[tuple[str, str], float] = {}
    found = []
    for event in build.events:
        key = (event.arch, event.stage)
        if event.state == "started":
            begun[key] = event.time
        elif event.state == "done":
            arch = "" if event.arch == TASK else "arch: "
            found.append((f"{arch}{event.stage}", begun[key], event.time))
    return sorted(found, key=lambda stage: stage[1])

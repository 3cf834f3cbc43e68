"""Whole builds: beside buildah alone, where the rest goes, and what the waiting task costs."""

from __future__ import annotations

from dataclasses import dataclass

from tests.bench.figures import Aim, Figure, against_old, alone, beside
from tests.bench.koji_build import KojiBuild, Sample, build
from tests.bench.raw import Raw, RawTimes
from tests.bench.site import Site, long, small
from tests.bench.timeline import shares, unaccounted


@dataclass(frozen=True)
class Pair:
    """Our build, and buildah's beside it."""

    ours: KojiBuild
    raw: RawTimes


def small_image(site: Site) -> list[tuple[str, list[Figure]]]:
    """Five RUN steps that do nothing: all that is ours shows."""
    pairs = _pairs(site, "small", small(), site.runs, sampled=False)
    title = f"small image, 5 RUN steps ({len(pairs)} runs)"
    return [
        (title, _whole(pairs)),
        ("gaps of the small image", _gaps(pairs)),
        ("where its time goes (ratio: share)", shares([pair.ours for pair in pairs])),
    ]


def long_image(site: Site) -> list[tuple[str, list[Figure]]]:
    """Five RUN steps that sleep: what is ours should vanish."""
    runs = 1 if site.quick else max(2, site.runs // 2)
    pairs = _pairs(site, "long", long(site.seconds_asleep), runs, sampled=True)
    ours, raw = [pair.ours.whole for pair in pairs], [pair.raw.build for pair in pairs]
    title = f"image with {site.seconds_asleep} s of RUN ({runs} runs)"
    whole = beside("whole task", ours, raw, Aim(1.05, of_ratio=True))
    extra = [mine - base for mine, base in zip(ours, raw)]
    return [
        (title, [whole, alone("whole task less raw", extra)]),
        ("the task while its build runs", _waiting([pair.ours for pair in pairs])),
    ]


def _pairs(site: Site, name: str, dockerfile: str, runs: int, sampled: bool) -> list[Pair]:
    """In turns, now one first and now the other; the first pair only warms up."""
    raw, context = Raw(site), site.context(name, dockerfile)
    commit = site.commit(name, dockerfile)
    if name == "small":
        build(site, commit)
        raw.build(context)
    pairs = []
    for turn in range(runs):
        times = raw.build(context) if turn % 2 else None
        ours = build(site, commit, sampled)
        pairs.append(Pair(ours, times or raw.build(context)))
    return pairs


def _whole(pairs: list[Pair]) -> list[Figure]:
    ours = [pair.ours for pair in pairs]
    raw = [pair.raw.build for pair in pairs]
    with_pull = [pair.raw.build + pair.raw.pull for pair in pairs]
    whole = [one.whole for one in ours]
    bud = [one.done("build") - one.begun("build") for one in ours]
    push = [one.done("push") - one.begun("push") for one in ours]
    watched = [one.seen - one.opened for one in ours]
    return [
        beside("whole task: create → completion", whole, raw),
        beside("the same, raw with `buildah pull`", whole, with_pull),
        alone("whole task less raw", [a - b for a, b in zip(whole, raw)]),
        beside("open → closed, as a client sees it", watched, raw),
        beside("stage build beside `buildah bud`", bud, [pair.raw.bud for pair in pairs]),
        beside("stage push beside `buildah push`", push, [pair.raw.push for pair in pairs]),
        against_old(
            "hub requests of the task (old: 2 arches)", [b.requests for b in ours], "calls", 54.0
        ),
    ]


def _gaps(pairs: list[Pair]) -> list[Figure]:
    ours = [pair.ours for pair in pairs]
    start = [one.begun("build") - one.opened for one in ours]
    end = [one.closed - one.done("build") for one in ours]
    imported = [one.done("import") - one.begun("import") for one in ours]
    rest = [all_of_it - own for all_of_it, own in zip(end, imported)]
    return [
        alone("create → open: kojid looks every 0.2 s", [b.opened - b.created for b in ours]),
        against_old("open → build started", start, "s", 4.24, Aim(1.5)),
        against_old("build done → task closed, less import", rest, "s", 1.52, Aim(1.0)),
        alone("import", imported),
        alone("in no stage, after open", [unaccounted(one) for one in ours]),
    ]


def _waiting(builds: list[KojiBuild]) -> list[Figure]:
    """Taken while stage build runs, when the task does nothing but wait."""
    samples = [sample for one in builds for sample in _during(one)]
    memory = [sample.memory for sample in samples]
    programs = [program for sample in samples for program in sample.programs]
    return [
        against_old("task process, RSS", [m.rss for m in memory], "MiB", 57.0, Aim(50.0)),
        against_old("task process, private", [m.private for m in memory], "MiB", 13.0, Aim(10.0)),
        alone("task process, PSS", [m.pss for m in memory], "MiB"),
        against_old("processes below kojid", [s.tree for s in samples], "", 2.0, Aim(1.0)),
        alone("task process, CPU of waiting", [_busy(one) for one in builds], "s/min"),
        alone("CPU of the whole task in kojid's tree", [one.cpu for one in builds]),
        alone("buildroot program, RSS", [p.rss for p in programs], "MiB"),
        alone("buildroot program, private", [p.private for p in programs], "MiB"),
    ]


def _during(one: KojiBuild) -> list[Sample]:
    begin, end = one.begun("build") + 0.5, one.done("build") - 0.5
    return [sample for sample in one.samples if begin <= sample.at <= end]


def _busy(one: KojiBuild) -> float:
    """CPU seconds per minute."""
    samples = _during(one)
    first, last = samples[0], samples[-1]
    return 60 * (last.cpu - first.cpu) / (last.at - first.at)

"""What becomes of a build that says very much: 200,000 lines of 100 bytes."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import koji

from koji_containerbuild.contract.tasks import arch_log
from koji_containerbuild.devstack.process import running
from tests.bench import processes
from tests.bench.cluster_site import ClusterSite, follower
from tests.bench.figures import Aim, Figure, against_old, alone
from tests.bench.koji_build import ENDED, BuildBroke, start
from tests.bench.site import LABELS, MARK
from tests.cluster.pods import script

LINES = 200_000
LENGTH = 100  # bytes of a line, with its end
LOOK = 0.02  # seconds between two looks at what has come
PATIENCE = 300.0  # seconds
FIRST, LAST = b"line 00000001 ", f"line {LINES:08d} ".encode()
FILLING = "x" * (LENGTH - len(FIRST) - 1)
OLD_SECONDS, OLD_CPU, OLD_UPLOADS = 13.0, 7.0, 622


@dataclass(frozen=True)
class Took:
    """Of one run."""

    seconds: float  # from the first line's coming to the last one's
    cpu: float  # seconds
    lines: int  # that came, each once and in order


def many_lines(site: ClusterSite) -> list[tuple[str, list[Figure]]]:
    """Beside it: a follower of a pod that prints the same, no build."""
    ours, raw = [], []
    for _ in range(1 if site.quick else min(site.runs, 3)):
        raw.append(_followed(site))
        ours.append(_built(site))
    what = follower()
    seconds, cpu = [one.seconds for one in ours], [one.cpu for one in ours]
    raw_seconds, raw_cpu = [one.seconds for one in raw], [one.cpu for one in raw]
    figures = [
        against_old("first line → last line readable", seconds, "s", OLD_SECONDS, Aim(6.0)),
        _beside("the same", ours=seconds, raw=raw_seconds, what=what),
        against_old("CPU of task, kojid and hub", cpu, "s", OLD_CPU, Aim(OLD_CPU)),
        _beside("the same", ours=cpu, raw=raw_cpu, what=what),
        Figure(
            "lines that did not come once, in order",
            max(LINES - one.lines for one in ours),
            "",
            max(LINES - one.lines for one in raw),
            what,
            aim=Aim(0.0),
        ),
    ]
    return [(f"{LINES} lines of {LENGTH} bytes", figures)]


def _beside(name: str, ours: Sequence[float], raw: Sequence[float], what: str) -> Figure:
    first = alone(name, ours)
    base = alone(name, raw).ours
    return Figure(name, first.ours, "s", base, what, first.ours / base if base else None)


def printing(before: str) -> str:
    """A shell's words."""
    line = f'printf "line %08d {FILLING}\\n", i'
    return f"{before}; awk 'BEGIN {{ for (i = 1; i <= {LINES}; i++) {line} }}'"


def _followed(site: ClusterSite) -> Took:
    with site.pods() as pods:
        pods.run("lines", script(printing(f"echo {MARK.decode()}; sleep 3")))
        pods.running("lines")
        with site.followed(["lines"], pods.namespace) as (program,):
            assert program.stdout
            begin = end = cpu = 0.0
            came = _Came()
            while block := _read(program.stdout):
                came.add(block)
                if not begin and came.lines:
                    begin = time.monotonic()
                if came.lines:
                    end = time.monotonic()
                    cpu = processes.cpu(program.pid).own
            return Took(end - begin, cpu, came.lines)


def _read(pipe: IO[bytes]) -> bytes:
    return pipe.read1(1 << 20)  # type: ignore[attr-defined,no-any-return]  # of a BufferedReader


def _built(site: ClusterSite) -> Took:
    """The file is looked at where the hub has it: a reader's requests would count as the hub's."""
    mark = f"echo {MARK.decode()}; sleep 3"
    dockerfile = f"FROM demo/base:1\n{LABELS}RUN {printing(mark)}\n"
    session = site.stack.session()
    task = start(site, site.commit("lines", dockerfile))
    folder = site.stack.places.topdir / "work" / koji.pathinfo.taskrelpath(task)
    log = folder / arch_log(platform.machine())
    deadline = time.monotonic() + PATIENCE

    def until(words: bytes) -> None:
        size = 0
        while words not in (tail := _tail(log, size)):
            size = max(0, size + len(tail) - len(words))
            if time.monotonic() > deadline:
                raise BuildBroke(f"Task {task}: no {words!r} in its log within {PATIENCE:.0f} s.")
            time.sleep(LOOK)

    until(b"\n" + MARK + b"\n")
    used = _cpu_of(site)
    until(b"\n" + FIRST)
    begin = time.monotonic()
    until(b"\n" + LAST)
    seconds, cpu = time.monotonic() - begin, used()
    while session.getTaskInfo(task)["state"] not in ENDED:
        time.sleep(0.2)
    if session.getTaskInfo(task)["state"] != koji.TASK_STATES["CLOSED"]:
        raise BuildBroke(f"Task {task} did not succeed.")
    came = _Came()
    for part in _through_the_hub(site, task, log.name):
        came.add(part)
    return Took(seconds, cpu, came.lines)


def _cpu_of(site: ClusterSite) -> Callable[[], float]:
    """Seconds from now on, of the hub, of kojid and of its one task."""
    found = [running(site.stack.places.run, name) for name in ("hub", "kojid")]
    tops = [one.pid for one in found if one]
    pids = [pid for top in tops for pid in (top, *processes.below(top))]
    before = sum(processes.cpu(pid).own for pid in pids)
    return lambda: sum(processes.cpu(pid).own for pid in pids) - before


def _tail(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read()
    except FileNotFoundError:
        return b""


def _through_the_hub(site: ClusterSite, task: int, name: str) -> Iterator[bytes]:
    session, offset = site.stack.session(), 0
    while part := session.downloadTaskOutput(task, name, offset=offset, size=4 << 20):
        offset += len(part)
        yield part


class _Came:
    """Counts the lines that come as they should."""

    def __init__(self) -> None:
        self.lines = 0
        self._rest = b""

    def add(self, block: bytes) -> None:
        """The next bytes. A line that is not the next one is not counted, nor any after it."""
        *whole, self._rest = (self._rest + block).split(b"\n")
        for line in whole:
            if line == f"line {self.lines + 1:08d} {FILLING}".encode():
                self.lines += 1

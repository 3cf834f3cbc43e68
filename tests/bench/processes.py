"""What a process costs: memory and CPU time, as /proc tells."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
MIB = 1024.0


@dataclass(frozen=True)
class Memory:
    """In MiB."""

    rss: float
    pss: float  # shared pages divided among those who share them
    private: float


@dataclass(frozen=True)
class Cpu:
    """Seconds since the process began, its own and of children that it waited for."""

    own: float
    children: float


def memory(pid: int) -> Memory:
    """Raises OSError when it is gone."""
    sizes = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value = line.split()[:2]
        sizes[name.rstrip(":")] = int(value) / MIB
    private = sizes["Private_Clean"] + sizes["Private_Dirty"]
    return Memory(sizes["Rss"], sizes["Pss"], private)


def cpu(pid: int) -> Cpu:
    """Raises OSError when it is gone."""
    fields = _stat(pid)
    times = [int(field) / TICK for field in fields[11:15]]
    return Cpu(times[0] + times[1], times[2] + times[3])


def below(pid: int) -> list[int]:
    """All processes in its tree but itself."""
    parents = dict(_parents())
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


def command(pid: int) -> str:
    """Its command line."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")


def working_below(folder: Path) -> list[int]:
    """Processes whose working folder lies in there."""
    return [pid for pid, _parent in _parents() if _folder(pid).startswith(f"{folder}/")]


def _folder(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return ""


def _parents() -> Iterator[tuple[int, int]]:
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                yield int(path.name), int(_stat(int(path.name))[1])
            except OSError:
                continue


def _stat(pid: int) -> list[str]:
    """The fields after the name: [0] is the state, field 3 of proc(5)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()

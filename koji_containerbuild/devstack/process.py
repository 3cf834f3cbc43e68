"""Start, know again and end the programs of the devstack.

Each has a record `run/<name>.pid` with its process id *and* its start time, so that we never end a
stranger who was given the same number later.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from koji_containerbuild.errors import ServiceError

STOP_SECONDS = 20.0


@dataclass(frozen=True)
class Part:
    """One program of the devstack, and how to tell that it is ready."""

    name: str
    argv: tuple[str, ...]
    ready: Callable[[], bool]
    env: Mapping[str, str] = field(default_factory=dict)  # added to ours
    user: str | None = None
    cwd: str = "/"
    stop_signal: signal.Signals = signal.SIGTERM
    ready_seconds: float = 30.0
    reads: tuple[Path, ...] = ()  # files; when one changes, `up` starts the program anew


@dataclass(frozen=True)
class Record:
    """What is written about a running program."""

    pid: int
    started: int  # in clock ticks since the machine's start, as /proc says
    fingerprint: str


def running(run: Path, name: str) -> Record | None:
    """The record of the program, if it is alive and the one that we started."""
    try:
        record = Record(**json.loads((run / f"{name}.pid").read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return record if _start_time(record.pid) == record.started else None


def ensure(part: Part, run: Path, log: Path, *, before: Callable[[], None]) -> bool:
    """Have it running with today's settings; True if it had to be started.

    `before` is called when it is about to be started (is the port free?).
    """
    record = running(run, part.name)
    wanted = fingerprint(part)
    if record and record.fingerprint == wanted:
        _wait_ready(part, record, log)
        return False
    if record:
        stop(run, part.name, part.stop_signal)
    before()
    pid = _start(part, log)
    record = Record(pid, _start_time(pid) or 0, wanted)
    run.mkdir(parents=True, exist_ok=True)
    (run / f"{part.name}.pid").write_text(json.dumps(asdict(record)) + "\n")
    _wait_ready(part, record, log)
    return True


def stop(run: Path, name: str, how: signal.Signals = signal.SIGTERM) -> bool:
    """End it and what it left behind; True if it was running."""
    record = running(run, name)
    if record:
        os.kill(record.pid, how)
        deadline = time.monotonic() + STOP_SECONDS
        while _start_time(record.pid) == record.started and time.monotonic() < deadline:
            time.sleep(0.02)
        _end_group(record.pid)
    (run / f"{name}.pid").unlink(missing_ok=True)
    return record is not None


def fingerprint(part: Part) -> str:
    """Changes when the command, its environment or a file that it reads changes."""
    digest = hashlib.sha256(repr((part.argv, sorted(part.env.items()), part.user)).encode())
    for path in part.reads:
        digest.update(str(path).encode() + (path.read_bytes() if path.is_file() else b"-"))
    return digest.hexdigest()


def log_tail(path: Path, lines: int = 15) -> str:
    """The last lines of a log, for an error."""
    if not path.exists():
        return "(it wrote no log)"
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


def run_program(
    argv: list[str],
    *,
    env: Mapping[str, str] | None = None,
    user: str | None = None,
    cwd: Path | None = None,
    data: bytes | None = None,
) -> str:
    """Run to the end; its output. ServiceError with what it said if it failed."""
    done = subprocess.run(
        argv,
        env={**os.environ, **(env or {})},
        cwd=cwd or "/",
        user=user,
        group=user,
        extra_groups=[] if user else None,
        capture_output=True,
        input=data if data is not None else b"",
        check=False,
    )
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace").strip()
        raise ServiceError(
            f"`{' '.join(argv)}` failed (exit code {done.returncode}):\n{said[-3000:]}"
        )
    return done.stdout.decode(errors="replace")


def _start(part: Part, log: Path) -> int:
    """A session of its own: it outlives us, and can be ended as a group."""
    log.mkdir(parents=True, exist_ok=True)
    with open(log / f"{part.name}.log", "ab") as output:
        process = subprocess.Popen(
            part.argv,
            env={**os.environ, **part.env},
            cwd=part.cwd,
            user=part.user,
            group=part.user,
            extra_groups=[] if part.user else None,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    _children[process.pid] = process
    return process.pid


_children: dict[int, subprocess.Popen[bytes]] = {}  # of this process, to reap them


def _wait_ready(part: Part, record: Record, log: Path) -> None:
    deadline = time.monotonic() + part.ready_seconds
    while not part.ready():
        if _start_time(record.pid) != record.started:
            raise ServiceError(_failure(part, log, "ended at once"))
        if time.monotonic() > deadline:
            raise ServiceError(
                _failure(part, log, f"is not ready after {part.ready_seconds:.0f} s")
            )
        time.sleep(0.03)


def _failure(part: Part, log: Path, how: str) -> str:
    path = log / f"{part.name}.log"
    return f"Part '{part.name}' {how}. The end of {path}:\n{log_tail(path)}"


def _start_time(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat (proc(5)); None if it is gone or only waits to be reaped."""
    child = _children.get(pid)
    if child and child.poll() is not None:
        return None
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    rest = text.rpartition(")")[2].split()
    return None if rest[0] == "Z" else int(rest[19])


def _end_group(pid: int) -> None:
    """What is left of the session it was started in."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return

"""Start other programs: always a list of arguments, never a shell, and never left behind."""

from __future__ import annotations

import math
import os
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, Optional, Union

from koji_containerbuild.buildroot.console import Console
from koji_containerbuild.errors import ConfigError, ServiceError

NOBODY = 65534  # user and group id
MOST_MEMORY = 2 * 2**30  # bytes of address space of a program that reads hostile data
MOST_OUTPUT = 64 * 2**20  # bytes that a program may print: a record of 1,000 packages has 0.2 MiB
GRACE = 8  # seconds that a program has to clean up when it is told to end


def output(
    command: Sequence[str],
    *,
    env: Mapping[str, str] = os.environ,
    timeout: Optional[int] = 600,
    hostile: bool = False,
    stdin: Union[int, IO[bytes]] = subprocess.DEVNULL,
) -> bytes:
    """What a program prints. Raises ServiceError with its own words.

    `hostile`: it reads what is not ours, so it gets little memory, and none of our rights where we
    have any to give up. `timeout` is in seconds; None: the time limit of the build is enough.
    """
    name = command[0]
    rights: dict[str, Any] = {"env": env, "stdin": stdin}
    if hostile:
        _check_there(name)
        command = ("prlimit", f"--as={MOST_MEMORY}", "--", *command)
        if os.getuid() == 0:
            rights |= {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    with _started(command, subprocess.PIPE, subprocess.PIPE, rights) as program:
        try:
            with _ended_with_us(program):
                out, err = _printed(program, name, timeout)
        except subprocess.TimeoutExpired as error:
            raise ServiceError(f"{name} took more than {timeout} s.") from error
    if program.returncode:
        words = " ".join(err.decode(errors="replace").split())
        raise ServiceError(f"{name} failed: {words[-800:]}")
    return out


def logged(
    command: Sequence[str],
    console: Console,
    env: Mapping[str, str] = os.environ,
    *,
    end: int = signal.SIGTERM,
) -> tuple[int, bytes]:
    """Run a program, its output going to the log as it comes; exit status and last output.

    `end`: the signal that it is ended with when we are.
    """
    with _started(command, subprocess.PIPE, subprocess.STDOUT, {"env": env}) as program:
        assert program.stdout is not None  # noqa: S101 — we asked for a pipe
        source = program.stdout.fileno()
        with _ended_with_us(program, end):
            tail = console.copy(source)
            program.wait()
    return program.returncode, tail


def _check_there(program: str) -> None:
    if not shutil.which(program):
        raise ConfigError(
            f"The program {program} is missing on {os.uname().nodename}.", do="Install it there."
        )


def _started(
    command: Sequence[str], out: int, err: int, rights: Mapping[str, Any]
) -> subprocess.Popen[bytes]:
    _check_there(command[0])
    return subprocess.Popen(
        [*_dies_with_us(), *command],
        stdout=out,
        stderr=err,
        **{"stdin": subprocess.DEVNULL, **rights},
    )


def _printed(
    program: subprocess.Popen[bytes], name: str, seconds: Optional[int]
) -> tuple[bytes, bytes]:
    """Standard output and error, which may not fill our memory. Raises TimeoutExpired too."""
    end = time.monotonic() + seconds if seconds is not None else math.inf
    printed = {stream: bytearray() for stream in (program.stdout, program.stderr) if stream}
    with selectors.DefaultSelector() as open_ones:
        for stream in printed:
            open_ones.register(stream, selectors.EVENT_READ)
        while open_ones.get_map():
            left = end - time.monotonic()
            if left <= 0:
                raise subprocess.TimeoutExpired(program.args, seconds or 0)
            for key, _ in open_ones.select(left if left < math.inf else None):
                data = os.read(key.fd, 65536)
                if not data:
                    open_ones.unregister(key.fileobj)
                text = printed[key.fileobj]  # type: ignore[index]  # one that we registered
                text += data
                if len(text) > MOST_OUTPUT:
                    raise ServiceError(f"{name} printed more than {MOST_OUTPUT // 2**20} MiB.")
        program.wait(max(end - time.monotonic(), 1) if end < math.inf else None)
    out, err = printed.values()
    return bytes(out), bytes(err)


@contextmanager
def _ended_with_us(program: subprocess.Popen[bytes], end: int = signal.SIGTERM) -> Iterator[None]:
    """Whatever interrupts us ends the program first, kindly and then not."""
    try:
        yield
    except BaseException:
        program.send_signal(end)
        try:
            program.wait(GRACE)
        except subprocess.TimeoutExpired:
            program.kill()
        raise


def end_children() -> None:
    """End what still runs: a program whose start a signal interrupted is known to nobody."""
    deadline = time.monotonic() + GRACE
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in _children():
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        while _children() and time.monotonic() < deadline:
            time.sleep(0.02)


def _children() -> Sequence[int]:
    """Process ids; those that have ended are reaped."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    found = []
    for path in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):  # a thread that has ended meanwhile
            found += [int(pid) for pid in path.read_text().split()]
    return found


@lru_cache(maxsize=1)
def _dies_with_us() -> tuple[str, ...]:
    """A killed buildroot must not leave its builder running: the kernel tells it to end."""
    return ("setpriv", "--pdeathsig", "TERM", "--") if shutil.which("setpriv") else ()

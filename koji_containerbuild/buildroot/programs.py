"""Start other programs: always a list of arguments, never a shell, and never left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Optional

from koji_containerbuild.buildroot.console import Console
from koji_containerbuild.errors import ConfigError, ServiceError

NOBODY = 65534  # user and group id
GRACE = 8  # seconds that a program has to clean up when it is told to end


def output(
    command: Sequence[str],
    *,
    env: Mapping[str, str] = os.environ,
    timeout: Optional[int] = 600,
    as_nobody: bool = False,
) -> bytes:
    """What a program prints. Raises ServiceError with its own words.

    `as_nobody`: without our rights, where we have any to give up. `timeout` is in seconds;
    None: the time limit of the build is enough.
    """
    rights: dict[str, Any] = {"env": env}
    if as_nobody and os.getuid() == 0:
        rights |= {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    with _started(command, subprocess.PIPE, subprocess.PIPE, rights) as program:
        try:
            with _ended_with_us(program):
                out, err = program.communicate(timeout=timeout)
        except subprocess.TimeoutExpired as error:
            raise ServiceError(f"{command[0]} took more than {timeout} s.") from error
    if program.returncode:
        words = " ".join(err.decode(errors="replace").split())
        raise ServiceError(f"{command[0]} failed: {words[-800:]}")
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


def _started(
    command: Sequence[str], out: int, err: int, rights: Mapping[str, Any]
) -> subprocess.Popen[bytes]:
    if not shutil.which(command[0]):
        raise ConfigError(
            f"The program {command[0]} is missing on {os.uname().nodename}.", do="Install it there."
        )
    return subprocess.Popen(
        [*_dies_with_us(), *command], stdin=subprocess.DEVNULL, stdout=out, stderr=err, **rights
    )


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


@lru_cache(maxsize=1)
def _dies_with_us() -> tuple[str, ...]:
    """A killed buildroot must not leave its builder running: the kernel tells it to end."""
    return ("setpriv", "--pdeathsig", "TERM", "--") if shutil.which("setpriv") else ()

"""A buildroot program that does what the plan's `userdata` says: {arch: [[word, value], …]}.

    say TEXT      write a text to the log          bytes HEX     write these bytes
    fill N        write N bytes                    wait PATH     until that file exists
    chatter       write without end                crash         end without a word
    fail CAUSE    end with a failure               talk N [S]    write N lines in S seconds, or two
    shout TEXT    write past the log               again PATH    wait, unless this was done before
    eat           use memory without end          linger PATH   as wait, though told to end

It ends with a success if nothing else is said, and as cancelled when it is told to end. The local
engine runs it as a process, the fake engine in a thread.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

LINE = b"0123456789abcdef" * 4 + b"\n"


class ToldToEnd(Exception):
    pass


class Crash(Exception):
    pass


def play(  # noqa: C901, PLR0912
    script: list[list[Any]], write: Callable[[bytes], None], check: Callable[[], None]
) -> str:
    """The cause of a failure, or nothing. `check` raises when the program is told to end."""
    for word, *value in script:
        if word in ("say", "bytes"):
            write(value[0].encode() if word == "say" else bytes.fromhex(value[0]))
        elif word == "fill":
            _fill(value[0], write)
        elif word == "crash":
            raise Crash
        elif word == "shout":
            os.write(1, value[0].encode())
        elif word == "talk":
            for number in range(value[0]):
                write(b"line %d\n" % number)
                time.sleep((value[1] if value[1:] else 2) / value[0])
        elif word == "eat":
            kept = [b""]
            while kept:
                kept.append(os.urandom(1024 * 1024))
        elif word == "again":
            if not Path(value[0]).exists():
                Path(value[0]).touch()
                write(b"first try\n")
                _go_on(["/none"], write, check)
        elif word == "fail":
            return str(value[0])
        elif word == "linger":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            write(b"it lingers\n")
            _go_on(value, write, check)
        elif word in ("wait", "chatter"):
            _go_on(value, write, check)
    return ""


def _go_on(until: list[str], write: Callable[[bytes], None], check: Callable[[], None]) -> None:
    while not (until and Path(until[0]).exists()):
        check()
        if until:
            time.sleep(0.005)
        else:
            write(LINE * 1000)


def _fill(size: int, write: Callable[[bytes], None]) -> None:
    block = LINE * 1000
    for begin in range(0, size, len(block)):
        write(block[: size - begin])


def _main() -> None:  # noqa: C901
    from koji_containerbuild.contract.frames import Framer
    from koji_containerbuild.contract.outcome import Failure, Outcome
    from koji_containerbuild.contract.plan import BuildPlan
    from koji_containerbuild.contract.plan_text import from_variables

    def told(number: int, frame: FrameType | None) -> None:
        raise ToldToEnd

    signal.signal(signal.SIGTERM, told)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # blocked by `detach`
    parser = argparse.ArgumentParser()
    for name in ("plan", "arch", "outcome", "log", "config", "near"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--detach", action="store_true")
    parser.add_argument("--framed", action="store_true")
    parser.add_argument("--plan-from-environment", action="store_true")
    given = parser.parse_args()
    text = Path(given.plan).read_bytes() if given.plan else from_variables(os.environ)
    plan = BuildPlan.from_json(text)
    arch = given.arch or os.environ["PLAN_ARCH"]
    framer = Framer()
    out = open(1, "wb", buffering=0, closefd=False)

    def write(data: bytes) -> None:
        _all(log, data)
        if given.framed:
            _all(out, framer.frame(data))

    with open(given.log, "ab", buffering=0) as log:
        try:
            cause = play((plan.userdata or {})[arch], write, lambda: None)
            outcome = Outcome(arch, image="sha256:" + 64 * "1", report="sha256:" + 64 * "2")
            if cause:
                outcome = Outcome(arch, failure=Failure("build", cause))
        except ToldToEnd:
            outcome = Outcome(arch, failure=Failure("build", "Told to end."), cancelled=True)
        except Crash:
            os._exit(9)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it has ended by itself
    _leave(outcome.to_json(), Path(given.outcome), in_place=given.framed)
    if given.framed:
        _all(out, framer.end())


def _leave(text: str, path: Path, in_place: bool) -> None:
    """In a pod the file is there already: a mount."""
    partial = path if in_place else path.with_suffix(".partial")
    partial.write_text(text)
    partial.replace(path)


def _all(log: Any, data: bytes) -> None:
    while data:
        data = data[log.write(data) :]


if __name__ == "__main__":
    if "--refuse" in sys.argv:
        sys.exit("it will not do")
    if "--detach" in sys.argv:
        from koji_containerbuild.buildroot.__main__ import detach

        detach()
    _main()

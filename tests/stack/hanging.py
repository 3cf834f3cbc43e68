"""Builds that hang until they are told to go on, and the processes that are in it with them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from koji_containerbuild.devstack.process import running
from koji_containerbuild.devstack.stack import Stack
from tests.fakes.web_server import QuietHandler, serving
from tests.stack.builds import wait_until

# Asks what to do: the same commit can hang, and then not. Hanging, it ignores what it can.
STUBBORN = """\
FROM demo/base:1
@LABELS@
RUN if [ "$(wget -q -O - {url})" = hang ]; then \\
      trap '' TERM INT HUP; sleep {seconds} & echo it hangs; wait; sleep {seconds}; \\
    fi; echo it does not
"""


@dataclass
class Switch:
    """A web server that says what a build is to do."""

    url: str
    answer: str = field(default="hang")


@contextmanager
def switching(host: str) -> Iterator[Switch]:
    """A switch that can be reached at that address of this machine."""

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(it.answer.encode())

    with serving(Handler, host) as server:
        it = Switch(f"http://{host}:{server.server_port}/")
        yield it


def processes(word: str) -> list[str]:
    """Command lines that have this word."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if word.encode() in words:
            found.append(b" ".join(words).decode(errors="replace"))
    return found


def task_processes(stack: Stack) -> list[int]:
    """kojid's children: one for each task."""
    kojid = running(stack.places.run, "kojid")
    assert kojid
    children = Path(f"/proc/{kojid.pid}/task/{kojid.pid}/children").read_text()
    return [int(word) for word in children.split()]


def kill_task_process(stack: Stack) -> None:
    (child,) = task_processes(stack)
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: child not in task_processes(stack), 10)


@contextmanager
def kojid_stopped(stack: Stack) -> Iterator[int]:
    """kojid does nothing meanwhile. The process of its one task, which goes on."""
    kojid = running(stack.places.run, "kojid")
    assert kojid
    (process,) = task_processes(stack)
    os.kill(kojid.pid, signal.SIGSTOP)
    try:
        yield process
    finally:
        os.kill(kojid.pid, signal.SIGCONT)

"""A build is prepared in a child of its task: what becomes of it when one of the two is killed."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from koji_containerbuild.devstack.stack import Stack
from tests.fakes.web_server import QuietHandler, serving
from tests.stack.builds import Asked, Builds, wait_until
from tests.stack.hanging import kill_task_process, task_processes

REPO = "[none]\nname=none\nbaseurl=http://127.0.0.1:9/\nenabled=0\n"


class SlowRepo:
    """A .repo file that does not come before it is let go."""

    def __init__(self) -> None:
        self.asked, self.go_on = threading.Event(), threading.Event()
        self.url = ""


@pytest.fixture
def repo() -> Iterator[SlowRepo]:
    it = SlowRepo()

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            it.asked.set()
            it.go_on.wait(60)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(REPO.encode())

    with serving(Handler) as server:
        it.url = f"http://127.0.0.1:{server.server_port}/slow.repo"
        yield it
        it.go_on.set()


def preparing(stack: Stack, builds: Builds, repo: SlowRepo) -> tuple[Asked, int]:
    """A task that prepares its build, and the process in which it does."""
    source = builds.source("FROM demo/base:1\n@LABELS@\nRUN echo built\n")
    asked = builds.start(source, yum_repourls=[repo.url])
    assert repo.asked.wait(30)
    (task,) = task_processes(stack)
    (child,) = Path(f"/proc/{task}/task/{task}/children").read_text().split()
    return asked, int(child)


def test_a_child_that_is_killed_fails_the_task_in_words_and_leaves_nothing(
    stack: Stack, builds: Builds, repo: SlowRepo
):
    asked, child = preparing(stack, builds, repo)
    os.kill(child, signal.SIGKILL)
    built = asked.done()
    assert built.state == "FAILED"
    assert "The process that prepares the build was killed. Build again." in built.fault.replace(
        "\n", " "
    )
    assert builds.building() == []
    log = builds.output(asked.task, "osbs-build.log")
    assert b"task source: done" in log  # what it has said is still there
    assert not list((stack.places.state / "builder" / "tasks").glob("*"))


def test_a_task_that_is_killed_takes_its_child_with_it_and_is_started_again(
    stack: Stack, builds: Builds, repo: SlowRepo
):
    asked, child = preparing(stack, builds, repo)
    kill_task_process(stack)
    wait_until(lambda: not Path(f"/proc/{child}").exists(), 10)
    repo.go_on.set()
    built = asked.done()
    assert built.state == "CLOSED", built.fault
    assert built.release == "1"
    assert builds.building() == []

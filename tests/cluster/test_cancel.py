"""A build in the cluster that is cancelled is gone at once, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from datetime import datetime

import pytest

from koji_containerbuild.devstack.cluster.site import ENGINES, KojiSite
from koji_containerbuild.devstack.process import stop
from tests.cluster.pods import until
from tests.cluster.running_builds import LONG, RunningBuild
from tests.stack.builds import Asked, Builds, wait_until
from tests.stack.hanging import STUBBORN, Switch, kojid_stopped, processes
from tests.stack.images import tags

pytestmark = pytest.mark.cluster

AT_ONCE = 5.0  # seconds from kojid's own notice to the end of the RUN process


@pytest.fixture
def seconds() -> str:
    """What the RUN process sleeps: it is known by that, containers being processes of this host."""
    return str(700000 + time.time_ns() % 100000)


@pytest.fixture
def running(
    engine: str, koji_site: KojiSite, builds: Builds, switch: Switch, seconds: str
) -> RunningBuild:
    """It ignores what it can."""
    source = builds.source(STUBBORN.format(url=switch.url, seconds=seconds))
    found = RunningBuild(koji_site, builds, source, b"\nit hangs\n")
    assert processes(seconds)
    return found


def noticed(site: KojiSite, task: int) -> float:
    """When kojid has seen that the task is cancelled, in seconds since 1970."""
    log = (site.stack.places.log / "kojid.log").read_text(errors="replace")
    match = re.search(rf"^(\S+ \S+) .*Killing canceled task {task} ", log, re.MULTILINE)
    assert match, "kojid did not notice"
    return datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S,%f").timestamp()  # noqa: DTZ007  as kojid


def assert_nothing_is_left(running: RunningBuild) -> None:
    until("nothing is left of it in the cluster", lambda: not running.left(), LONG)
    assert running.asked.done().state == "CANCELED"
    assert tags(running.site.stack.addresses.registry, f"demo/{running.source.name}") == []


def assert_given_back(running: RunningBuild, builds: Builds) -> None:
    wait_until(lambda: builds.state_of(running.nvr) != "BUILDING", LONG)
    assert builds.state_of(running.nvr) == "CANCELED"


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_a_cancelled_build_is_gone_at_once_and_can_be_built_again(
    running: RunningBuild, builds: Builds, switch: Switch, seconds: str, record_property
):
    site = running.site
    done = site.stack.koji("cancel", str(running.task))
    assert done.returncode == 0, done.stderr
    wait_until(lambda: not processes(seconds), LONG)
    took = time.time() - noticed(site, running.task)
    record_property("seconds from kojid's notice until the RUN process was gone", round(took, 2))
    assert took < AT_ONCE
    assert_nothing_is_left(running)
    assert_given_back(running, builds)

    switch.answer = "go on"
    again = site.stack.koji("resubmit", "--nowait", str(running.task))
    assert again.returncode == 0, again.stderr
    match = re.search(r"as new task (\d+)|(\d+)\s*$", again.stdout.split("Task info")[0])
    assert match, again.stdout
    built = Asked(builds, int(match[1] or match[2])).done(LONG)
    assert built.state == "CLOSED", built.fault
    assert built.release == "1"


@pytest.mark.parametrize(
    ("engine", "known"),
    [("kubernetes", True), ("kubernetes", False), ("openshift", False)],
    ids=["kubernetes, known here", "kubernetes, known nowhere", "openshift, known nowhere"],
    indirect=["engine"],
)
def test_a_build_whose_task_was_killed_and_cancelled_is_ended_by_the_next_task(
    known: bool, running: RunningBuild, builds: Builds, seconds: str
):
    """Of any builder; only its number cannot be given back where nobody knows of it."""
    with kojid_stopped(running.site.stack) as process:  # it would start the task again
        os.kill(process, signal.SIGKILL)
        builds.session.cancelTask(running.task)
        if not known:
            (folder,) = running.known_here()
            shutil.rmtree(folder)
    assert_swept(running, seconds)
    if known:
        assert_given_back(running, builds)


@pytest.mark.parametrize("engine", ["kubernetes"], indirect=True)
def test_a_build_that_is_cancelled_while_kojid_is_down_is_ended_by_the_next_task(
    running: RunningBuild, builds: Builds, seconds: str
):
    stack = running.site.stack
    stop(stack.places.run, "kojid", signal.SIGTERM)
    assert running.pods() == [running.pod]
    assert processes(seconds)
    builds.session.cancelTask(running.task)
    stack.up()
    assert_swept(running, seconds)
    assert_given_back(running, builds)


def assert_swept(running: RunningBuild, seconds: str) -> None:
    """The first task that comes tells it to end; what the pod needs time for, a later one does."""
    assert processes(seconds)
    running.sweep()
    wait_until(lambda: not processes(seconds), AT_ONCE)
    assert_nothing_is_left(running)
    running.sweep()
    assert not running.known_here()

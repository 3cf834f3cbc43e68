"""Whatever becomes of kojid, a build in the cluster is made once, and its log is whole."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from koji_containerbuild.devstack.cluster.site import ENGINES, KojiSite
from koji_containerbuild.devstack.process import stop
from tests.cluster.pods import until
from tests.cluster.running_builds import LONG, RunningBuild, assert_one_whole_build
from tests.stack.builds import Builds, wait_until
from tests.stack.hanging import (
    Switch,
    kill_task_process,
    kojid_stopped,
    task_processes,
)

pytestmark = pytest.mark.cluster


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_a_task_whose_process_was_killed_goes_on_with_the_same_pod(
    engine: str, koji_site: KojiSite, builds: Builds, switch: Switch
):
    running = RunningBuild.counting(koji_site, builds, switch)
    kill_task_process(koji_site.stack)
    running.goes_on()
    assert_one_whole_build(running, builds, switch)


@pytest.mark.parametrize("engine", ["kubernetes"], indirect=True)
def test_a_task_that_comes_to_another_host_ends_the_first_build_and_begins_anew(
    engine: str, koji_site: KojiSite, builds: Builds, switch: Switch
):
    """What the first host knew is not there."""
    running = RunningBuild.counting(koji_site, builds, switch)
    with kojid_stopped(koji_site.stack) as process:
        os.kill(process, signal.SIGKILL)
        (folder,) = running.known_here()
        shutil.rmtree(folder)
    until("it has another pod", lambda: running.pods() not in ([], [running.pod]), LONG)
    until("the first is gone", lambda: running.pod not in running.pods(), LONG)
    switch.answer = "go on"
    built = running.asked.done(LONG)
    assert built.state == "CLOSED", built.fault
    assert running.begun() == 2
    until("nothing is left of it in the cluster", lambda: not running.left(), LONG)


@pytest.mark.parametrize("engine", ["kubernetes"], indirect=True)
def test_a_build_goes_on_while_kojid_is_restarted(
    engine: str, koji_site: KojiSite, builds: Builds, switch: Switch
):
    running = RunningBuild.counting(koji_site, builds, switch)
    stop(koji_site.stack.places.run, "kojid", signal.SIGTERM)
    koji_site.stack.up()
    running.goes_on()
    assert_one_whole_build(running, builds, switch)


@pytest.mark.parametrize("engine", ["kubernetes"], indirect=True)
def test_the_task_process_of_a_killed_kojid_leaves_its_build_to_the_next(
    engine: str, koji_site: KojiSite, builds: Builds, switch: Switch
):
    """It lives on, until it has something to tell and Koji does not listen."""
    running = RunningBuild.counting(koji_site, builds, switch)
    (old,) = task_processes(koji_site.stack)
    stop(koji_site.stack.places.run, "kojid", signal.SIGKILL)
    try:
        assert is_alive(old)
        koji_site.stack.up()
        running.goes_on()
        wait_until(lambda: not is_alive(old), LONG)
        assert_one_whole_build(running, builds, switch)
    finally:
        if is_alive(old):
            os.kill(old, signal.SIGKILL)


def is_alive(pid: int) -> bool:
    """Whether a process of kojid's is there and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

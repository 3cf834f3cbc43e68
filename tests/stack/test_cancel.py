"""A cancelled build ends at once, whatever it does, and leaves nothing behind."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from koji_containerbuild.devstack.process import stop
from koji_containerbuild.devstack.stack import Stack
from tests.stack.builds import Asked, Builds, Source, wait_until
from tests.stack.hanging import (
    STUBBORN,
    Switch,
    kill_task_process,
    processes,
    switching,
    task_processes,
)
from tests.stack.images import tags

AT_ONCE = 8.0  # seconds from `koji cancel` to the end of the RUN process


@pytest.fixture
def switch() -> Iterator[Switch]:
    with switching("127.0.0.1") as it:
        yield it


def read(path: Path) -> str:
    """The text of a file; empty if it is gone meanwhile."""
    try:
        return path.read_text()
    except OSError:
        return ""


def leavings(stack: Stack) -> dict[str, list[object]]:
    """What builds may leave on a machine."""
    state = stack.places.state
    store = ("--root", f"{state}/containers", "--runroot", f"{state}/containers.run")
    words = ["buildah", *store, "--storage-driver", "overlay"]

    def buildah(*more: str) -> list[str]:
        done = subprocess.run([*words, *more], capture_output=True, text=True)
        return done.stdout.split()  # with an error when a build removes something meanwhile

    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    images = buildah("images", "--format", "{{.Name}}:{{.Tag}}")
    runs = Path("/run/runc").glob("*/state.json")
    temporary = Path("/var/tmp").glob("koji-containerbuild-*")
    return {
        "containers": buildah("containers", "-q"),
        "images": [name for name in images if "koji-containerbuild/build" in name],
        "mounts": [line for line in mounts if f" {state}/containers/overlay/" in line],
        "folders": [
            path for path in temporary if not path.name.startswith("koji-containerbuild-pg-")
        ],
        "jobs": list((state / "builder" / "jobs").glob("*")),
        "tasks": list((state / "builder" / "tasks").glob("*")),
        "runc": [path.parent.name for path in runs if f"{state}/" in read(path)],
    }


def assert_nothing_is_left(stack: Stack, before: dict[str, list[object]]) -> None:
    """Others may build on this machine, too: what is theirs goes away, what is left does not."""
    left = {(key, one) for key, found in leavings(stack).items() for one in found}
    left -= {(key, one) for key, found in before.items() for one in found}
    deadline = time.monotonic() + 15
    while left and time.monotonic() < deadline:
        left &= {(key, one) for key, found in leavings(stack).items() for one in found}
        time.sleep(0.2)
    assert not left


def hanging(builds: Builds, source: Source) -> Asked:
    asked = builds.start(source)
    asked.wait_for(b"\nit hangs\n")
    return asked


def test_a_cancelled_build_is_gone_at_once_and_can_be_built_again(
    stack: Stack, builds: Builds, switch: Switch, record_property
):
    seconds = str(700000 + time.time_ns() % 100000)
    source = builds.source(STUBBORN.format(url=switch.url, seconds=seconds))
    before = leavings(stack)
    asked = hanging(builds, source)
    nvr = f"{source.component}-1-1"
    assert builds.state_of(nvr) == "BUILDING"
    assert processes(seconds)

    begin = time.monotonic()
    done = stack.koji("cancel", str(asked.task))
    assert done.returncode == 0, done.stderr
    wait_until(lambda: not processes(seconds), AT_ONCE + 30)
    took = time.monotonic() - begin
    record_property("seconds until the RUN process was gone", round(took, 2))
    print(f"RUN process gone {took:.2f} s after koji cancel")

    wait_until(lambda: builds.state_of(nvr) != "BUILDING", 20)
    freed = time.monotonic() - begin
    print(f"reservation given back {freed:.2f} s after koji cancel")
    assert builds.state_of(nvr) == "CANCELED"
    assert asked.done().state == "CANCELED"
    assert took < AT_ONCE

    assert_nothing_is_left(stack, before)
    assert tags(stack.addresses.registry, f"demo/{source.name}") == []

    switch.answer = "go on"
    again = stack.koji("resubmit", "--nowait", str(asked.task))
    assert again.returncode == 0, again.stderr
    match = re.search(r"as new task (\d+)|(\d+)\s*$", again.stdout.split("Task info")[0])
    assert match, again.stdout
    built = Asked(builds, int(match[1] or match[2])).done()
    assert built.state == "CLOSED", built.fault
    assert built.release == "1"
    assert_nothing_is_left(stack, before)


@pytest.mark.parametrize(
    "words", ["task source: started", "x86_64 build: started", "push: started"]
)
def test_a_build_cancelled_at_any_moment_leaves_nothing(stack: Stack, builds: Builds, words: str):
    source = builds.source("FROM demo/base:1\n@LABELS@\nRUN dnf -y install hello\n")
    before = leavings(stack)
    asked = builds.start(source)
    wait_until(lambda: words.encode() in asked.log("osbs-build.log"), 30, pause=0.01)
    stack.session().cancelTask(asked.task)
    assert asked.done().state == "CANCELED"
    wait_until(lambda: builds.building() == [], 20)
    assert_nothing_is_left(stack, before)
    assert tags(stack.addresses.registry, f"demo/{source.name}") == []


PATIENT = """\
FROM demo/base:1
@LABELS@
RUN echo it hangs; while [ "$(wget -q -O - {url})" = hang ]; do sleep 0.1; done; echo it does not
"""


def test_a_task_whose_process_was_killed_goes_on_with_the_same_build(
    stack: Stack, builds: Builds, switch: Switch
):
    """kojid starts the task again: the build is adopted, not begun anew."""
    source = builds.source(PATIENT.format(url=switch.url))
    before = leavings(stack)
    asked = hanging(builds, source)
    kill_task_process(stack)
    wait_until(lambda: task_processes(stack), 30)
    switch.answer = "go on"
    built = asked.done()
    assert built.state == "CLOSED", built.fault
    assert built.release == "1"
    (log,) = [row for row in builds.session.getBuildLogs(built.nvr) if row["name"] == "x86_64.log"]
    text = (stack.places.topdir / log["path"]).read_bytes()
    assert text.count(b"\nit hangs\n") == text.count(b"\nit does not\n") == 1
    assert_nothing_is_left(stack, before)


def test_a_build_goes_on_while_kojid_is_restarted(stack: Stack, builds: Builds, switch: Switch):
    source = builds.source(PATIENT.format(url=switch.url))
    before = leavings(stack)
    asked = hanging(builds, source)
    stop(stack.places.run, "kojid", signal.SIGTERM)
    stack.up()
    switch.answer = "go on"
    built = asked.done()
    assert built.state == "CLOSED", built.fault
    assert built.release == "1"
    assert builds.output(asked.task, "x86_64.log").count(b"\nit hangs\n") == 1
    assert_nothing_is_left(stack, before)

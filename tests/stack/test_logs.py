"""Logs: live, complete, and byte for byte what the build wrote; and what a waiting task costs."""

from __future__ import annotations

import re
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import koji
import pytest

from koji_containerbuild.devstack.process import running
from koji_containerbuild.devstack.stack import Stack
from tests.stack.builds import Asked, Builds, Built, wait_until

# /proc/uptime is the one clock of the base image that is finer than a second.
TICKS = """\
FROM demo/base:1
@LABELS@
RUN echo ticks; i=0; while [ $i -lt 100 ]; do \\
      read -r now rest < /proc/uptime; echo "tick $i $now"; i=$((i+1)); usleep 100000; done
"""

LINES = 1_000_000
LONG = f"""\
FROM demo/base:1
@LABELS@
RUN awk 'BEGIN {{ for (i = 1; i <= {LINES}; i++) print "line " i " of a long log" }}'
"""

# What no text should hold, and does: bytes that are not UTF-8, controls, ends of lines of all kinds.
ODD_BYTES = (
    r"\303\274\377\376 \033[31mred\033[0m\tbell\007 nul\000 back\010 cr\rcrlf\r\n\342\230\203 end"
)
ODD = b"\xc3\xbc\xff\xfe \x1b[31mred\x1b[0m\tbell\x07 nul\x00 back\x08 cr\rcrlf\r\n\xe2\x98\x83 end"
STRANGE = (
    """\
FROM demo/base:1
@LABELS@
LABEL summary="Grüße ☃ 🚀 aus München" bell="ring \x07\x1b[31m here" line="one\ttwo" \\
      "key ü"="ß" empty=""
ENV GRUSS="Grüße"
RUN printf '"""
    + ODD_BYTES
    + r"""\n'; printf 'no newline at the end'
COPY ["Größe ☃.txt", "/Größe ☃.txt"]
COPY ["with blank", "/with blank"]
RUN printf x > "$(printf '/bytes-\377-\033-new\nline')"
"""
)


@dataclass(frozen=True)
class Live:
    """A build whose log was read while it was written."""

    built: Built
    late: list[float]  # seconds from written to readable, of each tick
    memory: dict[str, float]  # of the task's process, MiB


def uptime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def memory_of(pid: int) -> dict[str, float]:
    """Resident, and what is this process's alone."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = {key: int(value) / 1024 for key, value in re.findall(r"^(\w+): +(\d+) kB", text, re.M)}
    return {
        "resident": found["Rss"],
        "private": found["Private_Clean"] + found["Private_Dirty"],
        "proportional": found["Pss"],
    }


def task_process(stack: Stack) -> int:
    kojid = running(stack.places.run, "kojid")
    assert kojid
    children = Path(f"/proc/{kojid.pid}/task/{kojid.pid}/children").read_text().split()
    return max(int(word) for word in children)


@pytest.fixture(scope="module")
def live(stack: Stack, builds: Builds) -> Live:
    asked = builds.start(builds.source(TICKS))
    reader = koji.ClientSession(stack.addresses.hub)
    seen, late, memory = b"", [], {}
    asked.wait_for(b"\nticks\n")
    while len(late) < 100:
        piece = reader.downloadTaskOutput(asked.task, "x86_64.log", offset=len(seen), size=65536)
        now = uptime()
        seen += piece
        ticks = re.findall(rb"^tick \d+ ([\d.]+)\n", seen, re.M)
        late += [now - float(word) for word in ticks[len(late) :]]
        if len(late) == 50 and not memory:
            memory = memory_of(task_process(stack))
        time.sleep(0.02)
    reader.rsession.close()
    return Live(asked.done(), late, memory or memory_of(running(stack.places.run, "kojid").pid))


def test_a_line_can_be_read_soon_after_it_is_written(live: Live):
    assert live.built.state == "CLOSED", live.built.fault
    ticks = sorted(live.late[3:])  # the first came while we were waiting for the beginning
    p50, p95, worst = (ticks[int(len(ticks) * share)] for share in (0.5, 0.95, 0.999))
    print(f"written to readable: p50 {p50:.3f} s, p95 {p95:.3f} s, worst {worst:.3f} s")
    assert p95 < 0.5


def test_a_task_that_waits_is_small(live: Live):
    print("task process, MiB: " + ", ".join(f"{k} {v:.1f}" for k, v in live.memory.items()))
    assert live.memory["private"] < 60
    assert live.memory["resident"] < 150


@pytest.fixture(scope="module")
def long(builds: Builds) -> Built:
    built = builds.good(LONG)
    print(f"a log of {LINES} lines: {built.seconds:.1f} s for the whole task")
    return built


def test_a_long_log_is_complete_in_the_task_and_with_the_build(
    stack: Stack, builds: Builds, long: Built
):
    print(f"a log of {LINES} lines: {long.seconds:.1f} s for the whole task")
    logs = {row["name"]: row["path"] for row in builds.session.getBuildLogs(long.nvr)}
    texts = {
        "task": builds.output(long.task, "x86_64.log"),
        "build": (stack.places.topdir / logs["x86_64.log"]).read_bytes(),
        "builder": (stack.places.topdir / logs["x86_64-build.log"]).read_bytes(),
    }
    for where, text in texts.items():
        lines = re.findall(rb"^line (\d+) of a long log$", text, re.M)
        assert len(lines) == LINES, where
        assert (lines[0], lines[-1]) == (b"1", str(LINES).encode()), where
        assert lines == [b"%d" % number for number in range(1, LINES + 1)], where
    assert texts["task"].startswith(texts["build"])


def test_a_long_log_holds_nobody_up(long: Built):
    assert long.seconds < 60


@pytest.fixture(scope="module")
def strange(builds: Builds) -> Built:
    return builds.good(STRANGE, {"Größe ☃.txt": "groß\n", "with blank": "blank\n"})


def test_every_byte_of_the_log_is_kept(stack: Stack, builds: Builds, strange: Built):
    logs = {row["name"]: row["path"] for row in builds.session.getBuildLogs(strange.nvr)}
    for text in (
        builds.output(strange.task, "x86_64.log"),
        (stack.places.topdir / logs["x86_64.log"]).read_bytes(),
        (stack.places.topdir / logs["x86_64-build.log"]).read_bytes(),
    ):
        assert b"\n" + ODD + b"\n" in text
        assert b"no newline at the end" in text


def test_labels_and_file_names_are_what_the_dockerfile_says(builds: Builds, strange: Built):
    image = builds.image(strange)
    assert image.labels["summary"] == "Grüße ☃ 🚀 aus München"
    assert image.labels["bell"] == "ring \x07\x1b[31m here"
    assert image.labels["key ü"] == "ß"
    assert image.labels["empty"] == ""
    assert "GRUSS=Grüße" in image.config["config"]["Env"]
    assert image.top["Größe ☃.txt"][1] == "groß\n".encode()
    assert image.top["with blank"][1] == b"blank\n"
    assert "bytes-\udcff-\x1b-new\nline" in image.top


def test_koji_can_read_a_build_with_strange_characters(
    stack: Stack, builds: Builds, strange: Built
):
    build = builds.session.getBuild(strange.nvr)
    (archive,) = builds.session.listArchives(build["id"], type="image")
    labels = archive["extra"]["docker"]["config"]["config"]["Labels"]
    assert labels["summary"] == "Grüße ☃ 🚀 aus München"
    assert labels["bell"] == r"ring \x07\x1b[31m here"
    for page in (
        f"buildinfo?buildID={build['id']}",
        f"archiveinfo?archiveID={archive['id']}",
        f"taskinfo?taskID={strange.task}",
    ):
        with urllib.request.urlopen(f"{stack.addresses.web}/{page}", timeout=30) as answer:
            assert "</html>" in answer.read().decode(), page
    info = stack.koji("buildinfo", strange.nvr)
    assert info.returncode == 0, info.stderr


def test_a_build_that_fails_with_strange_characters_says_so(stack: Stack, builds: Builds):
    """The fault goes through XML, which holds neither controls nor what is not UTF-8."""
    dockerfile = f"FROM demo/base:1\n@LABELS@\nRUN printf '{ODD_BYTES}\\n'; exit 7\n"
    built = builds.build(dockerfile)
    assert built.state == "FAILED"
    assert "exit status 7" in built.fault
    assert "red" in built.fault and "☃ end" in built.fault
    info = stack.koji("taskinfo", "-v", str(built.task))
    assert info.returncode == 0, info.stderr


def test_a_secret_token_is_in_no_output(builds: Builds, live: Live):
    for name in live.built.outputs:
        assert b'"token"' not in builds.output(live.built.task, name)


def test_the_log_is_there_while_the_build_runs(stack: Stack, builds: Builds):
    asked: Asked = builds.start(
        builds.source("FROM demo/base:1\n@LABELS@\nRUN echo up; sleep 600\n")
    )
    asked.wait_for(b"\nup\n")
    assert b"task name: done in" in asked.log("osbs-build.log")
    assert b"x86_64 build: started" in asked.log("osbs-build.log")
    stack.koji("cancel", str(asked.task))
    assert asked.done().state == "CANCELED"
    wait_until(lambda: builds.building() == [], 20)

"""A build that fails says where, why and what to read, and gives its release back."""

from __future__ import annotations

import re

import pytest

from koji_containerbuild.devstack.seed import TARGET
from koji_containerbuild.devstack.stack import Stack
from tests.stack.builds import Builds, Built, Source
from tests.stack.images import tags

FAILS = """\
FROM demo/base:1
@LABELS@
RUN echo before
RUN i=0; while [ $i -lt 40 ]; do i=$((i+1)); echo "line $i"; done; echo "grüße \\303" >&2; exit 42
RUN echo never
"""


@pytest.fixture(scope="module")
def source(builds: Builds) -> Source:
    return builds.source(FAILS)


@pytest.fixture(scope="module")
def failed(builds: Builds, source: Source) -> Built:
    return builds.start(source).done()


def test_the_fault_names_stage_arch_instruction_last_lines_and_log(failed: Built):
    assert failed.state == "FAILED"
    lines = failed.fault.splitlines()
    assert lines[0].startswith("Stage 'build' failed for x86_64: ")
    assert "exit status 42" in lines[0]
    assert lines[1].startswith("Instruction: RUN i=0; while")
    assert lines[2] == "Its last lines:"
    assert "    line 40" in lines
    assert "line 20" not in failed.fault
    assert "never" not in failed.fault
    assert lines[-1] == "Log: x86_64.log"
    assert "Traceback" not in failed.fault
    assert len(failed.fault) < 4096


def test_the_log_of_the_arch_is_complete_and_ends_with_the_reason(builds: Builds, failed: Built):
    log = builds.output(failed.task, "x86_64.log").decode(errors="replace")
    assert re.search(r"^before$", log, re.M)
    assert [f"line {i}" for i in range(1, 41)] == re.findall(r"^line \d+$", log, re.M)
    assert "Stage 'build' failed" in log.splitlines()[-1]
    task_log = builds.output(failed.task, "osbs-build.log").decode()
    assert "x86_64 build: failed" in task_log


def test_the_reservation_is_given_back_and_nothing_is_in_the_registry(
    stack: Stack, builds: Builds, source: Source, failed: Built
):
    assert builds.state_of(f"{source.component}-1-1") == "FAILED"
    assert builds.building() == []
    assert tags(stack.addresses.registry, f"demo/{source.name}") == []


def test_the_command_line_says_why_and_where_to_read_on(stack: Stack, source: Source):
    words = ("--wait", TARGET, "--git-branch", "f43", source.commit.source)
    done = stack.koji("container-build", *words)
    assert done.returncode == 1
    assert "Stage 'build' failed for x86_64" in done.stderr
    assert "Instruction: RUN i=0" in done.stderr
    assert "watch-logs" in done.stderr


def test_once_mended_the_next_build_takes_the_same_release(
    stack: Stack, builds: Builds, source: Source, failed: Built
):
    text = FAILS.replace("exit 42", "exit 0").replace("@LABELS@", label(source))
    built = builds.start(builds.change(source, {"Dockerfile": text})).done()
    assert built.state == "CLOSED", built.fault
    assert built.release == "1"
    assert "1-1" in tags(stack.addresses.registry, f"demo/{source.name}")


def label(source: Source) -> str:
    return f'LABEL com.redhat.component="{source.component}" name="demo/{source.name}" version="1"'


def test_a_file_to_copy_that_is_not_there_is_named(builds: Builds):
    built = builds.build("FROM scratch\n@LABELS@\nCOPY nothing.txt /\n")
    assert built.state == "FAILED"
    assert "Stage 'build' failed for x86_64" in built.fault
    assert "nothing.txt" in built.fault
    assert "Log: x86_64.log" in built.fault


def test_a_package_that_is_not_in_the_repo_is_named(builds: Builds):
    built = builds.build("FROM demo/base:1\n@LABELS@\nRUN dnf -y install nosuchthing\n")
    assert built.state == "FAILED"
    assert "Instruction: RUN dnf -y install nosuchthing" in built.fault
    assert "nosuchthing" in built.fault.partition("Its last lines:")[2]


def test_a_build_that_takes_too_long_is_ended_and_told_so(builds: Builds):
    dockerfile = "FROM demo/base:1\n@LABELS@\nRUN sleep 300\n"
    built = builds.build(dockerfile, {"container.yaml": "buildtime_limit: 3\n"})
    assert built.state == "FAILED"
    assert "The build took longer than its limit of 3 s." in built.fault
    assert built.seconds < 30
    assert builds.building() == []

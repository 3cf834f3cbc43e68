"""What changed from one build to the next, as a packager finds it in Koji."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from koji_containerbuild.devstack.stack import Stack
from tests.stack.builds import Builds, Built, Source

DOCKERFILE = "FROM demo/base:1\n@LABELS@\nRUN dnf -y install {} && dnf clean all\n"


def log_of(builds: Builds, built: Built, name: str) -> str:
    """A log output of the Koji build."""
    assert built.build, built.fault
    (found,) = [
        log for log in builds.session.getBuildLogs(built.build["id"]) if log["name"] == name
    ]
    return (Path(builds.stack.places.state) / "koji" / found["path"]).read_text()


@pytest.fixture(scope="module")
def two(builds: Builds) -> tuple[Source, Built, Built]:
    """Two builds of one image; the second installs a package more."""
    source = builds.source(DOCKERFILE.format("libhello"))
    first = builds.start(source).done()
    assert first.state == "CLOSED", first.fault
    labels = (
        f'LABEL com.redhat.component="{source.component}" name="demo/{source.name}" version="1"'
    )
    text = DOCKERFILE.format("hello").replace("@LABELS@", labels)
    changed = builds.change(source, {"Dockerfile": text})
    second = builds.start(changed).done()
    assert second.state == "CLOSED", second.fault
    return changed, first, second


def test_the_first_build_says_that_it_is_the_first(builds: Builds, two):
    said = log_of(builds, two[1], "changes.log")
    assert "This is the first build of the image that Koji knows." in said
    _, _, against = said.partition("Against the parent image")
    assert f"From demo-base-container-1-1 to {two[1].nvr}\n" in against
    assert "\nAdded: 1\n  libhello  1.0-1.f43\n" in against


def test_the_second_build_names_the_package_that_it_added(builds: Builds, two):
    _, first, second = two
    said = log_of(builds, second, "changes.log")
    assert f"From {first.nvr} to {second.nvr}\n" in said
    since, _, _ = said.partition("Against the parent image")
    assert "\nAdded: 1\n  hello  2.4-1.f43\n" in since
    assert "\n  release: 1 -> 2\n" in since
    assert "6 packages did not change." in since
    read = json.loads(log_of(builds, second, "changes.json"))
    (arch,) = read["previous"]["changes"]["arches"]
    assert [package["name"] for package in arch["packages"]["added"]] == ["hello"]


def test_the_command_says_the_same_and_the_other_way_round(stack: Stack, builds: Builds, two):
    _, first, second = two
    shown = stack.koji("container-diff", first.nvr, str(second.build["id"]))
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.rstrip("\n") in log_of(builds, second, "changes.log")
    back = stack.koji("container-diff", "--json", second.nvr, first.nvr)
    (arch,) = json.loads(back.stdout)["arches"]
    assert [package["name"] for package in arch["packages"]["removed"]] == ["hello"]


def test_the_command_says_what_it_cannot_compare(stack: Stack, two):
    none = stack.koji("container-diff", two[1].nvr, "no-such-build")
    assert (none.returncode, none.stdout) == (1, "")
    assert "There is no build no-such-build." in none.stderr
    rpm = stack.koji("container-diff", two[1].nvr, "hello-2.4-1.f43")
    assert rpm.returncode == 1
    assert "The build hello-2.4-1.f43 has no container images." in rpm.stderr


def test_the_timeline_has_the_stages_of_the_task_and_of_the_arch(builds: Builds, two):
    said = log_of(builds, two[2], "timeline.log")
    for words in ("task      source", "x86_64    build", "x86_64    push", "task      index"):
        assert f"\n{words} " in said
    assert max(map(len, said.splitlines()[2:])) <= 80
    stages = json.loads(log_of(builds, two[2], "timeline.json"))["stages"]
    assert [one["began"] for one in stages] == sorted(one["began"] for one in stages)


def test_a_scratch_build_is_compared_too(builds: Builds, two):
    source, _, second = two
    scratch = builds.start(source, scratch=True).done()
    assert scratch.state == "CLOSED", scratch.fault
    said = builds.output(scratch.task, "changes.log").decode()
    assert f"From {second.nvr} to {source.component}-1-scratch" in said
    assert "7 packages did not change." in said
    assert builds.output(scratch.task, "timeline.log").startswith(b"Timeline of ")

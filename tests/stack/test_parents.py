"""Parents on a real hub: which Koji builds they are, and another one in their place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from koji_containerbuild.devstack import base_build
from koji_containerbuild.devstack.seed import TARGET
from koji_containerbuild.devstack.stack import Stack
from tests.stack.builds import Builds, Built, Source

BELOW = "FROM demo/base:1\n@LABELS@\nCOPY file /file\n"


@pytest.fixture(scope="module")
def below(builds: Builds) -> Source:
    return builds.source(BELOW, {"file": "one"})


@pytest.fixture(scope="module")
def first(builds: Builds, below: Source) -> Built:
    built = builds.start(below).done()
    assert built.state == "CLOSED", built.fault
    return built


@contextmanager
def provenance(stack: Stack, level: str) -> Iterator[None]:
    """A task reads builder.conf when it begins."""
    path = stack.places.builder_conf
    before = path.read_text()
    path.write_text(before.replace("[parents]\n", f"[parents]\nprovenance = {level}\n"))
    try:
        yield
    finally:
        path.write_text(before)


def about(built: Built) -> dict[str, Any]:
    """What Koji says of the image."""
    assert built.build, built.fault
    found: dict[str, Any] = built.build["extra"]["typeinfo"]["image"]
    return found


def test_the_base_image_is_known_by_its_build(stack: Stack, builds: Builds, first: Built):
    base = builds.session.getBuild(base_build.NVR, strict=True)
    extra = about(first)
    assert extra["parent_build_id"] == base["id"]
    assert extra["parent_images"] == ["demo/base:1"]
    name = f"{stack.addresses.registry}/demo/base:1"
    assert extra["parent_image_builds"] == {name: {"id": base["id"], "nvr": base_build.NVR}}
    assert first.result and "user_warnings" not in first.result


def test_the_image_of_one_arch_is_known_by_the_archive_of_its_build(stack: Stack, builds: Builds):
    archives = builds.session.listArchives(
        builds.session.getBuild(base_build.NVR, strict=True)["id"], type="image"
    )
    docker = {one["extra"]["image"]["arch"]: one["extra"]["docker"] for one in archives}
    (digest,) = docker["x86_64"]["digests"].values()
    with provenance(stack, "fail"):
        built = builds.good(f"FROM demo/base@{digest}\n@LABELS@\nCOPY file /file\n", {"file": "x"})
    (build,) = about(built)["parent_image_builds"].values()
    assert build["nvr"] == base_build.NVR


def test_in_a_chain_each_build_names_the_one_below(
    stack: Stack, builds: Builds, below: Source, first: Built
):
    parent = f"demo/{below.name}:1-1"
    with provenance(stack, "fail"):
        second = builds.good(
            f"FROM demo/base:1 AS tools\nFROM scratch AS none\nFROM {parent}\n@LABELS@\nCOPY x /x\n",
            {"x": "y"},
        )
    extra = about(second)
    assert first.build
    assert extra["parent_build_id"] == first.build["id"]
    assert extra["parent_images"] == ["demo/base:1", "scratch", parent]
    builds_of = extra["parent_image_builds"]
    assert builds_of[f"{stack.addresses.registry}/{parent}"] == {
        "id": first.build["id"],
        "nvr": first.nvr,
    }
    assert builds_of[f"{stack.addresses.registry}/demo/base:1"]["nvr"] == base_build.NVR


def test_a_given_build_takes_the_place_of_the_parent(
    stack: Stack, builds: Builds, below: Source, first: Built
):
    """Even of one that is not there: the new parent need not be released."""
    text = f"FROM demo/{below.name}:not-yet\n@LABELS@\nCOPY x /x\n"
    source = builds.source(text, {"x": "y"})
    words = ("--wait", "--quiet", "--git-branch", "f43", "--koji-parent-build", first.nvr)
    refused = builds.start(source).done()
    assert f"demo/{below.name}:not-yet (line 1 of the Dockerfile) does not exist" in refused.fault
    done = stack.koji("container-build", *words, TARGET, source.commit.source)
    assert done.returncode == 0, done.stdout + done.stderr
    build = builds.session.getBuild(f"{source.component}-1-1", strict=True)
    assert first.build
    extra = build["extra"]["typeinfo"]["image"]
    assert extra["parent_build_id"] == first.build["id"]
    (archive,) = builds.session.listArchives(build["id"], type="image")
    (lower,) = builds.session.listArchives(first.build["id"], type="image")
    assert archive["extra"]["docker"]["parent_id"] == lower["extra"]["docker"]["id"]


def test_a_build_of_another_image_is_refused_as_parent(builds: Builds, below: Source, first: Built):
    built = builds.start(below, koji_parent_build=first.nvr).done()
    assert f"is an image demo/{below.name}, and the Dockerfile stands on demo/base" in built.fault


def test_a_parent_that_koji_does_not_know_is_refused_where_the_site_says_so(
    stack: Stack, builds: Builds, below: Source
):
    scratch = builds.start(below, scratch=True).done()
    assert scratch.result, scratch.fault
    parent = scratch.result["repositories"][0]
    source = builds.source(f"FROM {parent}\n@LABELS@\nCOPY x /x\n", {"x": "y"})
    with provenance(stack, "fail"):
        refused = builds.start(source).done()
    assert f"The parent image {parent} (line 1 of the Dockerfile)" in refused.fault
    assert "Koji knows no such build" in refused.fault
    warned = builds.start(source).done()
    assert warned.result and "Koji knows no such build" in warned.result["user_warnings"][0]
    assert about(warned)["parent_image_builds"] == {parent: None}

"""Several arches in one build, on the real Koji: files are copied onto a base image of two arches.

This machine runs programs of x86_64. What is said of an arch whose programs it cannot run is
tested where it has no emulator for aarch64, and what comes of it where it has one.
"""

from __future__ import annotations

import json
import platform

import pytest

from koji_containerbuild.devstack.seed import BUILD_TAG, MULTI_BUILD_TAG, MULTI_TARGET
from koji_containerbuild.engines.binfmt import emulated
from tests.stack.builds import Builds, Built, Source
from tests.stack.images import LIST, MANIFEST, Image, digest_of, get, tags

COPIES = """\
FROM demo/base:1 AS build
RUN exit 1
FROM demo/base:1
@LABELS@
COPY words.txt /usr/share/words.txt
"""
FAILS_ON_AARCH64 = """\
FROM demo/base:1 AS base
FROM demo/base:1
@LABELS@
COPY --from=base /lib64/ld-linux-x86-64.so.2 /loader
"""
RUNS = "FROM demo/base:1\n@LABELS@\nRUN true\n"
ARCHES = {"x86_64": "amd64", "aarch64": "arm64"}


@pytest.fixture(scope="module")
def two(builds: Builds) -> Builds:
    """The second target has a repo."""
    builds.stack.admin.fresh_repo(BUILD_TAG)
    builds.stack.admin.fresh_repo(MULTI_BUILD_TAG)
    return builds


@pytest.fixture(scope="module")
def built(two: Builds) -> Built:
    source = two.source(COPIES, {"words.txt": "hello\n"})
    made = two.start(source, MULTI_TARGET).done()
    assert made.state == "CLOSED", made.fault
    return made


def manifests(spec: str) -> dict[str, tuple[dict, dict]]:
    """The images of an index by GOARCH: manifest and config."""
    index = Image.pull(spec)
    assert index.index_type == LIST
    found = {}
    for entry in index.index["manifests"]:
        body, _ = get(f"{index.base}/manifests/{entry['digest']}", MANIFEST)
        assert digest_of(body) == entry["digest"] and len(body) == entry["size"]
        manifest = json.loads(body)
        config, _ = get(f"{index.base}/blobs/{manifest['config']['digest']}")
        assert entry["platform"]["os"] == "linux"
        found[entry["platform"]["architecture"]] = manifest, json.loads(config)
    return found


def test_the_index_has_the_image_of_each_arch_on_its_own_parent(two: Builds, built: Built):
    made = manifests(built.result["repositories"][1])
    base = manifests(f"{two.stack.addresses.registry}/demo/base:1")
    assert list(made) == list(ARCHES.values())
    for arch, name in ARCHES.items():
        manifest, config = made[name]
        assert config["architecture"] == name
        assert config["config"]["Labels"]["architecture"] == arch
        assert manifest["layers"][:-1] == base[name][0]["layers"]
        assert len(manifest["layers"]) == len(config["rootfs"]["diff_ids"]) == 2


def test_koji_has_an_archive_of_each_arch_with_its_packages(two: Builds, built: Built):
    archives = two.session.listArchives(built.build["id"], type="image")
    assert sorted(one["extra"]["image"]["arch"] for one in archives) == sorted(ARCHES)
    for archive in archives:
        arch = archive["extra"]["image"]["arch"]
        rpms = two.session.listRPMs(imageID=archive["id"])
        assert {(rpm["name"], rpm["arch"]) for rpm in rpms} == {
            *((name, arch) for name in ("busybox", "dash", "rpm")),
            *((name, "noarch") for name in ("demo-release", "minidnf")),
        }
        assert all(rpm["build_id"] for rpm in rpms)  # each is an RPM that Koji has
        assert archive["filename"].endswith(f".{arch}.tar.gz")
    rooms = {archive["buildroot_id"] for archive in archives}
    assert len(rooms) == 2
    shown = [two.session.getBuildroot(room) for room in rooms]
    assert {room["container_arch"] for room in shown} == set(ARCHES)
    assert {room["host_arch"] for room in shown} == {platform.machine()}


def test_the_logs_of_each_arch_are_with_the_task_and_with_the_build(two: Builds, built: Built):
    of_build = {log["name"] for log in two.session.getBuildLogs(built.build["id"])}
    for arch in ARCHES:
        assert f"{arch}.log" in built.outputs
        assert f"{arch} push: done".encode() in two.output(built.task, f"{arch}.log")
        assert {f"{arch}.log", f"{arch}-build.log"} <= of_build
    assert b"[Warning]" not in two.output(built.task, "x86_64.log")


def test_kojis_pages_of_build_and_archives_show_both(two: Builds, built: Built):
    web = two.stack.addresses.web
    page, _ = get(f"{web}/buildinfo?buildID={built.build['id']}")
    for archive in two.session.listArchives(built.build["id"], type="image"):
        assert archive["filename"].encode() in page
        arch = archive["extra"]["image"]["arch"].encode()
        shown, _ = get(f"{web}/archiveinfo?archiveID={archive['id']}")
        assert b"busybox" in get(f"{web}/rpmlist?imageID={archive['id']}&type=image")[0]
        assert arch in shown


def test_an_arch_that_fails_is_named_and_nothing_is_left_of_either(two: Builds):
    source = two.source(FAILS_ON_AARCH64)
    failed = two.start(source, MULTI_TARGET).done()
    assert failed.state == "FAILED"
    assert "Stage 'build' failed for aarch64: " in failed.fault
    assert "COPY --from=base /lib64/ld-linux-x86-64.so.2 /loader" in failed.fault
    assert "Log: aarch64.log" in failed.fault
    assert "failed for x86_64" not in failed.fault
    assert {"aarch64.log", "x86_64.log"} <= set(failed.outputs)
    assert two.state_of(f"{source.component}-1-1") == "FAILED"
    assert tags(two.stack.addresses.registry, f"demo/{source.name}") == []
    store = two.stack.places.state / "containers" / "overlay-images" / "images.json"
    assert "koji-containerbuild/with-repos:" in store.read_text()
    assert "koji-containerbuild/build:" not in store.read_text()


def test_the_arch_that_works_is_built_alone(two: Builds):
    source = two.source(FAILS_ON_AARCH64, {"container.yaml": "platforms: {not: aarch64}\n"})
    made = two.start(source, MULTI_TARGET).done()
    assert made.state == "CLOSED", made.fault
    assert list(manifests(made.result["repositories"][1])) == ["amd64"]


def test_one_arch_that_is_not_the_machines_is_built_alone(two: Builds):
    source = two.source(COPIES, {"words.txt": "hello\n"})
    made = two.start(source, MULTI_TARGET, scratch=True, arch_override="aarch64").done()
    assert made.state == "CLOSED", made.fault
    assert list(manifests(made.result["repositories"][1])) == ["arm64"]


def runs_for_both(two: Builds, source: Source) -> Built:
    return two.start(source, MULTI_TARGET).done()


@pytest.mark.skipif("aarch64" in emulated(), reason="aarch64 is emulated here")
def test_what_would_have_to_run_for_an_arch_that_cannot_is_refused(two: Builds):
    source = two.source(RUNS)
    refused = runs_for_both(two, source)
    assert refused.state == "FAILED"
    assert refused.fault == (
        "The image cannot be built for aarch64: line 3 of the Dockerfile is 'RUN true', and the "
        "builder lacks an emulator for aarch64 (qemu-user-static, registered with binfmt_misc).\n"
        "Exclude the arch with 'platforms: not:' in container.yaml, or ask the admin of the "
        "builder for what is missing."
    )
    assert two.session.getBuild(f"{source.component}-1-1") is None
    assert "x86_64.log" not in refused.outputs


@pytest.mark.skipif("aarch64" not in emulated(), reason="aarch64 is not emulated here")
def test_with_an_emulator_it_is_tried_and_the_base_image_has_no_program_to_run(two: Builds):
    refused = runs_for_both(two, two.source(RUNS))
    assert "Stage 'build' failed for aarch64: " in refused.fault

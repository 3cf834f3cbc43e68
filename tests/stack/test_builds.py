"""A container build from the command line to the build in Koji, on the worked example."""

from __future__ import annotations

import hashlib
import json
import re
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import koji
import pytest

from koji_containerbuild.devstack import example
from koji_containerbuild.devstack.places import DATA
from koji_containerbuild.devstack.seed import DEST_TAG, TARGET
from koji_containerbuild.devstack.stack import Stack
from tests.stack.builds import Asked, Builds, Built, Source
from tests.stack.images import Image, tags

SMALL = "FROM scratch\n@LABELS@\nCOPY file /file\n"


def page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        assert answer.status == 200
        return answer.read().decode()


@dataclass(frozen=True)
class Example:
    """The worked example under a name of its own, built once by the command line."""

    source: Source
    code: int  # of `koji container-build --wait`
    said: str
    built: Built
    archive: dict[str, Any]


@pytest.fixture(scope="session")
def hello(stack: Stack, builds: Builds) -> Iterator[Example]:
    folder = DATA / "hello"
    files = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    text = files.pop("Dockerfile").decode()
    text = text.replace("hello-container", "@NAME@-container").replace("demo/hello", "demo/@NAME@")
    source = builds.source(text, files)
    words = ("--wait", TARGET, "--git-branch", "f43", source.commit.source)
    done = stack.koji("container-build", *words)
    match = re.search(r"Created task: (\d+)", done.stdout)
    assert match, done.stdout + done.stderr
    built = Asked(builds, int(match[1])).done()
    assert built.build, done.stderr
    (archive,) = builds.session.listArchives(built.build["id"], type="image")
    yield Example(source, done.returncode, done.stdout, built, archive)


def test_the_command_waits_and_prints_pull_specs_and_a_link_to_the_build(
    stack: Stack, hello: Example
):
    assert hello.code == 0
    image = f"{stack.addresses.registry}/demo/{hello.source.name}"
    digest = Image.pull(f"{image}:2.4-1").index_digest
    (unique,) = hello.built.build["extra"]["image"]["index"]["unique_tags"]
    assert hello.said.splitlines()[-4:] == [
        f"Image: {image}:2.4-1",
        f"Image: {image}@{digest}",
        f"Image: {image}:{unique}",
        f"Build: {hello.built.nvr} {stack.addresses.web}/buildinfo?buildID={hello.built.build['id']}",
    ]


def test_the_result_of_the_task_has_the_shape_that_clients_know(hello: Example):
    assert set(hello.built.result) == {"repositories", "koji_builds"}
    assert hello.built.result["koji_builds"] == [str(hello.built.build["id"])]
    assert all(type(one) is str for one in hello.built.result["repositories"])


def test_a_second_build_has_the_next_release(builds: Builds, hello: Example):
    again = builds.start(hello.source).done()
    assert (hello.built.release, again.release) == ("1", "2")


def test_the_demos_own_repository_is_the_worked_example(stack: Stack):
    assert example.commit(stack.git).url.endswith("/container/hello.git")


def test_the_build_has_name_owner_source_task_and_tag(builds: Builds, hello: Example):
    build = hello.built.build
    assert build["nvr"] == f"{hello.source.component}-2.4-1"
    assert build["owner_name"] == "packager"
    assert build["source"] == hello.source.commit.source
    assert build["extra"]["container_koji_task_id"] == hello.built.task
    assert koji.BUILD_STATES[build["state"]] == "COMPLETE"
    assert DEST_TAG in {tag["name"] for tag in builds.session.listTags(build["id"])}
    assert build["cg_name"] == "koji-containerbuild"
    types = builds.session.getBuildType(build["id"])
    assert list(types) == ["image"]


def test_the_index_names_digest_first_and_then_the_primary_tag(stack: Stack, hello: Example):
    index = hello.built.build["extra"]["typeinfo"]["image"]["index"]
    image = f"{stack.addresses.registry}/demo/{hello.source.name}"
    (digest,) = index["digests"].values()
    assert index["pull"] == [f"{image}@{digest}", f"{image}:2.4-1"]
    assert index["tags"] == ["2.4-1"]
    assert index["floating_tags"] == ["latest", "devconf"]
    there = tags(stack.addresses.registry, f"demo/{hello.source.name}")
    assert {"2.4-1", "latest", "devconf", *index["unique_tags"]} <= set(there)


def test_the_rpms_of_the_image_are_linked_to_their_builds(builds: Builds, hello: Example):
    rows = builds.session.listRPMs(imageID=hello.archive["id"])
    found = {row["name"]: row for row in rows}
    assert {"hello", "libhello", "rpm", "busybox", "demo-release"} <= set(found)
    assert {row["external_repo_name"] for row in rows} == {"INTERNAL"}
    origin = builds.session.getBuild(found["hello"]["build_id"])
    assert origin["nvr"] == "hello-2.4-1.f43"


def test_the_archive_says_where_the_image_is_and_what_its_config_is(hello: Example):
    docker = hello.archive["extra"]["docker"]
    image = Image.pull(docker["repositories"][0])
    assert image.index_digest in docker["digests"].values()
    assert docker["repositories"][1].endswith(f"@{image.index_digest}")
    assert docker["config"] == image.config
    assert docker["id"] == image.manifest["config"]["digest"]
    assert [one["diff_id"] for one in docker["layer_sizes"]] == image.config["rootfs"]["diff_ids"]
    assert hello.archive["extra"]["image"]["arch"] == "x86_64"


def test_the_logs_of_the_build_can_be_downloaded(stack: Stack, builds: Builds, hello: Example):
    logs = {
        row["name"]: row["path"] for row in builds.session.getBuildLogs(hello.built.build["id"])
    }
    assert set(logs) == {
        *("osbs-build.log", "x86_64.log", "x86_64-build.log", "plan.json"),
        *("changes.log", "changes.json", "timeline.log", "timeline.json"),
    }
    text = {name: page(f"{stack.addresses.files}/{path}") for name, path in logs.items()}
    assert "x86_64 build: done in" in text["x86_64.log"]
    assert text["x86_64-build.log"].startswith("STEP 1/")
    assert text["x86_64-build.log"] in text["x86_64.log"]
    assert "task name: done in" in text["osbs-build.log"]
    plan = json.loads(text["plan.json"])
    assert plan["nvr"]["name"] == hello.source.component
    assert "token" not in text["plan.json"]


def test_the_image_can_be_downloaded_with_koji(
    stack: Stack, hello: Example, tmp_path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    done = stack.koji("download-build", "--type", "image", hello.built.nvr)
    assert done.returncode == 0, done.stderr
    (file,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    data = file.read_bytes()
    assert hashlib.md5(data).hexdigest() == hello.archive["checksum"]
    assert len(data) == hello.archive["size"]


def test_koji_buildinfo_and_taskinfo_show_the_build(stack: Stack, hello: Example):
    info = stack.koji("buildinfo", hello.built.nvr).stdout
    assert f"BUILD: {hello.built.nvr} [{hello.built.build['id']}]" in info
    assert "Image archives:" in info and hello.archive["filename"] in info
    task = stack.koji("taskinfo", "-v", str(hello.built.task)).stdout
    assert "State: closed" in task
    assert "x86_64.log" in task and "osbs-build.log" in task


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("buildinfo?buildID={build}", ("{nvr}", "{source}", "packager", "{file}", "{task}")),
        ("taskinfo?taskID={task}", ("{nvr}", "buildContainer", "x86_64.log", "osbs-build.log")),
        ("archiveinfo?archiveID={archive}", ("{file}", "README", "config.json")),
        ("rpmlist?type=image&imageID={archive}", ("hello-2.4-1.f43", "libhello")),
    ],
)
def test_the_pages_of_kojiweb_show_the_build(
    stack: Stack, hello: Example, address: str, words: tuple[str, ...]
):
    facts = {
        "build": hello.built.build["id"],
        "nvr": hello.built.nvr,
        "source": hello.source.commit.sha,
        "task": hello.built.task,
        "archive": hello.archive["id"],
        "file": hello.archive["filename"],
    }
    body = page(f"{stack.addresses.web}/{address.format(**facts)}")
    assert "</html>" in body
    missing = [word for word in words if word.format(**facts) not in body]
    assert not missing


def test_watch_logs_and_download_logs_find_the_logs(
    stack: Stack, hello: Example, tmp_path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    watched = stack.koji("watch-logs", str(hello.built.task))
    assert "x86_64 build: done in" in watched.stdout, watched.stderr
    done = stack.koji("download-logs", str(hello.built.task))
    assert done.returncode == 0, done.stderr
    assert {"x86_64.log", "osbs-build.log"} <= {
        name.name.replace("noarch-", "") for name in tmp_path.rglob("*.log")
    }


def test_a_scratch_build_leaves_a_unique_tag_and_metadata_and_no_build(
    stack: Stack, builds: Builds
):
    source = builds.source(SMALL, {"file": "x"}, listed=False)
    built = builds.start(source, scratch=True).done()
    assert built.state == "CLOSED", built.fault
    assert built.result["koji_builds"] == []
    there = tags(stack.addresses.registry, f"demo/{source.name}")
    unique = [tag for tag in there if not tag.endswith(("-x86_64", "-report"))]
    assert len(unique) == 1
    assert unique[0].startswith(f"{TARGET}-")
    spec = f"{stack.addresses.registry}/demo/{source.name}:{unique[0]}"
    assert built.result["repositories"][0] == spec
    assert "metadata.json" in built.outputs
    metadata = json.loads(builds.output(built.task, "metadata.json"))
    assert spec in metadata["build"]["extra"]["image"]["index"]["pull"]
    assert builds.session.getPackageID(source.component) is None


def test_a_release_that_is_given_is_taken(builds: Builds):
    assert builds.good(SMALL, {"file": "x"}, release="7.f43").release == "7.f43"


def test_two_builds_of_one_repository_at_the_same_time_get_two_releases(builds: Builds):
    source = builds.source(SMALL, {"file": "x"})
    asked = [builds.start(source), builds.start(source)]
    done = [one.done() for one in asked]
    assert [one.state for one in done] == ["CLOSED", "CLOSED"], [one.fault for one in done]
    assert {one.release for one in done} == {"1", "2"}


def test_the_same_plan_is_kept_in_the_task_and_holds_no_secret(builds: Builds, hello: Example):
    plan = json.loads(builds.output(hello.built.task, "plan.json"))
    assert plan["source"]["commit"] == hello.source.commit.sha
    assert plan["parents"][0]["pinned"].count("@sha256:") == 1

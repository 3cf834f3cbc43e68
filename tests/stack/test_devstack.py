"""The devstack is a real Koji, and what the demo needs is in it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import koji
import pytest

from koji_containerbuild.devstack import kojid, postgres
from koji_containerbuild.devstack.koji_source import VERSION, fetch
from koji_containerbuild.devstack.places import Places
from koji_containerbuild.devstack.process import Record, ensure, running
from koji_containerbuild.devstack.seed import BUILD_TAG, DEST_TAG, TARGET
from koji_containerbuild.devstack.stack import Stack
from koji_containerbuild.errors import BadRequest

pytestmark = pytest.mark.stack


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return answer.read()


def records(stack: Stack) -> dict[str, Record | None]:
    return {part.name: running(stack.places.run, part.name) for part in stack.status()}


def assert_same(before: dict[str, Record | None], after: dict[str, Record | None]) -> None:
    """No program was started anew, but those whose code somebody edits while the tests run."""
    for name, record in before.items():
        now = after[name]
        assert record and now
        assert record == now or record.fingerprint != now.fingerprint, name


def test_a_plain_koji_client_logs_in_with_the_certificate_of_its_profile(stack: Stack):
    done = stack.koji("hello")
    assert done.returncode == 0, done.stderr
    assert "packager!" in done.stdout
    assert f"Koji {VERSION}" in done.stdout
    assert "Authenticated via client certificate" in done.stdout


def test_the_admin_profile_is_an_admin(stack: Stack):
    done = stack.koji("list-permissions", "--mine", profile_name="devstack-admin")
    assert done.stdout.split()[-1:] == ["admin"] or "admin" in done.stdout.split(), done.stderr


def test_the_session_of_a_normal_user_may_not_do_an_admins_work(stack: Stack):
    session = stack.session("packager")
    with pytest.raises(koji.ActionNotAllowed):
        session.createTag("packagers-own")


def test_a_session_for_kojids_user_is_refused_with_the_reason(stack: Stack):
    with pytest.raises(BadRequest, match="one session only"):
        stack.session("builder1")


def test_the_files_of_koji_cannot_be_left_with_dots(stack: Stack):
    for path in ("../ports.json", "%2e%2e/ports.json", "repos/../../ports.json"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get(f"{stack.addresses.files}/{path}")


@pytest.mark.parametrize(
    "page", ["", "tasks", "builds", "hosts", f"taginfo?tagID={BUILD_TAG}", "api"]
)
def test_the_pages_of_kojiweb_render(stack: Stack, page: str):
    body = get(f"{stack.addresses.web}/{page}").decode()
    assert "</html>" in body
    assert "| koji</title>" in body


def test_the_target_is_the_one_rpkg_derives_from_branch_and_namespace(stack: Stack):
    session = stack.session()
    target = session.getBuildTarget(TARGET)
    assert target["name"] == "f43-container-candidate"
    assert (target["build_tag_name"], target["dest_tag_name"]) == (BUILD_TAG, DEST_TAG)


def test_the_repo_of_the_build_tag_came_from_a_real_task_and_is_served(stack: Stack):
    session = stack.session()
    repo = session.getRepo(BUILD_TAG, state=koji.REPO_READY)
    task = session.getTaskInfo(repo["task_id"])
    assert (task["method"], task["state"]) == ("newRepo", koji.TASK_STATES["CLOSED"])
    base = f"{stack.addresses.files}/repos/{BUILD_TAG}/{repo['id']}/x86_64"
    assert b"primary" in get(f"{base}/repodata/repomd.xml")
    names = {one["name"] for one in session.listTagged(BUILD_TAG)}
    assert {"hello", "libhello", "rpm", "busybox", "demo-release"} <= names


def test_the_rpms_in_koji_are_signed_and_have_their_source(stack: Stack):
    session = stack.session()
    rpms = session.listRPMs(buildID=session.getBuild("hello-2.4-1.f43")["id"])
    assert {one["arch"] for one in rpms} == {"src", "noarch"}
    assert all(session.queryRPMSigs(rpm_id=one["id"]) for one in rpms)


def test_the_base_image_can_be_pulled_and_says_what_it_is(stack: Stack):
    for tag in ("1", "latest"):
        image = f"docker://{stack.addresses.registry}/demo/base:{tag}"
        done = subprocess.run(
            ["skopeo", "inspect", "--tls-verify=false", image], capture_output=True, check=True
        )
        found = json.loads(done.stdout)
        assert found["Labels"]["com.redhat.component"] == "demo-base-container"
        assert len(found["Layers"]) == 1


def test_the_base_image_is_a_build_in_koji_with_its_digest_and_its_rpms(stack: Stack):
    session = stack.session()
    build = session.getBuild("demo-base-container-1-1")
    assert DEST_TAG in {tag["name"] for tag in session.listTags(build["id"])}
    archives = session.listArchives(build["id"], type="image")
    assert sorted(one["extra"]["image"]["arch"] for one in archives) == ["aarch64", "x86_64"]
    for archive in archives:
        image = f"docker://{archive['extra']['docker']['repositories'][0]}"
        inspect = ["skopeo", "inspect", "--raw", "--tls-verify=false", image]
        raw = subprocess.run(inspect, capture_output=True, check=True).stdout
        digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
        assert digest in archive["extra"]["docker"]["digests"].values()
        rpms = {(one["name"], one["arch"]) for one in session.listRPMs(imageID=archive["id"])}
        arch = archive["extra"]["image"]["arch"]
        assert rpms == {
            *((name, arch) for name in ("busybox", "dash", "rpm")),
            *((name, "noarch") for name in ("demo-release", "minidnf")),
        }


def test_git_gives_the_exact_commit_by_its_sha(stack: Stack, tmp_path):
    name = f"container/exact-{time.time_ns()}"
    first = stack.git.create(name, {"Dockerfile": "FROM demo/base:1\n", "run.sh": "#!/bin/sh\n"})
    second = stack.git.commit(name, {"Dockerfile": "FROM scratch\n", "ü.bin": b"\0\n"})
    assert first.url == second.url and first.sha != second.sha
    clone = ["git", "-C", str(tmp_path)]
    subprocess.run([*clone, "init", "-q"], check=True)
    subprocess.run([*clone, "fetch", "-q", "--depth=1", first.url, first.sha], check=True)
    subprocess.run([*clone, "checkout", "-q", "FETCH_HEAD"], check=True)
    assert (tmp_path / "Dockerfile").read_text() == "FROM demo/base:1\n"
    assert os.access(tmp_path / "run.sh", os.X_OK)
    assert not (tmp_path / "ü.bin").exists()


def test_the_worked_example_is_there_at_the_head_of_its_branch(stack: Stack):
    head = stack.git.head("container/hello")
    assert head is not None and head.branch == "f43"
    listing = subprocess.run(
        ["git", "ls-remote", head.url, "HEAD"], capture_output=True, text=True, check=True
    )
    assert listing.stdout.split()[0] == head.sha


CHECK_SCM = """
import sys
from koji.daemon import SCM
scm = SCM(sys.argv[1])
scm.assert_allowed(sys.argv[2])
print(scm.use_common, scm.source_cmd)
"""


def check_scm(stack: Stack, url: str) -> subprocess.CompletedProcess[str]:
    """Ask the class of Koji 1.30 that kojid asks."""
    env = {**os.environ, "PYTHONPATH": str(fetch(stack.places.cache))}
    argv = [sys.executable, "-W", "ignore", "-c", CHECK_SCM, url, kojid.allowed_scms(stack.ports)]
    return subprocess.run(argv, env=env, capture_output=True, text=True)


def test_kojid_accepts_our_git_server_without_common_folder_or_source_command(stack: Stack):
    done = check_scm(stack, f"{stack.addresses.git}/container/hello.git#0123")
    assert done.stdout.split() == ["False", "None"], done.stderr


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:{other}",
        "127.0.0.1.evil.org:{port}",
        "127.0.0.1a{port}",
        "evil.org:{port}",
    ],
)
def test_kojid_refuses_every_other_host(stack: Stack, host: str):
    port = stack.ports.git
    host = host.format(port=port, other=port + 1)
    done = check_scm(stack, f"git://{host}/container/hello.git#0123")
    assert done.returncode and "not in the list of allowed SCMs" in done.stderr


def test_koji_call_and_watch_task_work_from_the_command_line(stack: Stack):
    done = stack.koji("call", "newRepo", BUILD_TAG, profile_name="devstack-admin")
    task = done.stdout.strip()
    watched = stack.koji("watch-task", task)
    assert watched.returncode == 0, watched.stderr
    assert f"{task} newRepo" in watched.stdout and "completed successfully" in watched.stdout


def test_a_second_up_is_quick_and_changes_nothing(stack: Stack):
    before, ports = records(stack), stack.ports
    began = time.monotonic()
    stack.up()
    assert time.monotonic() - began < 5
    assert_same(before, records(stack))
    assert stack.ports == ports


@pytest.mark.parametrize("name", ["kojid", "hub", "registry", "git", "postgres"])
def test_a_killed_part_is_started_again_by_up_and_the_others_stay(stack: Stack, name: str):
    before = records(stack)
    killed = before.pop(name)
    assert killed
    os.kill(killed.pid, signal.SIGKILL)
    while running(stack.places.run, name):
        time.sleep(0.02)
    stack.up()
    after = records(stack)
    new = after.pop(name)
    assert new and new.pid != killed.pid
    assert_same(before, after)
    assert stack.koji("hello").returncode == 0


def test_the_database_of_a_state_folder_that_was_deleted_is_not_met_again(tmp_path):
    places = Places(state=tmp_path / "state", cache=tmp_path / "cache")
    postgres.prepare(places)
    server = postgres.part(places)
    ensure(server, places.run, places.log, before=lambda: None)
    shutil.rmtree(places.state)
    assert postgres.sql(places, "SELECT 1", database="postgres") == [(1,)]
    postgres.forget(places)
    assert not places.postgres.exists()
    postgres.forget(places)  # nothing there is not an error

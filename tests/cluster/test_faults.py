"""What a user of Koji sees when the cluster does not do what it should, and that nothing is lost."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from koji_containerbuild.devstack.cluster.site import ENGINES, KojiSite
from koji_containerbuild.devstack.kojid import clusters_conf
from koji_containerbuild.devstack.seed import TARGET
from tests.cluster.cutting_proxy import CuttingProxy
from tests.cluster.looking import first_process
from tests.cluster.running_builds import LONG, RunningBuild, assert_ended_as_one
from tests.stack.builds import Asked, Builds, wait_until
from tests.stack.hanging import Switch
from tests.stack.test_logs import ODD, ODD_BYTES

pytestmark = pytest.mark.cluster

SOON = 20.0  # seconds in which a user is told: a busy machine's "within seconds"
LONG_LINE = 100_000  # bytes


def ticks(count: int, more: str = "") -> str:
    """A Dockerfile whose RUN step says a numbered line every 0.1 s."""
    return f"""\
FROM demo/base:1
@LABELS@
RUN {more} i=0; while [ $i -lt {count} ]; do echo "tick $i"; i=$((i+1)); usleep 100000; done
"""


def ticked(log: bytes) -> list[int]:
    return [int(number) for number in re.findall(rb"^tick (\d+)$", log, re.M)]


def notes(asked: Asked) -> list[str]:
    """What the task's log has told about the cluster."""
    log = asked.log("osbs-build.log").decode(errors="replace")
    return re.findall(r"^\S+ \w+ cluster: note: (.*)$", log, re.M)


def told(asked: Asked, words: str, seconds: float = SOON) -> str:
    """The note with these words, as soon as it is there."""

    def found() -> str:
        return next((note for note in notes(asked) if words in note), "")

    return str(wait_until(found, seconds))


@contextmanager
def configured(site: KojiSite, **keys: str) -> Iterator[None]:
    """Other keys in the builder's section of the cluster, which each task reads anew."""
    sections, conf = clusters_conf(site.stack.places), site.stack.places.builder_conf
    old, before = sections.read_text(), conf.read_text()
    site.configure("kubernetes", **keys)
    conf.write_text(before.replace(old, sections.read_text()))
    try:
        yield
    finally:
        sections.write_text(old)
        conf.write_text(before)


@contextmanager
def stopped(site: KojiSite, part: str) -> Iterator[None]:
    """A part of the cluster that has been killed, and is started again."""
    site.cluster.stop(part, signal.SIGKILL)
    try:
        yield
    finally:
        site.cluster.start(part)


def jobs(site: KojiSite) -> str:
    return site.path.replace("/api/v1/", "/apis/batch/v1/") + "/jobs"


def pod_of(site: KojiSite, asked: Asked) -> str:
    """Name of the pod that builds."""
    found = site.cluster.api.call("GET", f"{site.path}/pods")["items"]
    (name,) = [
        pod["metadata"]["name"]
        for pod in found
        if f"-{asked.task}-" in pod["metadata"]["name"]
        and "deletionTimestamp" not in pod["metadata"]
    ]
    return str(name)


@pytest.fixture(scope="module", autouse=True)
def kubernetes(koji_site: KojiSite) -> None:
    koji_site.up("kubernetes")


# -- the connection


ODD_LOG = rf"printf '{ODD_BYTES}\n'; head -c {LONG_LINE} /dev/zero | tr '\0' 'L'; echo;"


@pytest.fixture(scope="module")
def cut(builds: Builds, koji_site: KojiSite) -> Iterator[Asked]:
    """A build with a log that is no text, over connections that last 5 s."""
    dockerfile = f"{ticks(120, ODD_LOG).rstrip()}; printf 'no newline'\n"
    with CuttingProxy(koji_site.cluster.node_ip, koji_site.cluster.network.apiserver, 5.0) as proxy:
        with configured(koji_site, url=f"https://{koji_site.cluster.node_ip}:{proxy.port}"):
            asked = builds.start(builds.source(dockerfile))
            built = asked.done(120)
        assert built.state == "CLOSED", built.fault
        assert proxy.cut >= 3
        yield asked


def test_a_log_connection_that_is_cut_again_and_again_brings_each_line_once(cut: Asked):
    assert ticked(cut.log()) == list(range(120))
    assert notes(cut) == []


def test_every_byte_arrives_as_the_buildroot_wrote_it(
    cut: Asked, builds: Builds, koji_site: KojiSite
):
    """The build's own log comes by the registry: the buildroot has put it there."""
    log, build = cut.log(), cut.done().build
    rows = {row["name"]: row["path"] for row in builds.session.getBuildLogs(build["id"])}
    written = (koji_site.stack.places.topdir / rows["x86_64.log"]).read_bytes()
    assert log.startswith(written)
    assert b"\n" + ODD + b"\n" + b"L" * LONG_LINE + b"\n" in log
    assert b"\nno newlineSTEP " in log, "none is added"


# -- the pod


def test_a_pod_that_somebody_deletes_is_built_again(builds: Builds, koji_site: KojiSite):
    asked = builds.start(builds.source(ticks(60)), scratch=True)
    asked.wait_for(b"\ntick 5\n", 90)
    name = pod_of(koji_site, asked)
    koji_site.cluster.api.call("DELETE", f"{koji_site.path}/pods/{name}")
    assert told(asked, "deleted") == f"The build's pod {name} was deleted. It is started again."
    built = asked.done(120)
    assert built.state == "CLOSED", built.fault
    assert ticked(asked.log())[-60:] == list(range(60))


def test_where_there_is_no_second_try_a_deleted_pod_is_a_failure_in_words(
    builds: Builds, koji_site: KojiSite
):
    with configured(koji_site, retries="0"):
        asked = builds.start(builds.source(ticks(600)), scratch=True)
        asked.wait_for(b"\ntick 5\n", 90)
    name = pod_of(koji_site, asked)
    koji_site.cluster.api.call("DELETE", f"{koji_site.path}/pods/{name}")
    built = asked.done(60)
    assert built.state == "FAILED"
    assert f"Stage 'build' failed for x86_64: The build's pod {name} was deleted." in built.fault


# -- the node


def test_a_build_goes_on_while_its_kubelet_is_away(builds: Builds, koji_site: KojiSite):
    asked = builds.start(builds.source(ticks(150)), scratch=True)
    asked.wait_for(b"\ntick 5\n", 90)
    with stopped(koji_site, "kubelet"):
        time.sleep(10)
    built = asked.done(120)
    assert built.state == "CLOSED", built.fault
    assert ticked(asked.log()) == list(range(150))
    away, back = (
        "The log cannot be read for now. The cluster demo answered: ",
        "The log can be read again.",
    )
    assert notes(asked)[0].startswith(away)
    assert notes(asked)[-1] == back
    assert all(note == back or note.startswith(away) for note in notes(asked))


# -- builds that do not start


def test_the_command_line_says_soon_why_a_build_does_not_start_and_in_the_end(
    builds: Builds, koji_site: KojiSite
):
    source = builds.source(ticks(1))
    words = ("--wait", "--scratch", TARGET, "--git-branch", "f43", source.commit.source)
    image = {"image": "nowhere.invalid/buildroot:1", "pull_policy": "Always"}
    with configured(koji_site, start_seconds="10", **image):
        done = koji_site.stack.koji("container-build", *words)
    assert done.returncode == 1
    why = r"ErrImagePull: .*nowhere\.invalid/buildroot:1.*"
    assert re.search(rf"^x86_64 +cluster +{why}$", done.stdout, re.M), done.stdout
    failed = rf"Stage 'start' failed for x86_64: The build did not start within 10 s: {why}$"
    assert re.search(failed, done.stderr, re.M), done.stderr
    assert "An admin should look at the cluster demo." in done.stderr


# -- builds that the cluster ends


def test_a_build_that_takes_too_much_memory_is_told_so(builds: Builds, koji_site: KojiSite):
    eats = "FROM demo/base:1\n@LABELS@\nRUN awk 'BEGIN { s = \"0123456789abcdef\"; while (1) s = s s }'\n"
    with configured(koji_site, memory_limit="300Mi"):
        built = builds.build(eats, scratch=True)
    assert built.state == "FAILED"
    assert "OOMKilled" in built.fault and "memory_limit" in built.fault


def test_the_clusters_own_deadline_is_told(builds: Builds, koji_site: KojiSite):
    asked = builds.start(builds.source(ticks(600)), scratch=True)
    asked.wait_for(b"\ntick 5\n", 90)
    (name,) = [
        job["metadata"]["name"]
        for job in koji_site.cluster.api.call("GET", jobs(koji_site))["items"]
        if f"-{asked.task}-" in job["metadata"]["name"]
    ]
    koji_site.cluster.api.call(
        "PATCH",
        f"{jobs(koji_site)}/{name}",
        {"spec": {"activeDeadlineSeconds": 1}},
        content_type="application/merge-patch+json",
    )
    built = asked.done(60)
    assert built.state == "FAILED"
    assert "DeadlineExceeded" in built.fault and "took too long" in built.fault


# -- the apiserver


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_nothing_is_lost_while_the_apiserver_is_away(
    engine: str, koji_site: KojiSite, builds: Builds, switch: Switch
):
    """For 20 s in which the build ends; Kubernetes' once before, for 6 s in the middle."""
    running = RunningBuild.counting(koji_site, builds, switch)
    pod = running.its_pod()["metadata"]["name"]
    if engine == "kubernetes":
        with stopped(koji_site, "kube-apiserver"):
            time.sleep(6)
        told(running.asked, "answers again")
        running.goes_on()
    with stopped(koji_site, "kube-apiserver"):
        begin = time.monotonic()
        time.sleep(2)
        assert first_process(pod)
        switch.answer = "go on"
        wait_until(lambda: not first_process(pod), LONG)  # it has ended, and nobody could ask
        time.sleep(max(0.0, begin + 20 - time.monotonic()))
    assert_ended_as_one(running, builds)
    seen = notes(running.asked)
    assert "Nothing is lost by that; we try again." in seen[0]
    assert "The cluster demo answers again." in seen

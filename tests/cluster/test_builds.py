"""A build by Koji in a real cluster is the build that it is anywhere else."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest

from koji_containerbuild.contract.outcome import Outcome
from koji_containerbuild.devstack.cluster.site import ENGINES, NAMESPACE, KojiSite
from koji_containerbuild.devstack.kojid import clusters_conf
from tests.cluster.looking import Seen, assert_no_way_to_the_api, look, script
from tests.cluster.pods import until
from tests.cluster.running_builds import BUILDER, RunningBuild
from tests.stack.builds import Builds, Built
from tests.stack.searching import NOTHING, SEARCH, WORD, found_in

pytestmark = pytest.mark.cluster

HELLO = """\
FROM demo/base:1
@LABELS@
RUN dnf -y install hello && dnf clean all
COPY file /file
"""
FILES = {"file": "x\n"}
# Nothing that writes a time: rpm does, of each package that it installs.
SAME = """\
FROM demo/base:1
@LABELS@
RUN mkdir /data && echo y > /data/y && chown -R 7:7 /data
COPY file /file
USER 7
"""
MOST_REQUESTS = 12

AT_WORK = 3.0  # seconds after a RUN's first line in which the last questions may still be asked
# Searches for the pod's password, then plants it where the search looks, and is quiet at last.
WATCHED = """\
FROM demo/base:1
@LABELS@
ENV SECRET={secret}
COPY search planted /
RUN sh /search
RUN export IT=$(cat /planted); mkdir -p $(dirname $SECRET); cp /planted $SECRET; sh /search
RUN echo "quiet from $(date +%s)"; sleep 25; echo "quiet until $(date +%s)"
"""
# Where the pod has its password file.
SECRETS = {
    "kubernetes": "/run/koji-containerbuild/registry/auth.json",
    "openshift": "/run/koji-containerbuild/registry/.dockerconfigjson",
}
# What there is in a pod, in each and by engine.
MOUNTS = {
    "/", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/etc/koji-containerbuild",
    "/run/koji-containerbuild/registry", "/var/lib/containers",
}  # fmt: skip
MORE_MOUNTS = {
    "kubernetes": {"/run/koji-containerbuild/plan", "/var/tmp"},
    "openshift": {"/run/containers", "/run/secrets/openshift.io/pull"},
}
VARIABLES = {"HOME", "HOSTNAME", "LANG", "PATH", "PYTHONPATH", "container"}
MORE_VARIABLES = {
    "kubernetes": set(),
    "openshift": {
        "BUILD", "OPENSHIFT_CUSTOM_BUILD_BASE_IMAGE", "PLAN", "PLAN_ARCH",
        "PULL_DOCKERCFG_PATH",
    },
}  # fmt: skip


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest, koji_site: KojiSite) -> str:
    """The site builds with each of them, one after the other."""
    koji_site.up(request.param)
    return str(request.param)


@pytest.fixture(scope="module")
def built(engine: str, builds: Builds) -> Built:
    return builds.good(HELLO, FILES)


def test_the_build_is_in_koji_with_its_packages_and_logs(builds: Builds, built: Built):
    (archive,) = builds.session.listArchives(built.build["id"])
    rpms = {row["name"] for row in builds.session.listRPMs(imageID=archive["id"])}
    assert {"hello", "libhello", "rpm"} <= rpms
    logs = builds.session.getBuildLogs(built.build["id"])
    assert "x86_64.log" in {row["name"] for row in logs}


def test_the_log_came_while_it_was_built_and_is_the_whole_log(
    builds: Builds, built: Built, koji_site: KojiSite
):
    live = builds.output(built.task, "x86_64.log")
    row = next(
        row for row in builds.session.getBuildLogs(built.build["id"]) if row["name"] == "x86_64.log"
    )
    kept = (koji_site.stack.places.topdir / row["path"]).read_bytes()
    assert b"STEP 1/" in live
    assert live.startswith(kept) or kept.startswith(live)


def test_the_layers_are_those_that_the_local_engine_makes_of_the_same_plan(
    engine: str, builds: Builds, koji_site: KojiSite, tmp_path
):
    built = builds.good(SAME, FILES)
    (tmp_path / "plan.json").write_bytes(builds.output(built.task, "plan.json"))
    words = ["--plan", "plan.json", "--arch", "x86_64", "--outcome", "outcome.json"]
    words += ["--log", "log", "--config", str(koji_site.stack.places.builder_conf)]
    done = subprocess.run(
        [sys.executable, "-m", "koji_containerbuild.buildroot", *words],
        cwd=tmp_path,
        env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "PYTHONPATH": str(koji_site.stack.places.repo),
        },
        capture_output=True,
    )
    assert done.returncode == 0, done.stdout.decode()[-2000:]
    here = Outcome.from_json((tmp_path / "outcome.json").read_bytes())
    image = builds.image(built)
    repository = built.result["repositories"][1].partition("@")[0]
    assert type(image).pull(f"{repository}@{here.image}").layers == image.layers


def test_nothing_of_a_finished_build_is_left_in_the_cluster(koji_site: KojiSite, built: Built):
    def left() -> list[str]:
        jobs = f"/apis/batch/v1/namespaces/{koji_site.path.rpartition('/')[2]}/jobs"
        found = [*koji_site.cluster.api.call("GET", jobs)["items"]]
        found += koji_site.cluster.api.call("GET", f"{koji_site.path}/pods")["items"]
        return [one["metadata"]["name"] for one in found]

    until("the job and its pod are gone", lambda: not left())


@dataclass(frozen=True)
class Watched:
    """A build, what is seen inside its pod while its RUN says nothing, and what it asks for."""

    log: bytes
    seen: Seen
    pod: dict[str, Any]
    asked: list[tuple[float, str, str]]  # of the apiserver: seconds since 1970, verb, resource


@pytest.fixture(scope="module")
def watched(engine: str, builds: Builds, koji_site: KojiSite) -> Watched:
    cluster = koji_site.cluster
    before = len(cluster.requests(BUILDER))
    files = {"search": SEARCH, "planted": f"{WORD}\n"}
    with password(koji_site, WORD):
        source = builds.source(WATCHED.format(secret=SECRETS[engine]), files)
        running = RunningBuild(koji_site, builds, source, b"\nquiet from")
        pod = running.its_pod()
        program = script(cluster.url, NAMESPACE, (SECRETS[engine],))
        found = look(pod["metadata"]["name"], program)
        built = running.asked.done()
    assert built.state == "CLOSED", built.fault
    requests = sorted(
        (seconds(one["requestReceivedTimestamp"]), one["verb"], one["objectRef"]["resource"])
        for one in cluster.requests(BUILDER)[before:]
    )
    return Watched(running.asked.log(), found, pod, requests)


@contextmanager
def password(site: KojiSite, word: str) -> Iterator[None]:
    """One more registry in the Secret, of which the word is the password."""
    where = f"{site.path}/secrets/registry"
    before = site.cluster.api.call("GET", where)["data"]
    login = json.dumps({"auths": {"images.example.com": {"auth": word}}})

    def put(data: dict[str, str]) -> None:
        kind = "application/merge-patch+json"
        site.cluster.api.call("PATCH", where, {"data": data}, content_type=kind)

    put({".dockerconfigjson": base64.b64encode(login.encode()).decode()})
    try:
        yield
    finally:
        put(before)


def test_a_run_step_sees_no_credential(engine: str, watched: Watched):
    assert WORD in watched.seen.files[SECRETS[engine]]  # the program has it, and may push
    found = found_in(watched.log)
    assert found[:2] == NOTHING
    kinds = {re.sub(r"\d+", "N", line) for line in found[2:]}  # where it had planted the word
    assert kinds == {
        *NOTHING, "found: in the environment", "found: /proc/N/environ", "found: below /proc/N",
        "found: in the files", "found: the file itself",
    }  # fmt: skip


def test_a_pod_has_no_token_no_koji_credential_and_nothing_from_the_api(
    engine: str, koji_site: KojiSite, watched: Watched
):
    """Tried from inside, while it builds; with the objects of fedora-infra for this engine."""
    assert watched.seen.own_mounts == MOUNTS | MORE_MOUNTS[engine]
    assert watched.seen.variables == VARIABLES | MORE_VARIABLES[engine]
    token = (koji_site.stack.places.state / "cluster.token").read_text()
    assert_no_way_to_the_api(watched.seen, watched.pod, token)


def test_a_quiet_build_asks_the_cluster_a_few_times_and_then_nothing_more(watched: Watched):
    times = re.findall(rb"^quiet \w+ (\d+)$", watched.log, re.M)
    (begin, end), asked = map(float, times), watched.asked
    assert end - begin >= 24
    assert 0 < len(asked) <= MOST_REQUESTS, asked
    assert asked[0][0] < begin < end < asked[-1][0], "the clocks are the same"
    assert [one for one in asked if begin + AT_WORK < one[0] < end] == []


def seconds(stamp: str) -> float:
    """Since 1970, of an audit event."""
    return datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()


def test_an_arch_that_no_cluster_has_is_refused_in_words(builds: Builds, koji_site: KojiSite):
    assert "[cluster" in clusters_conf(koji_site.stack.places).read_text()
    refused = builds.build(HELLO, FILES, scratch=True, arch_override="s390x")
    assert refused.state == "FAILED"
    assert "s390x" in refused.fault

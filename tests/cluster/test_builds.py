"""A build by Koji in a real cluster is the build that it is anywhere else."""

from __future__ import annotations

import subprocess
import sys

import pytest

from koji_containerbuild.contract.outcome import Outcome
from koji_containerbuild.devstack.cluster.site import ENGINES, PASSWORD, KojiSite
from koji_containerbuild.devstack.kojid import clusters_conf
from tests.cluster.pods import until
from tests.stack.builds import Builds, Built

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
BUILDER = "system:serviceaccount:koji-demo:koji-builder"
MOST_REQUESTS = 12

# What a RUN step can look at: its environment, every process, every file system that it sees.
SPY = r"""FROM demo/base:1
@LABELS@
RUN for f in /proc/[0-9]*/environ /proc/[0-9]*/cmdline; do tr '\0' '\n' < $f; done 2>/dev/null; \
    ls -d /run/koji-containerbuild /var/run/secrets /etc/koji-containerbuild 2>/dev/null; \
    for p in /proc/[0-9]*; do ls $p/root/run/koji-containerbuild 2>/dev/null; done; \
    grep -rsl @PASSWORD@ /run /etc /var/tmp /tmp /root /home /dev/shm 2>/dev/null; \
    cat /proc/mounts; echo looked around; true
"""


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


def test_a_run_step_sees_no_credential(engine: str, builds: Builds):
    spied = builds.good(SPY.replace("@PASSWORD@", PASSWORD[:-1] + "[e]"))
    log = builds.output(spied.task, "x86_64.log").decode(errors="replace")
    seen = log.partition("STEP ")[2]
    assert "looked around" in seen
    for secret in (PASSWORD, "koji-containerbuild/registry", "serviceaccount/token", "PLAN_0="):
        assert secret not in seen.replace("\\", ""), secret


def test_a_quiet_build_asks_the_cluster_a_dozen_times_at_most(
    engine: str, builds: Builds, koji_site: KojiSite
):
    before = len(koji_site.cluster.requests(BUILDER))
    builds.good("FROM demo/base:1\n@LABELS@\nRUN sleep 12\n")
    asked = [
        (one["verb"], one["objectRef"]["resource"], one["requestReceivedTimestamp"])
        for one in koji_site.cluster.requests(BUILDER)[before:]
    ]
    assert 0 < len(asked) <= MOST_REQUESTS, asked


def test_an_arch_that_no_cluster_has_is_refused_in_words(builds: Builds, koji_site: KojiSite):
    assert "[cluster" in clusters_conf(koji_site.stack.places).read_text()
    refused = builds.build(HELLO, FILES, scratch=True, arch_override="s390x")
    assert refused.state == "FAILED"
    assert "s390x" in refused.fault

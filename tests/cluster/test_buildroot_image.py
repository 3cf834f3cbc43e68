"""The image of the buildroot program in a pod of a real cluster, building on a real registry."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from koji_containerbuild.config import Config, RegistryConfig
from koji_containerbuild.contract.frames import Unframer
from koji_containerbuild.contract.outcome import LIMIT, Outcome
from koji_containerbuild.contract.plan import BuildPlan
from koji_containerbuild.devstack.cluster import buildroot_image
from koji_containerbuild.devstack.cluster.cluster import Cluster
from koji_containerbuild.devstack.stack import Stack
from koji_containerbuild.registry.access import open_registry
from koji_containerbuild.registry.client import Registry
from koji_containerbuild.rules.pullspec import Pullspec
from koji_containerbuild.tasks.index import pull_log, pull_report
from tests.cluster.pods import Pods, until
from tests.fakes.plans import PLAN
from tests.stack.builds import unique_name
from tests.stack.images import Image
from tests.stack.searching import NOTHING, WORD, files, found_in, searching_plan

pytestmark = pytest.mark.cluster
PLACE = "/run/koji-containerbuild"
SECONDS = 120.0


@dataclass(frozen=True)
class Site:
    """Pods, and a devstack that they reach."""

    pods: Pods
    stack: Stack

    def plan(self, more: str) -> BuildPlan:
        """Of an image that searches, and does something more."""
        where = self.stack.addresses
        name = unique_name("container/search")
        sources = files(f"{where.registry}/demo/base:1", f"{PLACE}/registry/auth.json", more)
        commit = self.stack.git.create(name, sources)
        source = replace(PLAN.source, url=commit.url, commit=commit.sha, branch=commit.branch)
        return searching_plan(where.registry, source)

    def open_registry(self) -> Registry:
        return open_registry(
            Config(registry=RegistryConfig(url=self.stack.addresses.registry, insecure=True))
        )


@pytest.fixture(scope="session")
def image(cluster: Cluster) -> str:
    """The node has it."""
    cluster.import_image(buildroot_image.provide(cluster.places))
    return buildroot_image.NAME


@pytest.fixture
def site(stack_for_pods: Stack, pods: Pods, image: str) -> Site:
    return Site(pods, stack_for_pods)


def start(site: Site, plan: str) -> None:
    """A pod as the engine makes it: plan and passwords from Secrets, storage on an emptyDir."""
    login = json.dumps({"auths": {"images.example.com": {"auth": WORD}}})
    config = f"""
[registry]
url = {site.stack.addresses.registry}
insecure = true
auth_file = {PLACE}/registry/auth.json
[buildroot]
storage = /var/lib/containers/koji-containerbuild
network = host
"""
    # WORD in the plan's Secret: it is not to be seen either.
    mounted = {
        "plan": {"plan.json": plan, "other": WORD},
        "registry": {"auth.json": login},
        "config": {"builder.conf": config},
    }
    for name, texts in mounted.items():
        data = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
        path = f"/api/v1/namespaces/{site.pods.namespace}/secrets"
        site.pods.cluster.api.call("POST", path, {"metadata": {"name": name}, "data": data})
    site.pods.run("build", spec())


def spec() -> dict[str, Any]:
    paths = {
        "plan": f"{PLACE}/plan",
        "registry": f"{PLACE}/registry",
        "config": "/etc/koji-containerbuild",
    }
    empty = {"storage": "/var/lib/containers", "work": "/var/tmp"}
    container = {
        "name": "build",
        "image": buildroot_image.NAME,
        "imagePullPolicy": "Never",
        "args": ["--plan", f"{PLACE}/plan/plan.json", "--arch", "x86_64", "--framed",
                 "--outcome", "/dev/termination-log", "--log", "/var/tmp/kcb.log",
                 "--config", "/etc/koji-containerbuild/builder.conf"],
        "env": [{"name": "POD_SECRET", "value": WORD}],
        "securityContext": {"privileged": True},
        "volumeMounts": [{"name": name, "mountPath": path} for name, path in (paths | empty).items()],
    }  # fmt: skip
    return {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 5,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "containers": [container],
        "volumes": [
            *({"name": name, "secret": {"secretName": name}} for name in paths),
            *({"name": name, "emptyDir": {}} for name in empty),
        ],
    }


def log_of(site: Site) -> tuple[bytes, Unframer]:
    unframer = Unframer()
    read = unframer.feed(site.pods.log("build"))
    assert read.foreign == ()
    return b"".join(piece.data for piece in read.pieces), unframer


def test_a_pod_builds_and_its_run_sees_no_secret_and_has_a_network(site: Site, tmp_path: Path):
    where = site.stack.addresses
    plan = site.plan(
        f"RUN wget -q -O /dev/null {where.web}/ && wget -S -O - http://{where.registry}/v2/\n"
        "RUN printf 'a\\377b\\r\\n\\r.'\n"
    )
    start(site, plan.to_json())
    ended = site.pods.ended("build", SECONDS)
    log, unframer = log_of(site)
    assert ended["exitCode"] == 0, log.decode(errors="replace")
    outcome = Outcome.from_json(ended["message"])
    assert unframer.complete and not unframer.lost
    assert found_in(log.replace(b"\xff", b"?")) == NOTHING
    assert b"a\xffb\r\n\r." in log and b"200 OK" in log
    repository = Pullspec.parse(plan.destination.repository)
    assert Image.pull(f"{repository}@{outcome.image}").config["config"]["Labels"]["release"] == "3"
    with site.open_registry() as client:
        report = pull_report(outcome, repository, client, tmp_path)
    assert report.image.buildroot.container == "oci"
    assert log.startswith(report.log.read_bytes()[:-100])


def test_a_build_that_fails_in_a_pod_says_why_and_leaves_its_log(site: Site, tmp_path: Path):
    plan = site.plan("RUN echo it went wrong; exit 3\n")
    start(site, plan.to_json())
    ended = site.pods.ended("build", SECONDS)
    outcome = Outcome.from_json(ended["message"])
    assert (ended["exitCode"], len(ended["message"]) <= LIMIT) == (1, True)
    assert outcome.failure and outcome.failure.last_lines == "it went wrong"
    with site.open_registry() as client:
        kept = pull_log(outcome, Pullspec.parse(plan.destination.repository), client, tmp_path)
    assert kept.read_bytes() == log_of(site)[0]


def test_a_pod_that_is_deleted_ends_its_build_within_seconds(site: Site):
    start(site, site.plan("RUN echo sleeping; sleep 1000\n").to_json())
    until("it sleeps", lambda: site.pods.get("build") and b"sleeping+" in _log(site), SECONDS)
    site.pods.cluster.api.call("DELETE", f"{site.pods.path}/build")
    ended = site.pods.ended("build", 5)
    assert Outcome.from_json(ended["message"]).cancelled and ended["exitCode"] == 3


def _log(site: Site) -> bytes:
    status = site.pods.get("build")["status"]
    return site.pods.log("build") if status["phase"] == "Running" else b""

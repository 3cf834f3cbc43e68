"""The image of the buildroot program in a pod of a real cluster, building on a real registry."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from koji_containerbuild.contract.frames import Unframer
from koji_containerbuild.contract.outcome import LIMIT, Outcome
from koji_containerbuild.contract.plan import BuildPlan
from koji_containerbuild.devstack import example
from koji_containerbuild.devstack.cluster import buildroot_image
from koji_containerbuild.devstack.seed import TARGET
from koji_containerbuild.rules.pullspec import Pullspec
from koji_containerbuild.tasks.index import pull_log, pull_report
from tests.cluster.pods import until
from tests.cluster.site import PLACE, Site
from tests.stack.builds import unique_name
from tests.stack.images import Image
from tests.stack.searching import NOTHING, WORD, found_in

pytestmark = pytest.mark.cluster
SECONDS = 300.0  # on two busy cores


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
    plan = site.built(
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
    plan = site.built("RUN echo it went wrong; exit 3\n")
    start(site, plan.to_json())
    ended = site.pods.ended("build", SECONDS)
    outcome = Outcome.from_json(ended["message"])
    assert (ended["exitCode"], len(ended["message"]) <= LIMIT) == (1, True)
    assert outcome.failure and outcome.failure.last_lines == "it went wrong"
    with site.open_registry() as client:
        kept = pull_log(outcome, Pullspec.parse(plan.destination.repository), client, tmp_path)
    assert kept.read_bytes() == log_of(site)[0]


def test_a_pod_that_is_deleted_ends_its_build_within_seconds(site: Site):
    start(site, site.built("RUN echo sleeping; sleep 1000\n").to_json())
    until("it sleeps", lambda: site.pods.get("build") and b"\nsleeping\n" in _log(site), SECONDS)
    site.pods.cluster.api.call("DELETE", f"{site.pods.path}/build")
    ended = site.pods.ended("build", 20)  # killed by then, it would have said nothing
    assert Outcome.from_json(ended["message"]).cancelled and ended["exitCode"] == 3


def _log(site: Site) -> bytes:
    status = site.pods.get("build")["status"]
    return log_of(site)[0] if status["phase"] == "Running" else b""


def test_the_demos_plan_gives_the_same_image_in_a_pod_as_on_the_builder_host(site: Site):
    """With packages from Koji's repo. RPM's database has times of installation, and two builds of
    one place differ in that, too.
    """
    commit = example.commit(site.stack.git)
    words = ("container-build", "--wait", "--scratch", "--git-branch", "f43")
    done = site.stack.koji(*words, TARGET, commit.source)
    assert done.returncode == 0, done.stdout + done.stderr
    task = int(re.findall(r"(\d+) buildContainer", done.stdout)[0])
    plan = BuildPlan.from_json(site.stack.session().downloadTaskOutput(task, "plan.json"))
    assert plan.repos
    to = replace(plan.destination, unique_tag=unique_name("again"))
    start(site, replace(plan, destination=to).to_json())
    ended = site.pods.ended("build", SECONDS)
    assert ended["exitCode"] == 0, log_of(site)[0].decode(errors="replace")
    outcome = Outcome.from_json(ended["message"])
    on_host = Image.pull(f"{to.repository}:{plan.destination.unique_tag}")
    in_pod = Image.pull(f"{to.repository}@{outcome.image}")
    assert in_pod.layers[:-1] == on_host.layers[:-1]
    assert in_pod.config["config"] == on_host.config["config"]
    assert in_pod.config["created"] == on_host.config["created"]
    assert files_of(in_pod) == files_of(on_host)


def files_of(image: Image) -> dict[str, tuple[Any, ...]]:
    """The newest layer, without what is in RPM's database."""
    return {
        path: (entry.type, entry.mode, entry.uid, entry.gid, entry.mtime, entry.linkname)
        + (() if "rpmdb.sqlite" in path else (content,))
        for path, (entry, content) in image.top.items()
    }

"""The image of the buildroot program in a pod of a real cluster, building on a real registry."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from koji_containerbuild.contract.frames import Unframer
from koji_containerbuild.contract.outcome import LIMIT, Outcome
from koji_containerbuild.devstack.cluster import buildroot_image
from koji_containerbuild.tasks.index import pull_log, pull_report
from tests.cluster.pods import Pods, until
from tests.cluster.site import PLACE, Site
from tests.stack.images import Image
from tests.stack.searching import NOTHING, WORD, found_in

pytestmark = [pytest.mark.cluster, pytest.mark.stack]
SECONDS = 120.0


def start(site: Site, plan: str) -> None:
    """A pod as the engine makes it: plan and passwords from Secrets, storage on an emptyDir."""
    login = json.dumps({"auths": {"images.example.com": {"auth": WORD}}})
    config = f"""
[registry]
url = {site.registry}
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
    site.pods.run("build", spec(site.pods))


def spec(pods: Pods) -> dict[str, Any]:
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
    plan = site.built(f"RUN wget -q -O - http://{site.hub}/kojihub || test $? = 1\n"
                      f"RUN printf 'a\\377b\\r\\n\\r.'; wget -S -O - http://{site.registry}/v2/\n")  # fmt: skip
    start(site, plan.to_json())
    ended = site.pods.ended("build", SECONDS)
    log, unframer = log_of(site)
    assert ended["exitCode"] == 0, log.decode(errors="replace")
    outcome = Outcome.from_json(ended["message"])
    assert unframer.complete and not unframer.lost
    assert found_in(log.replace(b"\xff", b"?")) == NOTHING
    assert b"a\xffb\r\n\r." in log and b"200 OK" in log
    repository = site.repository_of(plan)
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
        kept = pull_log(outcome, site.repository_of(plan), client, tmp_path)
    assert kept.read_bytes() == log_of(site)[0]


def test_a_pod_that_is_deleted_ends_its_build_within_seconds(site: Site):
    start(site, site.built("RUN echo sleeping; sleep 1000\n").to_json())
    until("it sleeps", lambda: site.pods.get("build") and b"sleeping+" in _log(site), SECONDS)
    site.pods.cluster.api.call("DELETE", f"{site.pods.path}/build")
    ended = site.pods.ended("build", 5)
    assert Outcome.from_json(ended["message"]).cancelled and ended["exitCode"] == 3


def _log(site: Site) -> bytes:
    status = site.pods.get("build")["status"]
    return site.pods.log("build") if status["phase"] == "Running" else b""

"""What a pod of ours can get at, tried from inside: with the objects of fedora-infra as they are, and
by an engine that has the builder's token and no other.
"""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from koji_containerbuild.contract.outcome import Outcome
from koji_containerbuild.contract.plan import BuildPlan
from koji_containerbuild.devstack.cluster import buildroot_image
from koji_containerbuild.devstack.cluster.cluster import Cluster
from koji_containerbuild.devstack.cluster.rest import Refused
from koji_containerbuild.engines import objects
from koji_containerbuild.engines.base import Job
from koji_containerbuild.engines.kubernetes import KubernetesEngine
from koji_containerbuild.engines.permissions import KUBERNETES
from tests.cluster import admin
from tests.cluster.looking import Seen, assert_no_way_to_the_api, script, seen
from tests.cluster.site import Site
from tests.fakes.plans import PLAN
from tests.stack.searching import NOTHING, WORD, found_in

pytestmark = pytest.mark.cluster
BUILDER = f"system:serviceaccount:{admin.NAMESPACE}:koji-builder"
NAMESPACED = f"/api/v1/namespaces/{admin.NAMESPACE}"
JOBS = f"/apis/batch/v1/namespaces/{admin.NAMESPACE}/jobs"
PLAN_FILE = "/run/koji-containerbuild/plan/plan.json"
REGISTRY_FILE = "/run/koji-containerbuild/registry/auth.json"


def registry_password(cluster: Cluster) -> None:
    """A word in the Secret that the pod mounts."""
    login = json.dumps({"auths": {"images.example.com": {"auth": WORD}}})
    data = {".dockerconfigjson": base64.b64encode(login.encode()).decode()}
    cluster.api.call(
        "PATCH",
        f"{NAMESPACED}/secrets/registry",
        {"data": data},
        content_type="application/merge-patch+json",
    )


@pytest.fixture
def ours(applied: Cluster) -> Iterator[Cluster]:
    registry_password(applied)
    yield applied


def engine(cluster: Cluster, folder: Path, **program: Any) -> KubernetesEngine:
    """Of a builder, with the section of the README."""
    section = admin.section(
        cluster, folder, image=buildroot_image.NAME, pull_policy="Never", cpu="100m", memory="128Mi"
    )
    return KubernetesEngine("one", section, **program)


def looked(cluster: Cluster, folder: Path) -> tuple[Seen, dict[str, Any]]:
    """What is seen in a pod that the engine made, in place of the buildroot program; and the pod."""
    program = script(cluster.url, admin.NAMESPACE, (PLAN_FILE, REGISTRY_FILE))
    one = Job("kcb-look-1", dataclasses.replace(PLAN, arches=("x86_64",)))
    builder = engine(cluster, folder, program=("python3", "-c", program))
    builder.start(one)
    try:
        (outcome,) = [news.outcome for news in builder.follow(one, 0.2) if news.outcome]
        select = {"labelSelector": f"{objects.JOB}=kcb-look-1"}
        (pod,) = cluster.api.call("GET", f"{NAMESPACED}/pods", params=select)["items"]
        text = cluster.api.text(f"{NAMESPACED}/pods/{pod['metadata']['name']}/log")
    finally:
        builder.cancel(one.name)
        builder.remove(one.name, 20)
        builder.close()
    assert outcome.failure  # it built nothing
    return seen(text.decode().splitlines()[-1]), pod


def test_a_pod_has_no_token_no_koji_credential_and_nothing_from_the_api(
    ours: Cluster,
    image: str,
    tmp_path: Path,
):
    found, pod = looked(ours, tmp_path)
    assert found.own_mounts == {
        "/", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/etc/koji-containerbuild",
        "/run/koji-containerbuild/plan", "/run/koji-containerbuild/registry",
        "/var/lib/containers", "/var/tmp",
    }  # fmt: skip
    assert found.variables == {"HOME", "HOSTNAME", "LANG", "PATH", "PYTHONPATH", "container"}
    assert BuildPlan.from_json(found.files[PLAN_FILE]).nvr == PLAN.nvr
    assert WORD in found.files[REGISTRY_FILE]  # the program may push
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert_no_way_to_the_api(found, pod, (tmp_path / "token").read_text())


def test_the_account_of_the_pod_may_do_nothing_even_with_a_token(ours: Cluster):
    account = ours.api_of(ours.service_account_token(admin.NAMESPACE, "buildroot"))
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": admin.NAMESPACE},
    }
    path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
    rules = account.call("POST", path, body)["status"]["resourceRules"]
    named = {
        (tuple(rule["apiGroups"]), resource) for rule in rules for resource in rule["resources"]
    }
    assert named == {
        (("authorization.k8s.io",), "selfsubjectaccessreviews"),
        (("authorization.k8s.io",), "selfsubjectrulesreviews"),
    }
    for method, where, what in (
        ("GET", f"{NAMESPACED}/secrets/registry", None),
        ("GET", f"{NAMESPACED}/pods", None),
        ("POST", JOBS, {"metadata": {"name": "mine"}, "spec": {}}),
        ("POST", f"{NAMESPACED}/serviceaccounts/koji-builder/token", {"spec": {}}),
        ("GET", "/api/v1/namespaces", None),
    ):
        with pytest.raises(Refused) as refused:
            account.call(method, where, what)
        assert refused.value.code == 403


@pytest.mark.stack
def test_a_build_needs_no_more_than_the_role_and_its_run_sees_no_secret(
    ours: Cluster,
    site: Site,
    tmp_path: Path,
):
    """The real program, with the ConfigMap of the example; only the registry's name is another."""
    (config,) = admin.read("kubernetes/60-buildroot-config.yaml")
    text = config["data"]["builder.conf"].replace("registry.example.com", site.registry)
    text = text.replace("[parents]", "insecure = true\n\n[parents]", 1)
    path = f"{NAMESPACED}/configmaps/buildroot-config"
    patch = {"data": {"builder.conf": text}}
    ours.api.call("PATCH", path, patch, content_type="application/merge-patch+json")
    before = len(ours.requests(BUILDER))
    one = Job("kcb-build-1", site.built("RUN echo done\n"))
    builder = engine(ours, tmp_path)
    builder.start(one)
    try:
        news = list(builder.follow(one, 0.2))
    finally:
        builder.cancel(one.name)
        builder.remove(one.name, 20)
        builder.close()
    log = b"".join(each.log for each in news)
    (outcome,) = [each.outcome for each in news if each.outcome]
    assert isinstance(outcome, Outcome)
    assert not outcome.failure, log.decode(errors="replace")
    assert found_in(log) == NOTHING
    asked = ours.requests(BUILDER)[before:]
    assert all(each["responseStatus"]["code"] < 300 for each in asked)
    assert {verb_of(each) for each in asked} <= {
        (permission.group, permission.resource, verb)
        for permission in KUBERNETES
        for verb in permission.verbs
    }


def verb_of(event: Mapping[str, Any]) -> tuple[str, str, str]:
    """Of an audit event: as a Role has it."""
    about = event["objectRef"]
    resource = "/".join(filter(None, (about["resource"], about.get("subresource"))))
    return about.get("apiGroup", ""), resource, event["verb"]

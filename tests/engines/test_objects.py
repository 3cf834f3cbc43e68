"""The manifests: what a pod of ours gets, and what it does not."""

from __future__ import annotations

import base64
import dataclasses
from typing import Any

import pytest

from koji_containerbuild.config.cluster import ClusterConfig
from koji_containerbuild.contract.plan import BuildPlan
from koji_containerbuild.engines import objects
from koji_containerbuild.engines.objects import Run
from koji_containerbuild.errors import BadRequest
from tests.fakes.plans import PLAN

CLUSTER = ClusterConfig(
    url="https://one:6443", namespace="builds", arches=("x86_64",), image="registry/buildroot:1"
)
FULL = dataclasses.replace(
    CLUSTER,
    node_selector=("pool=builders",),
    tolerations=("only=builds:NoSchedule", "slow"),
    cpu="500m",
    memory="1Gi",
    memory_limit="4Gi",
    service_account="buildroot",
    registry_secret="registry",
    config_map="config",
    ca_config_map="ca",
)
RUN = Run("kcb-12ab34cd-77", "x86_64")


def job(cluster: ClusterConfig = CLUSTER, run: Run = RUN) -> dict[str, Any]:
    return objects.job(run, PLAN, "its-plan", cluster)


def pod(cluster: ClusterConfig = CLUSTER, run: Run = RUN) -> dict[str, Any]:
    spec: dict[str, Any] = job(cluster, run)["spec"]["template"]["spec"]
    return spec


def container(cluster: ClusterConfig = CLUSTER) -> dict[str, Any]:
    (only,) = pod(cluster)["containers"]
    return dict(only)


def volumes(cluster: ClusterConfig) -> dict[str, dict[str, Any]]:
    return {volume["name"]: volume for volume in pod(cluster)["volumes"]}


def test_a_pod_has_no_permission_on_the_cluster_and_no_part_of_its_host():
    spec = pod(FULL)
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"} & spec.keys()
    kinds = {kind for volume in spec["volumes"] for kind in volume.keys() - {"name"}}
    assert kinds == {"secret", "configMap", "emptyDir"}


def test_what_is_secret_is_read_only_and_for_root_alone():
    mounts = {mount["name"]: mount for mount in container(FULL)["volumeMounts"]}
    for name in ("plan", "registry"):
        assert volumes(FULL)[name]["secret"]["defaultMode"] == 0o400
        assert mounts[name]["readOnly"] is True
    assert container(FULL)["env"] == [
        {"name": "SSL_CERT_DIR", "value": "/run/koji-containerbuild/ca"}
    ]


def test_only_what_is_configured_is_mounted():
    assert volumes(CLUSTER).keys() == {"plan", "containers", "tmp"}
    assert volumes(FULL).keys() == {"plan", "containers", "tmp", "registry", "config", "ca"}
    assert "--config" not in container()["command"]
    assert container(FULL)["command"][-2:] == [
        "--config",
        "/etc/koji-containerbuild/builder.conf",
    ]


def test_the_cluster_runs_a_job_once_and_ends_it_after_the_builds_own_limit():
    spec = job()["spec"]
    assert spec["backoffLimit"] == 0
    assert pod()["restartPolicy"] == "Never"
    assert spec["activeDeadlineSeconds"] > PLAN.limits.seconds + CLUSTER.start_seconds
    assert spec["ttlSecondsAfterFinished"] > 3600


@pytest.mark.parametrize(
    "arch, go_arch",
    [("x86_64", "amd64"), ("i686", "amd64"), ("aarch64", "arm64"), ("s390x", "s390x")],
)
def test_a_pod_goes_to_a_node_of_its_arch_whatever_the_site_says(arch: str, go_arch: str):
    evil = dataclasses.replace(FULL, node_selector=("kubernetes.io/arch=mips", "pool=builders"))
    assert pod(evil, Run("kcb-1-1", arch))["nodeSelector"] == {
        "pool": "builders",
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": go_arch,
    }


def test_what_the_site_gives_is_in_the_pod():
    assert pod(FULL)["tolerations"] == [
        {"key": "only", "operator": "Equal", "value": "builds", "effect": "NoSchedule"},
        {"key": "slow", "operator": "Exists"},
    ]
    assert container(FULL)["resources"] == {
        "requests": {"cpu": "500m", "memory": "1Gi"},
        "limits": {"memory": "4Gi"},
    }
    assert pod(FULL)["serviceAccountName"] == "buildroot"


def test_the_plan_belongs_to_the_job_and_cannot_be_changed():
    made = {**job(), "metadata": {**job()["metadata"], "uid": "u-1"}}
    secret = objects.secret(RUN, PLAN, made)
    assert secret["immutable"] is True
    assert secret["metadata"]["name"] == "its-plan"
    (owner,) = secret["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("Job", RUN.name, "u-1")
    text = base64.b64decode(secret["data"]["plan.json"])
    assert BuildPlan.from_json(text) == PLAN
    assert job()["metadata"]["annotations"][objects.PLAN] == objects.plan_hash(text.decode())


def test_a_plan_that_kubernetes_does_not_take_is_refused_with_both_sizes():
    large = dataclasses.replace(PLAN, userdata={"x": "y" * 1024 * 1024})
    size = len(large.to_json().encode())
    with pytest.raises(BadRequest, match=f"has {size} bytes; Kubernetes takes 1048576"):
        objects.job(RUN, large, "its-plan", CLUSTER)


def test_names_are_those_that_kubernetes_takes_and_differ_by_attempt():
    assert RUN.name == "kcb-12ab34cd-77-x86-64"
    assert Run("kcb-12ab34cd-77", "x86_64", 2).name == "kcb-12ab34cd-77-x86-64-2"

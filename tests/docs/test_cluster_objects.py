"""fedora-infra/kubernetes and openshift: what can be said of them without a cluster."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from koji_containerbuild.check.jobs import POD_SECURITY
from koji_containerbuild.config import load
from koji_containerbuild.engines.permissions import OF_ENGINE, TOO_MUCH
from tests.engines.openshift_schema import check

INFRA = Path(__file__).parents[2] / "fedora-infra"
FILES = sorted(
    path for engine in ("kubernetes", "openshift") for path in (INFRA / engine).iterdir()
)


def objects(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


def role(engine: str) -> dict[str, Any]:
    (found,) = (o for o in objects(INFRA / engine / "30-role.yaml") if o["kind"] == "Role")
    return found


@pytest.mark.parametrize("engine", sorted(OF_ENGINE))
def test_the_role_gives_the_permissions_of_the_engine_and_no_other(engine: str):
    rules = [
        (group, resource, tuple(rule["verbs"]))
        for rule in role(engine)["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    ]
    assert rules == [(p.group, p.resource, p.verbs) for p in OF_ENGINE[engine]]


@pytest.mark.parametrize("engine", sorted(OF_ENGINE))
def test_what_does_harm_is_in_no_role(engine: str):
    given = {(p.group, p.resource, verb) for p in OF_ENGINE[engine] for verb in p.verbs}
    assert not given & {(p.group, p.resource, verb) for p in TOO_MUCH for verb in p.verbs}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_object_is_in_our_namespace(path: Path):
    for each in objects(path):
        if each["kind"] == "Namespace":
            assert each["metadata"]["name"] == "koji-containerbuild"
        else:
            assert each["metadata"]["namespace"] == "koji-containerbuild"


def test_pod_security_is_set_as_the_check_would_have_it():
    (namespace,) = objects(INFRA / "kubernetes" / "10-namespace.yaml")
    labels = namespace["metadata"]["labels"]
    assert [f"{key}={value}" for key, value in labels.items()] == POD_SECURITY.split()


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_only_examples_are_named_as_hosts(path: Path):
    """RFC 2606 and 5737: nobody has them."""
    domains = r"[a-z0-9.-]+\.(?:com|org|net|io|dev|eu|de)\b"
    text = re.sub(
        r"(?m)apiGroup.*|apiVersion.*|.*kubernetes\.io.*|.*openshift\.io.*", "", path.read_text()
    )
    for host in re.findall(domains, text):
        assert re.search(r"(^|\.)example\.(com|org)$", host), host


def test_no_account_has_its_token_in_a_pod():
    accounts = [
        o
        for o in objects(INFRA / "kubernetes" / "20-accounts.yaml")
        if o["kind"] == "ServiceAccount"
    ]
    assert [each["metadata"]["name"] for each in accounts] == ["koji-builder", "buildroot"]
    assert all(each["automountServiceAccountToken"] is False for each in accounts)


def test_no_role_is_given_to_the_buildroot_but_that_of_privileged_pods():
    given = [
        o["roleRef"]["name"]
        for path in FILES
        for o in objects(path)
        if o["kind"] in ("RoleBinding", "ClusterRoleBinding")
        if any(subject["name"] == "buildroot" for subject in o["subjects"])
    ]
    assert given == ["system:openshift:scc:privileged"]


@pytest.mark.parametrize("engine", sorted(OF_ENGINE))
def test_the_configuration_of_the_buildroot_can_be_read(engine: str, tmp_path: Path):
    (found,) = objects(INFRA / engine / "60-buildroot-config.yaml")
    path = tmp_path / "builder.conf"
    path.write_text((found.get("data") or found.get("stringData"))["builder.conf"])
    config = load(path)
    assert config.registry.url == "registry.example.com"
    assert config.buildroot.isolation == "oci"  # or RUN would see the pod's files


def test_secrets_of_the_example_hold_nothing():
    (found,) = objects(INFRA / "kubernetes" / "registry-secret.yaml.example")
    assert found["stringData"] == {".dockerconfigjson": '{"auths": {}}'}


def test_builds_reach_neither_private_networks_nor_the_clouds_metadata_nor_are_they_reached():
    (builds,) = objects(INFRA / "kubernetes" / "50-network-policy.yaml")
    assert builds["spec"]["podSelector"] == {}  # pods of OpenShift's builds have no label of ours
    assert builds["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in builds["spec"]
    blocks = [
        to["ipBlock"] for rule in builds["spec"]["egress"] for to in rule["to"] if "ipBlock" in to
    ]
    world = next(block for block in blocks if block["cidr"] == "0.0.0.0/0")
    assert {"169.254.0.0/16", "10.0.0.0/8", "127.0.0.0/8"} <= set(world["except"])
    assert {"168.63.129.16/32", "192.0.0.0/24"} <= set(world["except"])  # Azure, Oracle
    assert all("ports" in rule for rule in builds["spec"]["egress"])


def names(kind: str, *files: Path) -> set[str]:
    return {o["metadata"]["name"] for path in files for o in objects(path) if o["kind"] == kind}


def cluster_of_the_example() -> str:
    text = (INFRA / "builder.conf.example").read_text()
    found = re.search(r"(?ms)^#\[cluster one\]\n.*?(?=\n\n)", text)
    assert found
    return re.sub(r"(?m)^#(?=[a-z_]+ =|\[)", "", found[0])


def cluster_of_the_readme() -> str:
    text = textwrap.dedent(
        (INFRA / "README.md").read_text().split("```ini\n")[1].split("   ```")[0]
    )
    return text.partition("\n\n")[2]


@pytest.mark.parametrize("text", [cluster_of_the_example(), cluster_of_the_readme()])
def test_builder_conf_names_the_objects_as_they_are_named(text: str, tmp_path: Path):
    path = tmp_path / "builder.conf"
    path.write_text(f"[builder]\nengine = clusters\n[registry]\nurl = r.example.com\n{text}")
    cluster = load(path).clusters["one"]
    secret = INFRA / "kubernetes" / "registry-secret.yaml.example"
    assert {cluster.namespace} == names("Namespace", *FILES)
    assert cluster.service_account in names("ServiceAccount", *FILES)
    assert cluster.config_map in names("ConfigMap", *FILES)
    assert {cluster.registry_secret} == names("Secret", secret)
    configs = {cluster.build_config.format(arch=a.replace("_", "-")) for a in cluster.arches}
    assert configs == names("BuildConfig", *FILES)


def test_each_build_config_is_valid_parallel_and_for_one_arch():
    found = objects(INFRA / "openshift" / "70-buildconfigs.yaml")
    assert [each["metadata"]["name"] for each in found] == [
        "koji-containerbuild-x86-64",
        "koji-containerbuild-aarch64",
    ]
    arches = [each["spec"]["nodeSelector"]["kubernetes.io/arch"] for each in found]
    assert arches == ["amd64", "arm64"]
    assert [check(each)["spec"]["runPolicy"] for each in found] == ["Parallel", "Parallel"]
    assert {each["spec"]["serviceAccount"] for each in found} == {"buildroot"}

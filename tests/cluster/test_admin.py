"""What fedora-infra/kubernetes makes of a real cluster, and what `check` says of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from koji_containerbuild.__main__ import main
from koji_containerbuild.check.clusters import check_clusters
from koji_containerbuild.check.fact import Fact
from koji_containerbuild.config import Config
from koji_containerbuild.config.cluster import ClusterConfig
from koji_containerbuild.devstack.cluster.cluster import Cluster
from koji_containerbuild.devstack.cluster.rest import Refused
from koji_containerbuild.engines.permissions import KUBERNETES
from koji_containerbuild.registry.client import Registry, RegistrySettings
from tests.cluster import admin
from tests.cluster.pods import until

NAMESPACED = f"/api/v1/namespaces/{admin.NAMESPACE}"
ROLES = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{admin.NAMESPACE}/roles"
ROLE = f"{ROLES}/koji-builder"


@pytest.fixture
def section(applied: Cluster, tmp_path: Path) -> ClusterConfig:
    return admin.section(applied, tmp_path, image="localhost/buildroot:1", pull_policy="Never")


def facts(section: ClusterConfig) -> dict[str, Fact]:
    with Registry(RegistrySettings()) as registry:
        found = list(check_clusters(Config(clusters={"one": section}), registry))
    return {fact.what.partition(": ")[2]: fact for fact in found}


def wrong(found: dict[str, Fact]) -> dict[str, str]:
    return {what: fact.mend for what, fact in found.items() if fact.state == "WRONG"}


def test_nothing_is_wrong_where_the_objects_are_applied_as_they_are(section: ClusterConfig):
    found = facts(section)
    assert not wrong(found)
    assert found["it answers over TLS"].said == "v1.20.2"
    assert found[f"the namespace {admin.NAMESPACE} takes Jobs"].state == "OK"
    hidden = [what for what, fact in found.items() if fact.state == "NOT TRIED"]
    assert [what.split()[0:3] for what in hidden] == [
        ["there", "is", "the"],
        ["there", "is", "the"],
        ["there", "is", "the"],
        ["the", "service", "account"],
        ["the", "image", "of"],
        ["it", "has", "nodes"],
    ]


def test_the_check_leaves_nothing_in_the_cluster(applied: Cluster, section: ClusterConfig):
    facts(section)
    jobs = applied.api.call("GET", f"/apis/batch/v1/namespaces/{admin.NAMESPACE}/jobs")
    assert not jobs["items"]


def test_applying_again_changes_nothing(applied: Cluster):
    before = applied.api.call("GET", ROLE)["metadata"]["resourceVersion"]
    admin.apply_all(applied)
    assert applied.api.call("GET", ROLE)["metadata"]["resourceVersion"] == before


@pytest.mark.parametrize("permission", KUBERNETES, ids=str)
def test_a_permission_that_is_missing_is_found_and_its_command_mends_it(
    applied: Cluster, section: ClusterConfig, permission: object
):
    role = applied.api.call("GET", ROLE)
    taken = KUBERNETES.index(permission)  # type: ignore[arg-type]
    rules = [rule for number, rule in enumerate(role["rules"]) if number != taken]
    applied.api.call("PATCH", ROLE, {"rules": rules}, content_type="application/merge-patch+json")
    try:
        until("the check notices", lambda: wrong(facts(section)), 20)
        found = wrong(facts(section))
    finally:
        admin.apply(applied, "kubernetes/30-role.yaml")
    file = "fedora-infra/kubernetes/30-role.yaml"
    assert set(found.values()) == {f"As an admin, in the source tree: kubectl apply -f {file}"}
    assert f"the builder may {permission}" in found
    until("it is mended", lambda: not wrong(facts(section)), 20)


def test_a_namespace_that_is_not_there_shows_as_missing_permissions(section: ClusterConfig):
    found = wrong(facts(dataclasses.replace(section, namespace="elsewhere")))
    assert len(found) == len(KUBERNETES)


def test_a_token_that_was_taken_back_is_found(applied: Cluster, section: ClusterConfig):
    Path(section.token_file).write_text("guessed")
    assert list(wrong(facts(section))) == ["it knows the builder"]


def test_a_cluster_with_another_ca_is_found(section: ClusterConfig, certificate: Path):
    found = facts(dataclasses.replace(section, ca_file=str(certificate)))
    assert list(wrong(found)) == ["it answers over TLS"]
    assert "certificate verify failed" in found["it answers over TLS"].said


def grant(cluster: Cluster, name: str, rule: dict[str, Any]) -> None:
    """One more Role, given to the builder."""
    meta = {"name": name, "namespace": admin.NAMESPACE}
    cluster.api.call("POST", ROLES, {"metadata": meta, "rules": [rule]})
    group = "rbac.authorization.k8s.io"
    account = {"kind": "ServiceAccount", "name": "koji-builder", "namespace": admin.NAMESPACE}
    role = {"apiGroup": group, "kind": "Role", "name": name}
    bindings = ROLES.replace("roles", "rolebindings")
    cluster.api.call("POST", bindings, {"metadata": meta, "roleRef": role, "subjects": [account]})


def test_a_permission_too_many_is_found_whatever_it_is(applied: Cluster, section: ClusterConfig):
    what = "the builder may not do what it has no use for"
    grant(applied, "more", {"apiGroups": [""], "resources": ["pods"], "verbs": ["create", "get"]})
    try:
        until("the check notices", lambda: what in wrong(facts(section)), 20)
        found = facts(section)
    finally:
        applied.api.call("DELETE", f"{ROLES.replace('roles', 'rolebindings')}/more")
        applied.api.call("DELETE", f"{ROLES}/more")
    assert list(wrong(found)) == [what]
    assert found[what].said == "It may create pods, get pods."
    until("it is mended", lambda: not wrong(facts(section)), 20)


def test_a_quota_that_is_full_is_found_by_the_dry_run(applied: Cluster, section: ClusterConfig):
    quotas = f"{NAMESPACED}/resourcequotas"
    quota = {"metadata": {"name": "full"}, "spec": {"hard": {"count/jobs.batch": "0"}}}
    applied.api.call("POST", quotas, quota)
    what = f"the namespace {admin.NAMESPACE} takes Jobs"
    try:
        until("the quota is in force", lambda: what in wrong(facts(section)), 20)
        fact = facts(section)[what]
    finally:
        applied.api.call("DELETE", f"{quotas}/full")
    assert "exceeded quota: full" in fact.said
    assert "40-limits.yaml" in fact.mend


def test_what_the_cluster_would_not_take_of_the_real_job_is_found(section: ClusterConfig):
    found = wrong(facts(dataclasses.replace(section, cpu="two")))
    assert list(found) == [f"the namespace {admin.NAMESPACE} takes Jobs"]


def test_an_admin_sees_what_the_builder_may_not_and_may_too_much(
    applied: Cluster, section: ClusterConfig
):
    Path(section.token_file).write_text(applied.admin_token)
    found = facts(section)
    assert list(wrong(found)) == ["the builder may not do what it has no use for"]
    assert "It may * *." in found["the builder may not do what it has no use for"].said
    for what in (
        "there is the service account buildroot",
        "there is the Secret registry",
        "there is the ConfigMap buildroot-config",
        "the service account buildroot has no permission",
        "it has nodes of x86_64",
    ):
        assert found[what].state == "OK", found[what]


def test_the_command_asks_the_clusters_of_the_configuration(
    section: ClusterConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "builder.conf"
    keys = {key: getattr(section, key) for key in ("url", "ca_file", "token_file", "namespace")}
    lines = "".join(f"{key} = {value}\n" for key, value in keys.items())
    text = f"[cluster one]\narches = x86_64\nimage = localhost/x:1\npull_policy = Never\n{lines}"
    path.write_text(f"[builder]\nengine = clusters\n[registry]\nurl = r.invalid\n{text}")
    assert main(["check", "--config", str(path), "--kojid-conf", str(tmp_path / "none")]) == 1
    out = capsys.readouterr().out
    assert "OK         cluster one: it answers over TLS: v1.20.2\n" in out
    assert "OK         cluster one: the builder may create secrets\n" in out
    path.write_text(f"[builder]\nengine = local\n[registry]\nurl = r.invalid\n{text}")
    main(["check", "--config", str(path), "--kojid-conf", str(tmp_path / "none")])
    assert "cluster one" not in capsys.readouterr().out


def test_the_builder_may_read_no_secret_and_make_no_pod(applied: Cluster):
    builder = applied.api_of(admin.token(applied))
    for method, path, body in (
        ("GET", f"{NAMESPACED}/secrets", None),
        ("GET", f"{NAMESPACED}/secrets/registry", None),
        ("GET", "/api/v1/namespaces/kube-system/secrets", None),
        ("POST", f"{NAMESPACED}/pods", {"metadata": {"name": "x"}, "spec": {"containers": []}}),
        ("GET", "/api/v1/nodes", None),
    ):
        with pytest.raises(Refused) as refused:
            builder.call(method, path, body)
        assert refused.value.code == 403

"""What the check makes of clusters; tests/cluster asks a real one."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from koji_containerbuild.check.clusters import check_clusters
from koji_containerbuild.check.fact import Fact
from koji_containerbuild.config import Config
from koji_containerbuild.config.cluster import ClusterConfig
from koji_containerbuild.registry.client import Registry, RegistrySettings
from koji_containerbuild.rules.manifests import DOCKER_MANIFEST
from koji_containerbuild.rules.pullspec import Pullspec
from tests.fakes.cluster_api import ALL, TOKEN, FakeClusterApi
from tests.fakes.registry import FakeRegistry

INFRA = Path(__file__).parents[2] / "fedora-infra"
ACCOUNTS = "/api/v1/namespaces/builds/serviceaccounts"
OTHER = "system:serviceaccount:builds:buildroot"


def rules(engine: str) -> list[dict[str, Any]]:
    role, _ = yaml.safe_load_all((INFRA / engine / "30-role.yaml").read_text())
    return list(role["rules"])


def documents(file: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((INFRA / file).read_text()))


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as fake:
        yield fake


@pytest.fixture
def section(registry: FakeRegistry, tmp_path: Path) -> ClusterConfig:
    """All but the URL; its image is in the registry, for x86_64."""
    token = tmp_path / "token"
    token.write_text(f"{TOKEN}\n")
    token.chmod(0o600)
    image = push(registry, "amd64")
    return ClusterConfig(
        token_file=str(token), namespace="builds", arches=("x86_64",), image=image,
        service_account="buildroot", registry_secret="registry", config_map="buildroot-config",
        build_config="koji-containerbuild-{arch}",
    )  # fmt: skip


def push(fake: FakeRegistry, arch: str) -> str:
    spec = Pullspec(fake.host, "koji/buildroot", tag="1")
    with Registry(RegistrySettings((fake.host,))) as registry:
        config = json.dumps({"architecture": arch, "os": "linux"}).encode()
        digest = registry.put_blob(spec, config)
        body = {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": {"digest": digest, "size": len(config), "mediaType": "x"},
            "layers": [],
        }
        registry.put_manifest(spec, json.dumps(body).encode(), DOCKER_MANIFEST)
    return str(spec)


def facts(fake: FakeClusterApi, section: ClusterConfig, registry: FakeRegistry) -> dict[str, Fact]:
    config = Config(clusters={"one": dataclasses.replace(section, url=fake.url)})
    with Registry(RegistrySettings((registry.host,))) as client:
        found = list(check_clusters(config, client))
    return {fact.what.partition(": ")[2]: fact for fact in found}


def states(found: dict[str, Fact]) -> dict[str, list[str]]:
    by_state: dict[str, list[str]] = {}
    for what, fact in found.items():
        by_state.setdefault(fact.state, []).append(what)
    return by_state


def test_with_the_role_of_the_example_nothing_is_wrong_and_what_is_hidden_is_not_tried(
    section: ClusterConfig, registry: FakeRegistry
):
    with FakeClusterApi(rules("kubernetes")) as fake:
        found = facts(fake, section, registry)
    assert "WRONG" not in states(found)
    assert len(states(found)["NOT TRIED"]) == 5
    assert all(found[what].said.partition("As an admin: ")[2].startswith("kubectl ")
               for what in states(found)["NOT TRIED"])  # fmt: skip
    assert not fake.made


def see_everything(fake: FakeClusterApi) -> None:
    _, _, account = documents("kubernetes/20-accounts.yaml")
    fake.objects[f"{ACCOUNTS}/buildroot"] = account
    (config,) = documents("kubernetes/60-buildroot-config.yaml")
    fake.objects["/api/v1/namespaces/builds/configmaps/buildroot-config"] = config
    secret = {"data": {".dockerconfigjson": ""}}
    fake.objects["/api/v1/namespaces/builds/secrets/registry"] = secret
    ready = {"type": "Ready", "status": "True"}
    fake.objects["/api/v1/nodes"] = {"items": [{"status": {"conditions": [ready]}}]}


def test_who_may_look_sees_everything_but_may_too_much(
    section: ClusterConfig, registry: FakeRegistry
):
    with FakeClusterApi([ALL]) as fake:
        see_everything(fake)
        found = facts(fake, section, registry)
    assert states(found)["WRONG"] == ["the builder may not do what it has no use for"]
    assert "NOT TRIED" not in states(found)


@pytest.mark.parametrize(
    ("change", "what", "said"),
    [
        (
            lambda fake: fake.objects[f"{ACCOUNTS}/buildroot"].pop("automountServiceAccountToken"),
            "there is the service account buildroot",
            "automountServiceAccountToken",
        ),
        (
            lambda fake: fake.accounts.update({OTHER: [ALL]}),
            "the service account buildroot has no permission",
            "create jobs",
        ),
        (
            lambda fake: fake.objects.pop("/api/v1/namespaces/builds/secrets/registry"),
            "there is the Secret registry",
            "not found",
        ),
        (
            lambda fake: fake.objects.update(
                {"/api/v1/namespaces/builds/configmaps/buildroot-config": {"data": {"x": ""}}}
            ),
            "there is the ConfigMap buildroot-config",
            "no key builder.conf",
        ),
        (
            lambda fake: fake.objects["/api/v1/nodes"]["items"][0].update(
                spec={"unschedulable": True}
            ),
            "it has nodes of x86_64",
            "none of them ready",
        ),
    ],
)
def test_what_is_wrong_with_the_objects_is_named(
    section: ClusterConfig, registry: FakeRegistry, change: Any, what: str, said: str
):
    with FakeClusterApi([ALL]) as fake:
        see_everything(fake)
        change(fake)
        found = facts(fake, section, registry)
    assert found[what].state == "WRONG"
    assert said in found[what].said
    assert len(states(found)["WRONG"]) == 2  # and the account that may all of this


@pytest.mark.parametrize("verb", ["create", "patch"])
def test_a_missing_permission_is_named_with_what_it_is_for(
    section: ClusterConfig, registry: FakeRegistry, verb: str
):
    with FakeClusterApi(rules("kubernetes")) as fake:
        fake.rules[0]["verbs"].remove(verb)
        found = facts(fake, section, registry)
    (what,) = states(found)["WRONG"]
    assert what.endswith("jobs.batch")
    assert f"It may not {verb}, which is to begin a build" in found[what].said
    assert found[what].mend == "kubectl apply -f fedora-infra/kubernetes/30-role.yaml"


def test_a_namespace_that_is_not_there_is_wrong(section: ClusterConfig, registry: FakeRegistry):
    with FakeClusterApi([*rules("kubernetes")]) as fake:
        fake.namespaces.clear()
        found = facts(fake, section, registry)
    assert states(found)["WRONG"] == ["the namespace builds takes Jobs"]


def test_a_token_that_the_cluster_does_not_know_is_wrong(
    section: ClusterConfig, registry: FakeRegistry
):
    Path(section.token_file).write_text("old")
    with FakeClusterApi(rules("kubernetes")) as fake:
        found = facts(fake, section, registry)
    assert states(found)["WRONG"] == ["it knows the builder"]
    mend = found["it knows the builder"].mend
    assert mend.startswith("kubectl -n builds get secret koji-builder-token")
    assert section.token_file in mend
    assert "old" not in str([dataclasses.replace(fact, mend="") for fact in found.values()])


def test_a_token_that_others_can_read_is_wrong(section: ClusterConfig, registry: FakeRegistry):
    Path(section.token_file).chmod(0o644)
    with FakeClusterApi(rules("kubernetes")) as fake:
        found = facts(fake, section, registry)
    assert found["nobody else can read the credential"].mend == f"chmod 600 {section.token_file}"


def test_a_token_that_is_not_there_is_wrong(section: ClusterConfig, registry: FakeRegistry):
    Path(section.token_file).unlink()
    with FakeClusterApi(rules("kubernetes")) as fake:
        found = facts(fake, section, registry)
    assert "WRONG" in states(found)
    assert "OK" not in states(found)


def test_a_cluster_that_cannot_be_reached_is_said_once(
    section: ClusterConfig, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("koji_containerbuild.check.clusters.PATIENCE", 0.2)
    fake = FakeClusterApi([])
    with fake:
        pass  # its port is free again
    found = facts(fake, section, registry)
    assert states(found)["WRONG"] == ["it answers over TLS"]


def test_an_image_for_another_arch_is_wrong(section: ClusterConfig, registry: FakeRegistry):
    push(registry, "arm64")
    with FakeClusterApi(rules("kubernetes")) as fake:
        found = facts(fake, section, registry)
    assert [found[what].said for what in states(found)["WRONG"]] == ["It is not for x86_64."]


def test_an_image_that_is_not_there_is_wrong(section: ClusterConfig, registry: FakeRegistry):
    section = dataclasses.replace(section, image=f"{registry.host}/koji/buildroot:2")
    with FakeClusterApi(rules("kubernetes")) as fake:
        found = facts(fake, section, registry)
    (what,) = states(found)["WRONG"]
    assert "has no image" in found[what].said


def test_an_openshift_with_the_objects_of_the_example_is_all_right(
    section: ClusterConfig, registry: FakeRegistry
):
    section = dataclasses.replace(section, engine="openshift")
    with FakeClusterApi(rules("openshift")) as fake:
        for each in documents("openshift/70-buildconfigs.yaml"):
            each["spec"]["strategy"]["customStrategy"]["from"]["name"] = section.image
            path = "/apis/build.openshift.io/v1/namespaces/builds/buildconfigs"
            fake.objects[f"{path}/{each['metadata']['name']}"] = each
        found = facts(fake, section, registry)
        assert "WRONG" not in states(found)
        what = "there is a BuildConfig for x86_64, as it should be"
        assert found[what].state == "OK"
        for key, value in (("successfulBuildsHistoryLimit", 5), ("runPolicy", "Serial")):
            for each in fake.objects.values():
                each["spec"][key] = value
            assert states(facts(fake, section, registry))["WRONG"] == [what]
        fake.objects.clear()
        assert states(facts(fake, section, registry))["WRONG"] == [what]

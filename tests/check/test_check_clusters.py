"""What the check makes of clusters; tests/cluster asks a real one."""

from __future__ import annotations

import dataclasses
import json
import re
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
NODES: dict[str, Any] = {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}
SEES: dict[str, Any] = {
    "apiGroups": [""],
    "resources": ["secrets", "configmaps", "serviceaccounts"],
    "verbs": ["get"],
}
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
    takes = found["the namespace builds takes Jobs"]
    assert takes.state == ("NOT TRIED" if verb == "create" else "OK")
    assert what.endswith("jobs.batch")
    assert f"It may not {verb}, which is to begin a build" in found[what].said
    file = "fedora-infra/kubernetes/30-role.yaml"
    assert found[what].mend == f"As an admin, in the source tree: kubectl apply -f {file}"


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
    assert mend.startswith("As an admin: kubectl -n builds get secret koji-builder-token")
    assert f"(umask 077; rm -f {section.token_file};" in mend
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


def test_an_image_for_i686_is_that_of_the_nodes_that_build_for_it(
    section: ClusterConfig, registry: FakeRegistry
):
    section = dataclasses.replace(section, arches=("i686",))
    with FakeClusterApi([*rules("kubernetes"), NODES]) as fake:
        see_everything(fake)
        found = facts(fake, section, registry)
    assert found["it has nodes of i686"].state == "OK"
    assert found[f"the image of the buildroot is there: {section.image}"].state == "OK"
    assert "%2Farch%3Damd64" in fake.seen[-1]


def test_all_permissions_are_asked_for_at_once(section: ClusterConfig, registry: FakeRegistry):
    with FakeClusterApi(rules("kubernetes")) as fake:
        facts(fake, section, registry)
    assert sum("selfsubject" in line for line in fake.seen) == 1


HARMFUL = [
    ("", "pods", "create"),
    ("", "pods/exec", "create"),
    ("build.openshift.io", "builds", "create"),
    ("build.openshift.io", "buildconfigs", "patch"),
]


@pytest.mark.parametrize("missing", [False, True])
def test_a_cluster_that_does_not_know_its_own_rules_is_asked_for_each(
    section: ClusterConfig, registry: FakeRegistry, missing: bool
):
    with FakeClusterApi(rules("kubernetes")) as fake:
        fake.incomplete = True
        if missing:
            del fake.rules[1]
        found = facts(fake, section, registry)
        wrong = ["the builder may create secrets"] if missing else []
        assert states(found).get("WRONG", []) == wrong
        for group, resource, verb in HARMFUL:
            fake.rules.append({"apiGroups": [group], "resources": [resource], "verbs": [verb]})
        found = facts(fake, section, registry)
    what = "the builder may not do what it has no use for"
    assert states(found)["WRONG"] == [*wrong, what]
    assert found[what].said == (
        "It may create pods, create pods/exec, create builds, patch buildconfigs."
    )


@pytest.mark.parametrize(
    "right",
    [
        ("", "pods", "create", ()),
        ("", "secrets", "watch", ()),
        ("", "secrets", "update", ("registry",)),
        ("build.openshift.io", "builds", "create", ()),
        ("build.openshift.io", "buildconfigs", "patch", ()),
        ("tekton.dev", "pipelineruns", "create", ()),
        ("batch", "*", "*", ()),
    ],
)
@pytest.mark.parametrize("engine", ["kubernetes", "openshift"])
def test_whatever_the_account_may_do_besides_is_too_much(
    section: ClusterConfig, registry: FakeRegistry, engine: Any, right: tuple[Any, ...]
):
    section = dataclasses.replace(section, engine=engine)
    group, resource, verb, names = right
    more: dict[str, Any] = {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
    with FakeClusterApi([*rules(engine), {**more, "resourceNames": list(names)}]) as fake:
        make_build_configs(fake, section.image)
        found = facts(fake, section, registry)
    assert states(found)["WRONG"] == ["the builder may not do what it has no use for"]
    said = found["the builder may not do what it has no use for"].said
    assert said == f"It may {' '.join((verb, resource, *names))}."


def test_a_permission_for_objects_of_one_name_is_not_the_permission(
    section: ClusterConfig, registry: FakeRegistry
):
    with FakeClusterApi(rules("kubernetes")) as fake:
        fake.rules[1]["resourceNames"] = ["plan"]
        found = facts(fake, section, registry)
    assert "the builder may create secrets" in states(found)["WRONG"]


def test_the_job_of_the_dry_run_is_one_as_builds_have_it(
    section: ClusterConfig, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
):
    with FakeClusterApi(rules("kubernetes")) as fake:
        facts(fake, section, registry)
        (job,) = fake.dry
    pod = job["spec"]["template"]["spec"]
    assert pod["containers"][0]["securityContext"]["privileged"]
    assert pod["serviceAccountName"] == "buildroot"
    assert pod["nodeSelector"]["kubernetes.io/arch"] == "amd64"
    assert job["spec"]["activeDeadlineSeconds"] > 21600


WARNED = '299 - "would violate PodSecurity \\"baseline:latest\\": privileged (container)"'


def test_a_namespace_whose_pods_would_be_refused_is_wrong(
    section: ClusterConfig, registry: FakeRegistry
):
    what = "the namespace builds takes Jobs"
    with FakeClusterApi(rules("kubernetes")) as fake:
        fake.warnings = ['299 - "old"', WARNED]
        found = facts(fake, section, registry)
        assert states(found)["WRONG"] == [what]
        assert 'would violate PodSecurity "baseline:latest": privileged' in found[what].said
        assert "pod-security.kubernetes.io/enforce=privileged" in found[what].mend
        fake.warnings.pop()
        found = facts(fake, section, registry)
    assert found[what].state == "OK"
    assert found[what].said.endswith("where it warns; the cluster warns: old")


@pytest.mark.parametrize(
    ("status", "said", "state", "mend"),
    [
        (403, "exceeded quota: builds, requested: count/jobs.batch=1", "WRONG", "40-limits.yaml"),
        (403, 'admission webhook "p" denied the request', "WRONG", "the policy that"),
        (400, 'admission webhook "p" does not support dry run', "NOT TRIED", ""),
        (404, 'namespaces "builds" not found', "WRONG", "10-namespace.yaml"),
    ],
)
def test_what_refuses_the_job_is_told_with_what_would_mend_that(
    section: ClusterConfig, registry: FakeRegistry, status: int, said: str, state: str, mend: str
):
    with FakeClusterApi(rules("kubernetes")) as fake:
        fake.refusal = (status, said)
        fact = facts(fake, section, registry)["the namespace builds takes Jobs"]
    assert (fact.state, said in fact.said, mend in fact.mend) == (state, True, True)


BUILDCONFIGS = "/apis/build.openshift.io/v1/namespaces/builds/buildconfigs"
AS_IT_SHOULD_BE = "there is a BuildConfig for x86_64, as it should be"


def make_build_configs(fake: FakeClusterApi, image: str) -> None:
    for each in documents("openshift/70-buildconfigs.yaml"):
        each["spec"]["strategy"]["customStrategy"]["from"]["name"] = image
        fake.objects[f"{BUILDCONFIGS}/{each['metadata']['name']}"] = each


@pytest.fixture
def openshift(section: ClusterConfig) -> Iterator[FakeClusterApi]:
    with FakeClusterApi(rules("openshift")) as fake:
        make_build_configs(fake, section.image)
        yield fake


def test_an_openshift_with_the_objects_of_the_example_is_all_right(
    section: ClusterConfig, registry: FakeRegistry, openshift: FakeClusterApi
):
    section = dataclasses.replace(section, engine="openshift")
    found = facts(openshift, section, registry)
    assert "WRONG" not in states(found)
    assert found[AS_IT_SHOULD_BE].state == "OK"
    assert [what for what in states(found)["NOT TRIED"] if what.startswith("there is")] == [
        "there is the service account buildroot",
        "there is the Secret registry",
        "there is the Secret buildroot-config",
    ]
    assert all(
        found[what].said.partition("As an admin: ")[2].startswith("oc ")
        for what in states(found)["NOT TRIED"]
    )
    openshift.objects.clear()
    assert states(facts(openshift, section, registry))["WRONG"] == [AS_IT_SHOULD_BE]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"runPolicy": "Serial"}, "runPolicy Serial"),
        ({"successfulBuildsHistoryLimit": 5}, "successfulBuildsHistoryLimit 5"),
        ({"completionDeadlineSeconds": 21600}, "OpenShift ends builds after 21600 s"),
        ({"nodeSelector": {}}, "kubernetes.io/arch: amd64"),
        ({"nodeSelector": {"kubernetes.io/arch": "amd64"}}, "kubernetes.io/os: linux"),
        ({"serviceAccount": ""}, "serviceAccount"),
        ({"strategy": {"dockerStrategy": {}}}, "not Custom"),
    ],
)
def test_each_row_of_what_a_build_config_must_have_is_looked_at(
    section: ClusterConfig, registry: FakeRegistry, openshift: FakeClusterApi,
    change: dict[str, Any], said: str,
):  # fmt: skip
    section = dataclasses.replace(section, engine="openshift")
    openshift.objects[f"{BUILDCONFIGS}/koji-containerbuild-x86-64"]["spec"].update(change)
    found = facts(openshift, section, registry)
    assert states(found)["WRONG"] == [AS_IT_SHOULD_BE]
    assert said in found[AS_IT_SHOULD_BE].said


@pytest.mark.parametrize(
    ("taken", "said"), [(0, "the password of the registry"), (1, "builder.conf at /etc/koji-")]
)
def test_a_build_config_without_a_secret_is_wrong(
    section: ClusterConfig, registry: FakeRegistry, openshift: FakeClusterApi, taken: int, said: str
):
    section = dataclasses.replace(section, engine="openshift")
    spec = openshift.objects[f"{BUILDCONFIGS}/koji-containerbuild-x86-64"]["spec"]
    del spec["strategy"]["customStrategy"]["secrets"][taken]
    found = facts(openshift, section, registry)
    assert states(found)["WRONG"] == [AS_IT_SHOULD_BE]
    assert said in found[AS_IT_SHOULD_BE].said


def test_an_image_stream_tag_is_told_and_not_tried(
    section: ClusterConfig, registry: FakeRegistry, openshift: FakeClusterApi
):
    section = dataclasses.replace(section, engine="openshift")
    spec = openshift.objects[f"{BUILDCONFIGS}/koji-containerbuild-x86-64"]["spec"]
    spec["strategy"]["customStrategy"]["from"] = {
        "kind": "ImageStreamTag", "name": "buildroot:1", "namespace": "images",
    }  # fmt: skip
    fact = facts(openshift, section, registry)["the image of the buildroot is there: buildroot:1"]
    assert fact.state == "NOT TRIED"
    assert "oc -n images get ImageStreamTag buildroot:1" in fact.said


def test_keys_that_have_no_effect_on_openshift_have_none_on_the_check(
    section: ClusterConfig, registry: FakeRegistry, openshift: FakeClusterApi
):
    section = dataclasses.replace(
        section, engine="openshift", pull_policy="Never", node_selector=("builds=only",)
    )
    found = facts(openshift, section, registry)
    assert found[f"the image of the buildroot is there: {section.image}"].state == "OK"
    assert not any("builds%3Donly" in line for line in openshift.seen)


def test_every_file_that_a_mend_names_is_there(
    section: ClusterConfig, registry: FakeRegistry, openshift: FakeClusterApi
):
    named: set[str] = set()
    section = dataclasses.replace(section, ca_config_map="ca")
    openshift.rules[:] = [*rules("openshift")[:1], SEES]
    spec = openshift.objects[f"{BUILDCONFIGS}/koji-containerbuild-x86-64"]["spec"]
    spec["failedBuildsHistoryLimit"] = 5
    with FakeClusterApi([*rules("kubernetes")[:1], SEES]) as fake:
        fake.refusal = (404, "not found")
        for each, engine in ((fake, "kubernetes"), (openshift, "openshift")):
            found = facts(each, dataclasses.replace(section, engine=engine), registry)
            mends = " ".join(fact.mend for fact in found.values())
            named |= set(re.findall(r"fedora-infra/\S+", mends))
    assert len(named) == 7
    assert all((INFRA.parent / name).is_file() for name in named)

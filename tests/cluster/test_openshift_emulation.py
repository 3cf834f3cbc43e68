"""The emulation of OpenShift's builds behind a real apiserver: who may do what is decided there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from koji_containerbuild.devstack.cluster import openshift_part
from koji_containerbuild.devstack.cluster.cluster import Cluster
from koji_containerbuild.devstack.cluster.images import TEST_IMAGE
from koji_containerbuild.devstack.cluster.rest import Refused, Rest
from tests.cluster.pods import Pods, until
from tests.engines.openshift_schema import check

pytestmark = pytest.mark.cluster
GROUP = "build.openshift.io"
MERGE = "application/merge-patch+json"


class Builds:
    """Builds and BuildConfigs of a test's namespace, as the admin sees them."""

    def __init__(self, pods: Pods) -> None:
        self.pods = pods
        self.path = f"/apis/{GROUP}/v1/namespaces/{pods.namespace}"

    def config(self, name: str = "image", **spec: Any) -> None:
        image = {"kind": "DockerImage", "name": TEST_IMAGE}
        config = {
            "apiVersion": f"{GROUP}/v1",
            "kind": "BuildConfig",
            "metadata": {"name": name},
            "spec": {
                "runPolicy": "Parallel",
                "serviceAccount": "default",
                "strategy": {"customStrategy": {"from": image}},
                **spec,
            },
        }
        self.pods.cluster.api.call("POST", f"{self.path}/buildconfigs", check(config))

    def begin(self, api: Rest | None = None, name: str = "image") -> Any:
        request = {"apiVersion": f"{GROUP}/v1", "kind": "BuildRequest", "metadata": {"name": name}}
        path = f"{self.path}/buildconfigs/{name}/instantiate"
        return (api or self.pods.cluster.api).call("POST", path, check(request))

    def get(self, name: str) -> Any:
        return check(self.pods.cluster.api.call("GET", f"{self.path}/builds/{name}"))

    def phase(self, name: str, wanted: str) -> Any:
        until(f"{name} is {wanted}", lambda: self.get(name)["status"]["phase"] == wanted)
        return self.get(name)["status"]

    def user(self, *rules: dict[str, Any]) -> Rest:
        """Somebody who may do that."""
        cluster, space = self.pods.cluster, self.pods.namespace
        root = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{space}"
        cluster.api.call("POST", f"{root}/roles", {"metadata": {"name": "r"}, "rules": list(rules)})
        binding = {
            "metadata": {"name": "r"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
            "subjects": [{"kind": "ServiceAccount", "name": "user", "namespace": space}],
        }
        cluster.api.call("POST", f"{root}/rolebindings", binding)
        return cluster.api_of(cluster.service_account_token(space, "user"))


def rule(resource: str, *verbs: str) -> dict[str, Any]:
    return {"apiGroups": [GROUP], "resources": [resource], "verbs": list(verbs)}


@pytest.fixture
def builds(pods: Pods, cluster: Cluster) -> Iterator[Builds]:
    openshift_part.start(cluster)
    made = Builds(pods)
    made.config()
    yield made
    for kind in ("builds", "buildconfigs"):
        for each in cluster.api.call("GET", f"{made.path}/{kind}")["items"]:
            cluster.api.call("DELETE", f"{made.path}/{kind}/{each['metadata']['name']}")


def test_a_build_runs_as_a_pod_of_the_real_cluster(builds: Builds):
    assert check(builds.begin())["metadata"]["name"] == "image-1"
    status = builds.phase("image-1", "Complete")
    assert status["completionTimestamp"]
    pod = builds.pods.get("image-1-build")
    assert pod["spec"]["containers"][0]["name"] == "custom-build"
    assert pod["metadata"]["labels"]["openshift.io/build.name"] == "image-1"


def test_who_has_no_right_is_refused_by_the_apiserver(builds: Builds):
    nobody = builds.user(rule("builds", "get"))
    with pytest.raises(Refused, match=r'cannot create resource "buildconfigs/instantiate"'):
        builds.begin(nobody)
    with pytest.raises(Refused, match=r'cannot list resource "builds"'):
        nobody.call("GET", f"{builds.path}/builds")


def test_the_custom_strategy_is_a_right_of_its_own(builds: Builds):
    one = builds.user(rule("buildconfigs/instantiate", "create"))
    with pytest.raises(Refused, match="build strategy Custom is not allowed"):
        builds.begin(one)


def test_who_may_only_begin_builds_cannot_choose_their_image(builds: Builds):
    one = builds.user(rule("buildconfigs/instantiate", "create"), rule("builds/custom", "create"))
    assert builds.begin(one)["metadata"]["name"] == "image-1"
    build = {"metadata": {"name": "mine"}, "spec": {"strategy": {"customStrategy": {}}}}
    with pytest.raises(Refused, match=r'cannot create resource "builds"'):
        one.call("POST", f"{builds.path}/builds", build)


def test_a_cancelled_build_loses_its_pod(builds: Builds):
    builds.config("stuck", nodeSelector={"kubernetes.io/arch": "s390x"})
    builds.begin(name="stuck")
    builds.phase("stuck-1", "Pending")
    body = {"status": {"cancelled": True}}
    path = f"{builds.path}/builds/stuck-1"
    builds.pods.cluster.api.call("PATCH", path, body, content_type=MERGE)
    assert builds.phase("stuck-1", "Cancelled")["reason"] == "CancelledBuild"
    until("the pod is gone", lambda: builds.pods.get("stuck-1-build") is None)


def test_a_deleted_build_takes_its_pod_with_it(builds: Builds):
    builds.begin()
    builds.phase("image-1", "Complete")
    builds.pods.cluster.api.call("DELETE", f"{builds.path}/builds/image-1")
    until("the pod is gone", lambda: builds.pods.get("image-1-build") is None)


def test_a_pod_that_somebody_deletes_is_an_error_of_the_build(builds: Builds):
    builds.config("stuck", nodeSelector={"kubernetes.io/arch": "s390x"})
    builds.begin(name="stuck")
    builds.phase("stuck-1", "Pending")
    builds.pods.cluster.api.call("DELETE", f"{builds.pods.path}/stuck-1-build")
    assert builds.phase("stuck-1", "Error")["reason"] == "BuildPodDeleted"


def test_the_cluster_goes_on_collecting_garbage(builds: Builds):
    """Which it would not, if it watched our kinds and could not read them."""
    cluster, space = builds.pods.cluster, builds.pods.namespace
    maps = f"/api/v1/namespaces/{space}/configmaps"
    owner = cluster.api.call("POST", maps, {"metadata": {"name": "owner"}})
    reference = {
        "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"],
    }  # fmt: skip
    cluster.api.call("POST", maps, {"metadata": {"name": "owned", "ownerReferences": [reference]}})
    cluster.api.call("DELETE", f"{maps}/owner")

    def names() -> list[str]:
        return [each["metadata"]["name"] for each in cluster.api.call("GET", maps)["items"]]

    until("what was owned is gone", lambda: "owned" not in names())

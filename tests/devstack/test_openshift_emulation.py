"""The emulation of OpenShift's build API and controller: its objects are of the published schema."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest

from koji_containerbuild.devstack.cluster.openshift_api import Answer, BuildApi, Call
from koji_containerbuild.devstack.cluster.openshift_controller import Controller
from koji_containerbuild.devstack.cluster.openshift_objects import pod_of
from koji_containerbuild.devstack.cluster.openshift_store import Store, selected
from tests.engines.openshift_schema import check

ROOT = "/apis/build.openshift.io/v1/namespaces/kcb"
MERGE = "application/merge-patch+json"
CONFIG: dict[str, Any] = {
    "apiVersion": "build.openshift.io/v1",
    "kind": "BuildConfig",
    "metadata": {"name": "image-x86-64", "labels": {"app": "kcb"}},
    "spec": {
        "runPolicy": "Parallel",
        "serviceAccount": "buildroot",
        "nodeSelector": {"kubernetes.io/arch": "amd64"},
        "completionDeadlineSeconds": 700,
        "resources": {"limits": {"memory": "1Gi"}},
        "strategy": {
            "customStrategy": {
                "from": {"kind": "DockerImage", "name": "reg/buildroot:1"},
                "env": [{"name": "HTTP_PROXY", "value": "p"}, {"name": "PLAN", "value": "old"}],
                "pullSecret": {"name": "pull"},
                "secrets": [{"secretSource": {"name": "registry"}, "mountPath": "/run/registry"}],
            }
        },
        "output": {"pushSecret": {"name": "push"}},
    },
}
REQUEST: dict[str, Any] = {
    "apiVersion": "build.openshift.io/v1",
    "kind": "BuildRequest",
    "metadata": {"name": "image-x86-64", "labels": {"job": "kcb-1", "app": "other"}},
    "env": [{"name": "PLAN", "value": "new"}],
}


class FakePods:
    """Pods that do nothing; `status` is what becomes of each."""

    def __init__(self) -> None:
        self.pods: dict[tuple[str, str], dict[str, Any]] = {}
        self.refuse: tuple[int, dict[str, Any]] | None = None
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        namespace, kind, *name = path.removeprefix("/api/v1/namespaces/").split("/")
        if kind == "events":
            self.events.append(body)
            return 201, body
        if method == "DELETE":
            found = self.pods.pop((namespace, name[0]), None)
            return (200, {}) if found else (404, {})
        if self.refuse:
            return self.refuse
        if (namespace, body["metadata"]["name"]) in self.pods:
            return 409, {"reason": "AlreadyExists"}
        self.pods[namespace, body["metadata"]["name"]] = {**body, "status": {"phase": "Pending"}}
        return 201, body

    def all(self) -> dict[tuple[str, str], dict[str, Any]]:
        return self.pods


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def api(store: Store) -> BuildApi:
    return BuildApi(store)


@pytest.fixture
def pods() -> FakePods:
    return FakePods()


@pytest.fixture
def controller(store: Store, pods: FakePods) -> Controller:
    return Controller(store, pods)  # type: ignore[arg-type]


def ask(api: BuildApi, method: str, path: str, body: Any = None, kind: str = MERGE) -> Answer:
    answer = api.answer(Call(method, f"{ROOT}/{path}", {}, body or {}, kind))
    if answer.body.get("kind", "Status") != "Status":
        check(answer.body)
    return answer


def begun(api: BuildApi, request: Any = REQUEST, config: Any = CONFIG) -> dict[str, Any]:
    ask(api, "POST", "buildconfigs", config)
    answer = ask(api, "POST", "buildconfigs/image-x86-64/instantiate", check(request))
    assert answer.code == 201, answer.body
    return answer.body


def now(api: BuildApi, name: str = "image-x86-64-1") -> dict[str, Any]:
    return ask(api, "GET", f"builds/{name}").body


def changed(found: Any, path: list[str], value: Any) -> Any:
    found = json.loads(json.dumps(found))
    inner = found
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return found


@pytest.mark.parametrize(
    "path, value",
    [
        (["spec", "runpolicy"], "Parallel"),
        (["spec", "strategy", "customStrategy", "from"], "reg/buildroot"),
        (["spec", "nodeSelector"], ["amd64"]),
        (["spec"], {}),
        (["status"], {"lastVersion": "1"}),
    ],
)
def test_the_schema_refuses_what_openshift_would(path: list[str], value: Any):
    check(CONFIG)
    with pytest.raises(fastjsonschema.JsonSchemaException):
        check(changed(CONFIG, path, value))


def test_a_request_cannot_choose_the_nodes():
    check(REQUEST)
    with pytest.raises(fastjsonschema.JsonSchemaException):
        check(changed(REQUEST, ["nodeSelector"], {}))


def test_a_build_is_named_labelled_and_numbered_by_its_config(api: BuildApi):
    build = begun(api)
    meta = build["metadata"]
    assert meta["name"] == "image-x86-64-1"
    assert meta["labels"] == {
        "job": "kcb-1",
        "app": "kcb",  # the BuildConfig's own word counts
        "buildconfig": "image-x86-64",
        "openshift.io/build-config.name": "image-x86-64",
        "openshift.io/build.start-policy": "Parallel",
    }
    assert meta["annotations"]["openshift.io/build.number"] == "1"
    assert build["status"]["phase"] == "New"
    env = {e["name"]: e["value"] for e in build["spec"]["strategy"]["customStrategy"]["env"]}
    assert env == {
        "HTTP_PROXY": "p",
        "PLAN": "new",
        "OPENSHIFT_CUSTOM_BUILD_BASE_IMAGE": "reg/buildroot:1",
    }
    again = ask(api, "POST", "buildconfigs/image-x86-64/instantiate", REQUEST).body
    assert again["metadata"]["name"] == "image-x86-64-2"


def test_a_request_for_another_version_is_refused(api: BuildApi):
    begun(api, {**REQUEST, "lastVersion": 0})
    late = ask(api, "POST", "buildconfigs/image-x86-64/instantiate", {**REQUEST, "lastVersion": 0})
    assert late.code == 400
    assert "does not match" in late.body["message"]


def test_of_many_at_once_with_one_version_one_is_taken(api: BuildApi):
    ask(api, "POST", "buildconfigs", CONFIG)
    codes: list[int] = []

    def go() -> None:
        path = "buildconfigs/image-x86-64/instantiate"
        codes.append(ask(api, "POST", path, {**REQUEST, "lastVersion": 0}).code)

    threads = [threading.Thread(target=go) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [201] + [400] * 7


def test_the_pod_runs_the_image_with_the_build_in_its_environment(api: BuildApi):
    build = begun(api)
    pod = pod_of(build)
    container = pod["spec"]["containers"][0]
    assert pod["metadata"]["name"] == "image-x86-64-1-build"
    assert pod["metadata"]["labels"] == {"openshift.io/build.name": "image-x86-64-1"}
    assert pod["metadata"]["ownerReferences"][0]["uid"] == build["metadata"]["uid"]
    assert "command" not in container
    assert container["name"] == "custom-build"
    assert container["securityContext"] == {"privileged": True}
    env = {each["name"]: each["value"] for each in container["env"]}
    assert check(json.loads(env["BUILD"])) == build
    assert env["PLAN"] == "new"
    assert env["PUSH_DOCKERCFG_PATH"] == "/var/run/secrets/openshift.io/push"
    mounts = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
    volumes = {each["name"]: each for each in pod["spec"]["volumes"]}
    assert volumes[mounts["/run/registry"]]["secret"]["secretName"] == "registry"
    assert pod["spec"]["activeDeadlineSeconds"] == 700
    assert pod["spec"]["nodeSelector"] == {"kubernetes.io/arch": "amd64"}
    assert pod["spec"]["serviceAccountName"] == "buildroot"


def test_a_build_goes_through_its_phases(api: BuildApi, controller: Controller, pods: FakePods):
    begun(api)
    assert controller.look()
    assert now(api)["status"]["phase"] == "Pending"
    note = now(api)["metadata"]["annotations"]
    assert note["openshift.io/build.pod-name"] == "image-x86-64-1-build"
    pod = pods.pods["kcb", "image-x86-64-1-build"]
    pod["status"] = {"phase": "Running"}
    controller.look()
    assert now(api)["status"]["phase"] == "Running"
    ended = {"exitCode": 0, "reason": "Completed"}
    pod["status"] = {
        "phase": "Succeeded",
        "containerStatuses": [{"state": {"terminated": ended}}],
    }
    controller.look()
    status = now(api)["status"]
    assert (status["phase"], status["completionTimestamp"][-1]) == ("Complete", "Z")
    assert [c["type"] for c in status["conditions"] if c["status"] == "True"] == ["Complete"]
    assert not controller.look()


@pytest.mark.parametrize(
    "status, reason",
    [
        ({}, "GenericBuildFailed"),
        ({"reason": "Evicted", "message": "The node was low on memory."}, "BuildPodEvicted"),
        (
            {"containerStatuses": [{"state": {"terminated": {"reason": "OOMKilled"}}}]},
            "OutOfMemoryKilled",
        ),
    ],
)
def test_a_failure_has_a_reason(
    api: BuildApi, controller: Controller, pods: FakePods, status: Any, reason: str
):
    begun(api)
    controller.look()
    pods.pods["kcb", "image-x86-64-1-build"]["status"] = {"phase": "Failed", **status}
    controller.look()
    found = now(api)["status"]
    assert (found["phase"], found["reason"]) == ("Failed", reason)


def test_a_failed_build_shows_its_last_words(api: BuildApi, controller: Controller, pods: FakePods):
    begun(api)
    controller.look()
    ended = {"reason": "Error", "message": "".join(f"line {n}\n" for n in range(9))}
    pods.pods["kcb", "image-x86-64-1-build"]["status"] = {
        "phase": "Failed",
        "containerStatuses": [{"state": {"terminated": ended}}],
    }
    controller.look()
    assert now(api)["status"]["logSnippet"].split("\n")[::4] == ["line 4", "line 8"]


def test_a_cancelled_build_loses_its_pod(api: BuildApi, controller: Controller, pods: FakePods):
    begun(api)
    controller.look()
    ask(api, "PATCH", "builds/image-x86-64-1", {"status": {"cancelled": True}})
    controller.look()
    assert not pods.pods
    status = now(api)["status"]
    assert (status["phase"], status["reason"]) == ("Cancelled", "CancelledBuild")


def test_a_pod_that_somebody_deleted_is_an_error(
    api: BuildApi, controller: Controller, pods: FakePods
):
    begun(api)
    controller.look()
    pods.pods.clear()
    controller.look()
    assert now(api)["status"]["reason"] == "BuildPodDeleted"


def test_a_quota_is_told_and_tried_again(api: BuildApi, controller: Controller, pods: FakePods):
    begun(api)
    pods.refuse = (403, {"message": "exceeded quota: few"})
    controller.look()
    controller.look()
    status = now(api)["status"]
    assert (status["phase"], status["reason"]) == ("New", "CannotCreateBuildPod")
    assert [e["message"] for e in pods.events] == ["Error creating build pod: exceeded quota: few"]
    pods.refuse = None
    controller.look()
    assert now(api)["status"]["phase"] == "Pending"


def test_serial_builds_wait_for_each_other(api: BuildApi, controller: Controller, pods: FakePods):
    serial = changed(CONFIG, ["spec", "runPolicy"], "Serial")
    begun(api, config=serial)
    ask(api, "POST", "buildconfigs/image-x86-64/instantiate", REQUEST)
    controller.look()
    controller.look()
    assert list(pods.pods) == [("kcb", "image-x86-64-1-build")]
    ask(api, "PATCH", "builds/image-x86-64-1", {"status": {"cancelled": True}})
    controller.look()
    controller.look()
    assert list(pods.pods) == [("kcb", "image-x86-64-2-build")]


def test_only_so_many_builds_that_are_over_are_kept(
    api: BuildApi, controller: Controller, pods: FakePods
):
    """Which takes their pods, and so their outcomes, away."""
    begun(api, config=changed(CONFIG, ["spec", "failedBuildsHistoryLimit"], 1))
    ask(api, "POST", "buildconfigs/image-x86-64/instantiate", REQUEST)
    controller.look()
    for pod in pods.pods.values():
        pod["status"] = {"phase": "Failed"}
    controller.look()
    controller.look()
    assert ask(api, "GET", "builds/image-x86-64-1").code == 404
    assert list(pods.pods) == [("kcb", "image-x86-64-2-build")]


def test_a_deleted_build_takes_its_pod_with_it(
    api: BuildApi, controller: Controller, pods: FakePods
):
    begun(api)
    controller.look()
    assert ask(api, "DELETE", "builds/image-x86-64-1").code == 200
    controller.look()
    assert not pods.pods
    assert ask(api, "DELETE", "builds/image-x86-64-1").code == 404


def test_a_deleted_config_takes_its_builds_with_it(
    api: BuildApi, controller: Controller, pods: FakePods
):
    begun(api)
    controller.look()
    ask(api, "DELETE", "buildconfigs/image-x86-64")
    controller.look()
    assert not pods.pods
    assert begun(api)["metadata"]["name"] == "image-x86-64-1"


def test_what_a_build_is_made_of_does_not_change(api: BuildApi):
    begun(api)
    answer = ask(api, "PATCH", "builds/image-x86-64-1", {"spec": {"serviceAccount": "admin"}})
    assert (answer.code, "immutable" in answer.body["message"]) == (422, True)
    assert ask(api, "PATCH", "builds/image-x86-64-1", {}, "application/json").code == 415


def test_an_ended_build_keeps_its_phase(api: BuildApi, controller: Controller, pods: FakePods):
    begun(api)
    controller.look()
    pods.pods.clear()
    controller.look()
    answer = ask(api, "PATCH", "builds/image-x86-64-1", {"status": {"phase": "Running"}})
    assert answer.code == 422


def test_the_custom_strategy_is_a_right_of_its_own(store: Store):
    begun(BuildApi(store))
    api = BuildApi(store, may_custom=lambda call, namespace, name: False)
    for method, path in (
        ("POST", "buildconfigs/image-x86-64/instantiate"),
        ("PATCH", "builds/image-x86-64-1"),
        ("POST", "buildconfigs"),
    ):
        answer = ask(api, method, path, CONFIG if path == "buildconfigs" else REQUEST)
        assert (answer.code, answer.body["reason"]) == (403, "Forbidden")
        assert "build strategy Custom is not allowed" in answer.body["message"]


def test_lists_choose_by_label(api: BuildApi):
    begun(api)
    body = api.answer(Call("GET", f"{ROOT}/builds", {"labelSelector": "job=kcb-1"})).body
    assert len(check(body)["items"]) == 1
    assert not api.answer(Call("GET", f"{ROOT}/builds", {"labelSelector": "job=x"})).body["items"]


@pytest.mark.parametrize(
    "selector, fits",
    [
        ("", True),
        ("a", True),
        ("a=1,b=2", True),
        ("a==1", True),
        ("a=2", False),
        ("a in (1, 3),b", True),
        ("a in (2,3)", False),
        ("b=2,a in (2,3)", False),
        ("c", False),
    ],
)
def test_selectors_are_those_of_kubernetes(selector: str, fits: bool):
    assert selected({"metadata": {"labels": {"a": "1", "b": "2"}}}, selector) is fits


def test_a_watch_tells_what_came_since(api: BuildApi):
    first = begun(api)
    ask(api, "PATCH", "builds/image-x86-64-1", {"status": {"cancelled": True}})
    ask(api, "DELETE", "builds/image-x86-64-1")
    since = first["metadata"]["resourceVersion"]
    params = {"watch": "true", "resourceVersion": since, "timeoutSeconds": "0.2"}
    lines = api.answer(Call("GET", f"{ROOT}/builds", params)).lines
    assert lines
    events = [json.loads(line) for line in lines]
    assert [event["type"] for event in events] == ["MODIFIED", "DELETED"]
    assert all(check(event["object"]) for event in events)


def test_what_is_kept_in_a_file_is_there_again(tmp_path: Path):
    file = tmp_path / "objects.json"
    build = begun(BuildApi(Store(file)))
    assert now(BuildApi(Store(file))) == build

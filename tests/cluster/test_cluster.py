"""The cluster is a real Kubernetes, and does what the engine counts on."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from koji_containerbuild.devstack.cluster.cluster import PARTS, Cluster
from koji_containerbuild.devstack.cluster.rest import Refused
from koji_containerbuild.devstack.process import running
from koji_containerbuild.errors import BadRequest, ConfigError, ServiceError
from tests.cluster.pods import Pods, script, until
from tests.fakes.web_server import QuietHandler, serving

pytestmark = pytest.mark.cluster


def test_the_node_is_ready_and_says_its_arch(cluster: Cluster):
    (found,) = cluster.api.call("GET", "/api/v1/nodes")["items"]
    ready = {one["type"]: one["status"] for one in found["status"]["conditions"]}["Ready"]
    assert ready == "True"
    assert found["metadata"]["labels"]["kubernetes.io/arch"] == "amd64"
    assert found["status"]["nodeInfo"]["kubeletVersion"] == "v1.20.2"


def test_a_pod_runs_and_its_log_is_read(pods: Pods):
    pods.run("hello", script("echo one; echo two >&2; printf three"))
    assert pods.ended("hello")["exitCode"] == 0
    log = pods.log("hello")  # of two pipes: nobody knows which comes first
    assert all(word in log for word in (b"one", b"two", b"three")), log


def test_exit_code_and_termination_message_arrive(pods: Pods):
    pods.run("fails", script("printf '{\"digest\": 1}' > /dev/termination-log; exit 7"))
    ended = pods.ended("fails")
    assert (ended["exitCode"], ended["message"]) == (7, '{"digest": 1}')


def test_a_job_is_ended_at_its_deadline(pods: Pods):
    template = {"spec": script("sleep 100")}
    spec = {"activeDeadlineSeconds": 3, "backoffLimit": 0, "template": template}
    pods.cluster.api.call("POST", pods.jobs, {"metadata": {"name": "slow"}, "spec": spec})

    def failed() -> bool:
        status = pods.cluster.api.call("GET", f"{pods.jobs}/slow")["status"]
        return [one["reason"] for one in status.get("conditions", ())] == ["DeadlineExceeded"]

    begin = time.monotonic()
    until("the job has failed", failed)
    assert time.monotonic() - begin > 2


def test_a_pod_reaches_this_machine_by_the_nodes_address(pods: Pods):
    class Handler(QuietHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"from the machine\n")

    with serving(Handler, pods.cluster.node_ip) as server:
        url = f"http://{pods.cluster.node_ip}:{server.server_port}/"
        pods.run("asks", script(f"wget -q -O - {url}"))
        assert pods.ended("asks")["exitCode"] == 0, pods.log("asks")
        assert pods.log("asks") == b"from the machine\n"


def test_a_service_account_without_permission_may_do_nothing(pods: Pods):
    cluster = pods.cluster
    nobody = cluster.api_of(cluster.service_account_token(pods.namespace, "nobody"))
    for method, path, body in (
        ("GET", pods.path, None),
        ("GET", f"/api/v1/namespaces/{pods.namespace}/secrets", None),
        ("POST", pods.jobs, {"metadata": {"name": "mine"}, "spec": {}}),
    ):
        with pytest.raises(Refused, match=f"system:serviceaccount:{pods.namespace}:nobody") as no:
            nobody.call(method, path, body)
        assert no.value.code == 403


def test_a_role_gives_a_service_account_just_what_it_says(pods: Pods):
    cluster, rbac = pods.cluster, f"/apis/rbac.authorization.k8s.io/v1/namespaces/{pods.namespace}"
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}
    cluster.api.call("POST", f"{rbac}/roles", {"metadata": {"name": "reads"}, "rules": [rule]})
    reader = cluster.api_of(cluster.service_account_token(pods.namespace, "reader"))
    subject = {"kind": "ServiceAccount", "name": "reader", "namespace": pods.namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reads"}
    binding = {"metadata": {"name": "reads"}, "roleRef": role, "subjects": [subject]}
    cluster.api.call("POST", f"{rbac}/rolebindings", binding)

    def may_list() -> bool:
        try:
            return bool(reader.call("GET", pods.path)["kind"] == "PodList")
        except Refused:
            return False

    until("the role is known", may_list)
    with pytest.raises(Refused, match="cannot create resource"):
        reader.call("POST", pods.path, {"metadata": {"name": "x"}, "spec": script("true")})


def test_a_token_that_nobody_gave_is_refused(cluster: Cluster):
    with pytest.raises(Refused, match="401"):
        cluster.api_of("guessed").call("GET", "/api/v1/nodes")


def test_requests_are_counted_by_user(pods: Pods):
    cluster = pods.cluster
    user = f"system:serviceaccount:{pods.namespace}:counted"
    counted = cluster.api_of(cluster.service_account_token(pods.namespace, "counted"))
    for _ in range(3):
        with pytest.raises(Refused):
            counted.call("GET", pods.path)
    found = until("three requests", lambda: cluster.requests(user)[2:] and cluster.requests(user))
    assert [(one["verb"], one["responseStatus"]["code"]) for one in found] == [("list", 403)] * 3


def test_pods_go_on_while_the_control_plane_is_away(pods: Pods):
    pods.run("goes-on", script("for n in 1 2 3 4 5 6; do echo $n; sleep 1; done"))
    pods.running("goes-on")
    for name in ("kube-apiserver", "etcd"):
        pods.cluster.stop(name, signal.SIGKILL)
    pods.cluster.close()
    with pytest.raises(ServiceError, match="does not answer"):
        pods.get("goes-on")
    for name in ("etcd", "kube-apiserver"):
        pods.cluster.start(name)
    assert pods.ended("goes-on")["exitCode"] == 0
    assert pods.log("goes-on").split() == b"1 2 3 4 5 6".split()


@pytest.mark.parametrize("name", ["kubelet", "containerd"])
def test_pods_go_on_when_a_part_of_the_node_is_killed(pods: Pods, name: str):
    pods.run("goes-on", script("for n in 1 2 3 4 5; do echo $n; sleep 1; done"))
    pods.running("goes-on")
    pods.cluster.stop(name, signal.SIGKILL)
    pods.cluster.start(name)
    ended = pods.ended("goes-on")
    assert (
        ended["exitCode"],
        pods.get("goes-on")["status"]["containerStatuses"][0]["restartCount"],
    ) == (0, 0)


def test_up_again_starts_nothing_anew(cluster: Cluster):
    before = {name: running(cluster.places.run, name) for name in PARTS}
    cluster.up()
    assert {name: running(cluster.places.run, name) for name in PARTS} == before


def test_a_part_that_does_not_exist_is_refused(cluster: Cluster):
    with pytest.raises(BadRequest, match="no part 'apiserver'"):
        cluster.start("apiserver")


def test_a_folder_of_somebody_else_is_not_deleted(tmp_path: Path):
    from koji_containerbuild.devstack.cluster.cluster import find_cluster_places

    (tmp_path / "precious").touch()
    with pytest.raises(ConfigError, match="not a devstack's state folder"):
        Cluster(find_cluster_places(str(tmp_path))).reset()
    assert (tmp_path / "precious").exists()

"""An OpenShift for the engine: the emulation of its build API and controller (see
koji_containerbuild/devstack/cluster/openshift.py) on the Kubernetes of tests/fakes/kubernetes.py.

Whatever is sent, and whatever is answered, is held to the published schema.
"""

from __future__ import annotations

import copy
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from koji_containerbuild.config.cluster import ClusterConfig
from koji_containerbuild.devstack.cluster.openshift_api import BuildApi, Call
from koji_containerbuild.devstack.cluster.openshift_controller import Controller
from koji_containerbuild.devstack.cluster.openshift_store import Store
from tests.engines.openshift_schema import check
from tests.fakes import buildroot_program
from tests.fakes.kubernetes import FakeKubernetes, Object, Refusal
from tests.fakes.kubernetes_node import QUOTA

IMAGE = "registry.example.com/koji-containerbuild/buildroot:1"
ENTRYPOINT = [  # and CMD, of that image
    sys.executable, buildroot_program.__file__, "--plan-from-environment",
    "--outcome", "/dev/termination-log", "--log", "/var/tmp/kcb.log", "--framed",
]  # fmt: skip
MERGE = "application/merge-patch+json"


class FakeOpenShift(FakeKubernetes):
    """`builds`: the store of Builds and BuildConfigs; `api`: what answers for them."""

    def __init__(self, folder: Path, namespace: str = "builds") -> None:
        super().__init__(folder, namespace)
        self.builds = Store()
        self.api = BuildApi(self.builds)
        self.other = self._ask
        self.controller = Controller(self.builds, _Pods(self))  # type: ignore[arg-type]
        threading.Thread(target=self.controller.run, daemon=True).start()
        for arch in ("x86-64", "aarch64"):
            self.api.answer(Call("POST", self.path("buildconfigs"), body=check(build_config(arch))))

    def path(self, *names: str) -> str:
        return "/".join(("/apis/build.openshift.io/v1/namespaces", self.namespace, *names))

    def config(self, **keys: Any) -> ClusterConfig:
        given = {"engine": "openshift", "build_config": "image-{arch}", "image": ""}
        return super().config(**{**given, **keys})

    def configure(self, arch: str, **spec: Any) -> None:
        """Change a BuildConfig."""
        path = self.path("buildconfigs", f"image-{arch}")
        self.api.answer(Call("PATCH", path, body={"spec": spec}, content_type=MERGE))

    def close(self) -> None:
        self.controller.stopped.set()
        super().close()

    def _ask(
        self, method: str, path: str, params: dict[str, str], body: Object
    ) -> tuple[int, Object | Iterator[bytes]]:
        if method == "POST":
            check(body)
        answer = self.api.answer(Call(method, path, params, body, MERGE))
        if answer.lines is not None:
            return answer.code, answer.lines
        if answer.body.get("kind", "Status") != "Status":
            check(answer.body)
        return answer.code, answer.body


def build_config(arch: str) -> Object:
    """What fedora-infra/openshift has, in short."""
    image = {"kind": "DockerImage", "name": IMAGE}
    return {
        "apiVersion": "build.openshift.io/v1",
        "kind": "BuildConfig",
        "metadata": {
            "name": f"image-{arch}",
            "labels": {"app.kubernetes.io/managed-by": "somebody-else"},
        },
        "spec": {
            "runPolicy": "Parallel",
            "successfulBuildsHistoryLimit": 1000,
            "failedBuildsHistoryLimit": 1000,
            "serviceAccount": "buildroot",
            "strategy": {"type": "Custom", "customStrategy": {"from": image}},
        },
    }


class _Pods:
    """What the controller asks of the cluster."""

    def __init__(self, cluster: FakeOpenShift) -> None:
        self._cluster = cluster

    def all(self) -> dict[tuple[str, str], Object]:
        store, namespace = self._cluster.store, self._cluster.namespace
        with store.changed:
            return {(namespace, name): copy.deepcopy(p) for name, p in store.of("pods").items()}

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Object]:
        cluster, name = self._cluster, path.rpartition("/")[2]
        with cluster.store.changed:
            if name == "events":
                meta = body["metadata"]
                meta["name"] = meta.pop("generateName") + str(cluster.store.version)
                return 201, cluster.store.create("events", body)
            if method == "DELETE":
                found = cluster.store.of("pods").get(name)
                if found:
                    cluster.node.deleted("pods", found)
                return 200, {}
            if cluster.node.trouble == QUOTA:
                return 403, {"message": "exceeded quota: builds", "reason": "Forbidden"}
            return self._create(copy.deepcopy(body))

    def _create(self, pod: Object) -> tuple[int, Object]:
        pod["status"] = {"phase": "Pending"}
        pod["spec"]["containers"][0]["command"] = ENTRYPOINT  # which the node finds in the image
        try:
            made = self._cluster.store.create("pods", pod)
        except Refusal as refusal:
            return 409, refusal.status
        self._cluster.node.made += 1
        self._cluster.node.begin(made)
        return 201, made

"""A namespace of a real cluster in which pods play what the plan says, as the engines' tests want it."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

from koji_containerbuild.config.cluster import ClusterConfig
from koji_containerbuild.devstack.cluster import access, buildroot_image
from tests.cluster.containers import processes, show
from tests.cluster.pods import Pods
from tests.fakes import buildroot_program

PROGRAM = ("python3", "-c", Path(buildroot_program.__file__).read_text())


class KubernetesSite:
    """`folder`: a file `go` that a test makes there is seen in the containers, too."""

    def __init__(self, pods: Pods, folder: Path) -> None:
        self.pods = pods
        self._ended = threading.Event()
        show(folder / "go", pods, self._ended)

    def config(self, **keys: Any) -> ClusterConfig:
        cluster = self.pods.cluster
        given = {
            "url": cluster.url, "ca_file": str(cluster.ca_file),
            "token_file": str(access.admin_token_file(cluster.places)),
            "namespace": self.pods.namespace, "arches": ("x86_64", "aarch64"),
            "image": buildroot_image.NAME, "pull_policy": "Never", "cpu": "20m", "memory": "64Mi",
        }  # fmt: skip
        return ClusterConfig(**{**given, **keys})

    def pod_of(self, arch: str) -> Any:
        """The newest one."""
        select = {"labelSelector": f"koji-containerbuild/arch={arch}"}
        found = self.pods.cluster.api.call("GET", self.pods.path, params=select)["items"]
        return max(found, key=lambda pod: pod["metadata"]["creationTimestamp"])

    def kill(self, arch: str) -> None:
        """Its processes, without a word."""
        for process, _ in processes(self.pods):
            os.kill(process, signal.SIGKILL)

    def delete_pod(self, arch: str) -> None:
        name = self.pod_of(arch)["metadata"]["name"]
        self.pods.cluster.api.call("DELETE", f"{self.pods.path}/{name}")

    def close(self) -> None:
        self._ended.set()

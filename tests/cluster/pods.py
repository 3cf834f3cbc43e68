"""Pods and Jobs of a test: made, waited for, and gone at its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from koji_containerbuild.devstack.cluster.cluster import Cluster
from koji_containerbuild.devstack.cluster.images import TEST_IMAGE
from koji_containerbuild.devstack.cluster.rest import Refused

SECONDS = 60.0
Object = Mapping[str, Any]


def until(what: str, found: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """The first answer that is not empty."""
    deadline = time.monotonic() + seconds
    while not (answer := found()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.1)
    return answer


def script(text: str, image: str = TEST_IMAGE, **more: Any) -> dict[str, Any]:
    """A pod's spec that runs a script once."""
    container = {"name": "main", "image": image, "command": ["sh", "-c", text]}
    return {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
        **more,
    }


class Pods:
    """What a test made in one namespace of its own."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.path = f"/api/v1/namespaces/{namespace}/pods"
        self.jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"
        cluster.api.call("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        account = f"/api/v1/namespaces/{namespace}/serviceaccounts/default"
        # Without its token, which comes later, a pod would be refused.
        until("its service account", lambda: (self._get(account) or {}).get("secrets"))

    def run(self, name: str, spec: Object) -> None:
        """Start a pod."""
        self.cluster.api.call("POST", self.path, {"metadata": {"name": name}, "spec": spec})

    def get(self, name: str) -> Any:
        """The pod, or None."""
        return self._get(f"{self.path}/{name}")

    def ended(self, name: str, seconds: float = SECONDS) -> Any:
        """How its container ended: exitCode, reason, message."""

        def terminated() -> Any:
            statuses = (self.get(name) or {}).get("status", {}).get("containerStatuses", [{}])
            return statuses[0].get("state", {}).get("terminated")

        return until(f"pod {name} has ended", terminated, seconds)

    def running(self, name: str) -> Any:
        """Wait until it is."""
        return until(
            f"pod {name} runs", lambda: (self.get(name) or {})["status"].get("phase") == "Running"
        )

    def log(self, name: str) -> bytes:
        """What it wrote so far."""
        return self.cluster.api.text(f"{self.path}/{name}/log")

    def remove(self) -> None:
        """The namespace, with all that is in it."""
        self.cluster.api.call("DELETE", f"/api/v1/namespaces/{self.namespace}")

    def _get(self, path: str) -> Any:
        try:
            return self.cluster.api.call("GET", path)
        except Refused as error:
            if error.code != 404:
                raise
        return None

"""The objects of fedora-infra/kubernetes in a real cluster, as an administrator would make them."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import yaml

from koji_containerbuild.config.cluster import ClusterConfig
from koji_containerbuild.devstack.cluster import objects
from koji_containerbuild.devstack.cluster.cluster import Cluster
from koji_containerbuild.devstack.cluster.rest import Refused
from tests.cluster.pods import until

INFRA = Path(__file__).parents[2] / "fedora-infra"
NAMESPACE = "koji-containerbuild"


def read(file: str) -> list[dict[str, Any]]:
    """The objects in a file."""
    return list(yaml.safe_load_all((INFRA / file).read_text()))


def apply(cluster: Cluster, *files: str) -> None:
    """kubectl apply --server-side --force-conflicts"""
    for file in files:
        for found in read(file):
            objects.apply(cluster.api, found)


def apply_all(cluster: Cluster) -> None:
    """In the order of the README."""
    files = sorted((INFRA / "kubernetes").glob("*.yaml"))
    apply(cluster, *(f"kubernetes/{path.name}" for path in files))
    apply(cluster, "kubernetes/registry-secret.yaml.example")


def apply_all_of_openshift(cluster: Cluster) -> None:
    """The same for an OpenShift."""
    common = ("10-namespace", "20-accounts", "40-limits", "50-network-policy")
    apply(cluster, *(f"kubernetes/{name}.yaml" for name in common))
    files = sorted((INFRA / "openshift").glob("*.yaml"))
    apply(cluster, *(f"openshift/{path.name}" for path in files))
    apply(cluster, "kubernetes/registry-secret.yaml.example")


def token(cluster: Cluster) -> str:
    """What the README has the admin put on the builder."""
    path = f"/api/v1/namespaces/{NAMESPACE}/secrets/koji-builder-token"
    found = until("the token", lambda: cluster.api.call("GET", path).get("data"))
    return base64.b64decode(found["token"]).decode()


def section(cluster: Cluster, folder: Path, **more: Any) -> ClusterConfig:
    """[cluster NAME] of a builder that has that token."""
    path = folder / "token"
    path.write_text(token(cluster))
    path.chmod(0o600)
    named: dict[str, Any] = {
        "url": cluster.url, "ca_file": str(cluster.ca_file), "token_file": str(path),
        "namespace": NAMESPACE, "arches": ("x86_64",), "service_account": "buildroot",
        "registry_secret": "registry", "config_map": "buildroot-config",
    }  # fmt: skip
    return ClusterConfig(**{**named, **more})


def forget(cluster: Cluster) -> None:
    """The namespace, with all that is in it."""

    def gone() -> bool:
        try:
            cluster.api.call("DELETE", f"/api/v1/namespaces/{NAMESPACE}")
        except Refused as error:
            if error.code == 404:
                return True
            assert error.code == 409, error
        return False

    until("the namespace is gone", gone)

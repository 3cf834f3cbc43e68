"""A Koji whose images are built in the cluster: what an admin does by fedora-infra's README.

site = KojiSite(Stack(), Cluster())
site.up("kubernetes")           # from now on the stack's builder has engine = clusters
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from koji_containerbuild.devstack.cluster import buildroot_image, objects, openshift_part
from koji_containerbuild.devstack.cluster.cluster import Cluster
from koji_containerbuild.devstack.kojid import clusters_conf
from koji_containerbuild.devstack.places import find_places
from koji_containerbuild.devstack.stack import Stack
from koji_containerbuild.devstack.up import timed
from koji_containerbuild.errors import ServiceError

NAMESPACE = "koji-demo"
WRITTEN = "koji-containerbuild"  # the namespace in fedora-infra
EXAMPLE_IMAGE = "registry.example.com/koji-containerbuild/buildroot:0.1.0"
PASSWORD = "what-a-run-step-must-never-see"  # noqa: S105  this registry asks for none
ENGINES = ("kubernetes", "openshift")
CLUSTER = "demo"
TOKEN_SECONDS = 20.0


def koji_beside(cluster: Cluster) -> Stack:
    """The devstack that pods of this cluster reach; its state is beside the cluster's."""
    state = cluster.places.state
    return Stack(find_places(str(state.with_name(f"{state.name}-koji"))))


@dataclass(frozen=True)
class KojiSite:
    """A stack and a cluster that know each other."""

    stack: Stack
    cluster: Cluster

    def up(self, engine: str, *, say: Callable[[str], None] = lambda line: None) -> None:
        """Have both running, and the stack's builds in the cluster. `engine`: one of ENGINES."""
        self.cluster.up(say=say)
        if engine == "openshift":
            with timed("EMULATION of OpenShift", say):
                openshift_part.start(self.cluster)
        with timed("image of the buildroot", say):
            image = buildroot_image.provide(self.cluster.places)
            self.cluster.import_image(image)
        self.stack.up(say=say, host=self.cluster.node_ip)
        with timed("objects in the cluster", say):
            self._apply(engine)
        self.configure(engine)
        with timed("kojid, for the cluster", say):
            self.stack.up()

    def configure(self, engine: str, **more: str) -> None:
        """The builder's section for the cluster; `more`: keys that are added or replaced."""
        keys = {
            "engine": engine,
            "url": self.cluster.url,
            "ca_file": str(self.cluster.ca_file),
            "token_file": str(self._token_file()),
            "namespace": NAMESPACE,
            "arches": "x86_64",
            **_KEYS[engine],
            **more,
        }
        lines = "\n".join(f"{key} = {value}" for key, value in keys.items())
        clusters_conf(self.stack.places).write_text(f"[cluster {CLUSTER}]\n{lines}\n")

    def leave(self) -> None:
        """The stack builds on this machine again, from its next `up` on."""
        clusters_conf(self.stack.places).unlink(missing_ok=True)

    @property
    def path(self) -> str:
        """Of pods and the like in the API."""
        return f"/api/v1/namespaces/{NAMESPACE}"

    def _token_file(self) -> Path:
        return self.stack.places.state / "cluster.token"

    def _apply(self, engine: str) -> None:
        """`kubectl apply` of what fedora-infra has, for our namespace and our registry."""
        infra = self.stack.places.repo / "fedora-infra"
        registry = self.stack.addresses.registry
        files = sorted((infra / "kubernetes").glob("*.yaml"))
        if engine == "openshift":
            files += sorted((infra / "openshift").glob("*.yaml"))
        for found in [*_objects(files), _password(registry)]:
            objects.apply(self.cluster.api, _ours(found, registry))
        self._token_file().touch(mode=0o600)
        self._token_file().write_text(self._token())

    def _token(self) -> str:
        """Of the Secret that a controller fills in."""
        deadline = time.monotonic() + TOKEN_SECONDS
        while time.monotonic() < deadline:
            found = self.cluster.api.call("GET", f"{self.path}/secrets/koji-builder-token")
            if "token" in (found.get("data") or {}):
                return base64.b64decode(found["data"]["token"]).decode()
            time.sleep(0.1)
        raise ServiceError("The cluster gives the service account koji-builder no token.")


_KEYS: Mapping[str, Mapping[str, str]] = {
    "kubernetes": {
        "image": buildroot_image.NAME,
        "pull_policy": "Never",
        "service_account": "buildroot",
        "registry_secret": "registry",
        "config_map": "buildroot-config",
        "cpu": "50m",
        "memory": "64Mi",
    },
    "openshift": {"build_config": "koji-containerbuild-{arch}"},
}


def _objects(files: list[Path]) -> Iterator[dict[str, Any]]:
    for file in files:
        yield from yaml.safe_load_all(file.read_text())


def _ours(found: Mapping[str, Any], registry: str) -> dict[str, Any]:
    """With our namespace, our registry and a buildroot image that the node has."""
    text = json.dumps(found)
    text = text.replace(f'"namespace": "{WRITTEN}"', f'"namespace": "{NAMESPACE}"')
    text = text.replace(
        "registry.example.com/koji-containerbuild/buildroot:0.1.0", buildroot_image.NAME
    )
    text = text.replace("url = registry.example.com", f"url = {registry}\\ninsecure = true")
    text = text.replace("registry.example.com", registry).replace("images.example.org", registry)
    ours: dict[str, Any] = json.loads(text)
    if ours["kind"] == "Namespace":
        ours["metadata"]["name"] = NAMESPACE
    return ours


def _password(registry: str) -> dict[str, Any]:
    auth = base64.b64encode(f"builder:{PASSWORD}".encode()).decode()
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/dockerconfigjson",
        "metadata": {"name": "registry", "namespace": NAMESPACE},
        "stringData": {".dockerconfigjson": json.dumps({"auths": {registry: {"auth": auth}}})},
    }

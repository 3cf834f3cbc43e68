"""One section [cluster NAME] that is looked at, and how its lines are worded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from koji_containerbuild.check.fact import Fact, not_tried, wrong
from koji_containerbuild.config.cluster import ClusterConfig
from koji_containerbuild.engines.api import Api, ApiError
from koji_containerbuild.engines.objects import GO_ARCH

PATIENCE = 15.0  # seconds for an answer
_CLIENTS = {"kubernetes": "kubectl", "openshift": "oc"}
# OpenShift takes these from the folder for Kubernetes.
_SHARED = ("10-namespace.yaml", "20-accounts.yaml", "40-limits.yaml")


@dataclass(frozen=True)
class Section:
    """A builder has no credential of an admin, nor the manifests: so each command says whose."""

    name: str
    cluster: ClusterConfig

    def of(self, text: str) -> str:
        """What a line is about."""
        return f"cluster {self.name}: {text}"

    @property
    def client(self) -> str:
        """The program of an admin."""
        return _CLIENTS[self.cluster.engine]

    def command(self, words: str) -> str:
        """In the namespace."""
        return f"{self.client} -n {self.cluster.namespace} {words}"

    def apply(self, file: str) -> str:
        """What mends an object: the file of fedora-infra that has it."""
        folder = "kubernetes" if file in _SHARED else self.cluster.engine
        path = f"fedora-infra/{folder}/{file}"
        return f"As an admin, in the source tree: {self.client} apply -f {path}"

    def hidden(self, what: str, words: str) -> Fact:
        """What the builder may not look at, and the command of those who may."""
        return not_tried(what, f"The builder may not look. As an admin: {words}")

    def seen(
        self, api: Api, what: str, kind: str, name: str, mend: str
    ) -> Mapping[str, Any] | Fact:
        """An object of the namespace, or what became of the question."""
        try:
            return api.call("GET", api.path("v1", kind, name), patience=PATIENCE)
        except ApiError as error:
            if error.status == 403:
                return self.hidden(what, self.command(f"get {kind} {name}"))
            return wrong(what, error.what, mend)


def node_arch(arch: str) -> str:
    """What nodes are called that build for an arch, as the engine asks for them.

    >>> node_arch("x86_64"), node_arch("i686"), node_arch("s390x")
    ('amd64', 'amd64', 's390x')
    """
    return GO_ARCH.get(arch, arch)

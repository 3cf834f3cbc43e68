"""The emulation of OpenShift's builds on a real cluster, set up with the objects of fedora-infra.

Pods run the real image of the buildroot with its own command. Where a test wants the stand-in of
tests/fakes/buildroot_program.py, a Secret brings that into the image, as BuildConfigs can.
"""

from __future__ import annotations

import base64
import os
import signal
import threading
from pathlib import Path
from typing import Any

import yaml

from koji_containerbuild.config.cluster import ClusterConfig
from koji_containerbuild.devstack.cluster import buildroot_image, openshift_part
from koji_containerbuild.devstack.cluster.cluster import Cluster
from tests.cluster.containers import processes, show
from tests.cluster.pods import Pods
from tests.engines.openshift_schema import check
from tests.fakes import buildroot_program

INFRA = Path(__file__).parents[2] / "fedora-infra" / "openshift"
PROGRAM = "/opt/koji-containerbuild/code/koji_containerbuild/buildroot"  # of the image


class OpenShiftSite:
    """A namespace with a builder's account, and a BuildConfig for each of two arches."""

    def __init__(self, pods: Pods, folder: Path) -> None:
        self.pods = pods
        self._folder = folder
        self._ended = threading.Event()
        self._api = pods.cluster.api
        openshift_part.start(pods.cluster)
        for name in ("30-role.yaml",):
            for found in yaml.safe_load_all((INFRA / name).read_text()):
                self._make_rule(found)
        self._call("serviceaccounts", {"metadata": {"name": "buildroot"},
                                       "automountServiceAccountToken": False})  # fmt: skip

    # -- as an admin sets it up

    def _call(self, kind: str, body: Any, group: str = "api/v1") -> Any:
        return self._api.call("POST", f"/{group}/namespaces/{self.pods.namespace}/{kind}", body)

    def _make_rule(self, found: Any) -> None:
        found["metadata"]["namespace"] = self.pods.namespace
        for subject in found.get("subjects", ()):
            subject["namespace"] = self.pods.namespace
        kind = f"{found['kind'].lower()}s"
        self._call(kind, found, "apis/rbac.authorization.k8s.io/v1")

    def secret(self, name: str, **files: str) -> None:
        data = {key: base64.b64encode(text.encode()).decode() for key, text in files.items()}
        self._call("secrets", {"metadata": {"name": name}, "data": data})

    def configs(self, env: dict[str, str], **mounts: str) -> None:
        """Those of fedora-infra; both for this machine's arch, with other Secrets."""
        for config in yaml.safe_load_all((INFRA / "70-buildconfigs.yaml").read_text()):
            check(config)
            config["metadata"]["namespace"] = self.pods.namespace
            spec, custom = config["spec"], config["spec"]["strategy"]["customStrategy"]
            spec["nodeSelector"]["kubernetes.io/arch"] = "amd64"
            spec["resources"] = {"requests": {"cpu": "20m", "memory": "64Mi"}}
            custom["from"]["name"] = buildroot_image.NAME
            del custom["pullSecret"]
            custom["env"] = [{"name": name, "value": value} for name, value in env.items()]
            custom["secrets"] = [
                {"secretSource": {"name": name}, "mountPath": path} for name, path in mounts.items()
            ]
            self._call("buildconfigs", config, "apis/build.openshift.io/v1")

    def stand_in(self) -> None:
        """Pods play what the plan says."""
        program = Path(buildroot_program.__file__).read_text()
        self.secret("stand", **{"__init__.py": "", "__main__.py": program})
        self.configs({}, stand=PROGRAM)
        show(self._folder / "go", self.pods, self._ended)

    def config(self, **keys: Any) -> ClusterConfig:
        """The section of builder.conf, with the account that the Role is for."""
        cluster = self.pods.cluster
        token = self._folder / "token"
        token.write_text(cluster.service_account_token(self.pods.namespace, "koji-builder"))
        given = {
            "engine": "openshift", "url": cluster.url, "ca_file": str(cluster.ca_file),
            "token_file": str(token), "namespace": self.pods.namespace,
            "arches": ("x86_64", "aarch64"),
        }  # fmt: skip
        return ClusterConfig(**{**given, **keys})

    # -- what happens to pods

    def kill(self, arch: str) -> None:
        """Its processes, without a word."""
        for process, environment in processes(self.pods):
            if f"PLAN_ARCH={arch}".encode() in environment:
                os.kill(process, signal.SIGKILL)

    def remove(self) -> None:
        self._ended.set()
        root = f"/apis/build.openshift.io/v1/namespaces/{self.pods.namespace}"
        for kind in ("builds", "buildconfigs"):
            for each in self._api.call("GET", f"{root}/{kind}")["items"]:
                self._api.call("DELETE", f"{root}/{kind}/{each['metadata']['name']}")


def give_image(cluster: Cluster) -> None:
    """The node has the image of the buildroot."""
    cluster.import_image(buildroot_image.provide(cluster.places))

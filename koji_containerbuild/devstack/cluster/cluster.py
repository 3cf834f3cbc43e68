"""The cluster as a thing in your hand.

cluster = Cluster()
cluster.up()
cluster.import_image(Path("buildroot.tar"))
cluster.api.call("POST", "/api/v1/namespaces/default/pods", {...})
cluster.stop("kube-apiserver", signal.SIGKILL)
cluster.start("kube-apiserver")
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from koji_containerbuild.devstack import machine, state_folder
from koji_containerbuild.devstack.cluster import (
    access,
    binaries,
    control_plane,
    images,
    network,
    node,
)
from koji_containerbuild.devstack.cluster.network import Network
from koji_containerbuild.devstack.cluster.openshift_objects import API_SERVICE
from koji_containerbuild.devstack.cluster.rest import Refused, Rest
from koji_containerbuild.devstack.places import Places, find_places, require_free
from koji_containerbuild.devstack.process import Part, ensure, log_tail, run_program, running, stop
from koji_containerbuild.devstack.stack import PartStatus
from koji_containerbuild.devstack.up import timed
from koji_containerbuild.errors import BadRequest, ConfigError, ServiceError

MARK = ".devstack-cluster"
READY_SECONDS = 120.0
PARTS = (  # in the order they are started
    "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler",
    "node", "containerd", "kubelet",
)  # fmt: skip

OPENSHIFT = "openshift"  # openshift_part starts it, on top of those


def find_cluster_places(state: str | None = None) -> Places:
    """From the command line, else $KCB_CLUSTER_STATE, else ./.state-cluster."""
    return find_places(state or os.environ.get("KCB_CLUSTER_STATE") or ".state-cluster")


class Cluster:
    """One Kubernetes, known by its state folder. Nothing runs until up()."""

    def __init__(self, places: Places | None = None) -> None:
        self.places = places or find_cluster_places()
        self._rest: dict[str, Rest] = {}
        self._imported: set[tuple[Path, int, int]] = set()

    def up(self, *, say: Callable[[str], None] = lambda line: None) -> None:
        """Start what does not run, and wait until the node takes pods. Minutes the first time."""
        machine.check_cluster()
        with state_folder.alone(self.places.state, MARK):
            with timed("programs", say):
                binaries.provide(self.places.cache, say)
            chosen = network.choose(self.places)
            network.add_address(chosen)
            access.admin_kubeconfig(self.places, chosen)
            if not running(self.places.run, "node"):
                node.end(self.places)  # what is left of a node whose mounts nobody holds
            if not running(self.places.run, "kube-apiserver"):
                control_plane.audit_log(self.places).unlink(missing_ok=True)
            begin = datetime.now(timezone.utc).replace(microsecond=0)
            started = False
            for name in PARTS:
                with timed(name, say):
                    started = self._ensure(name)
                    if name == "containerd" and started:
                        self._import_test_images()
            with timed("node is ready", say):
                self._wait_until_ready(begin if started else None)
            if not running(self.places.run, OPENSHIFT):
                self._forget_openshift()

    def down(self) -> None:
        """End all parts and all containers; what the cluster knows stays."""
        self.close()
        if not (self.places.state / MARK).exists():
            return
        with state_folder.alone(self.places.state, MARK):
            self._end()

    def reset(self) -> None:
        """End all parts and delete everything that the cluster knows; the cache stays."""
        state_folder.require_ours(self.places.state, MARK)
        self.close()
        with state_folder.alone(self.places.state, MARK):
            self._end()
            state_folder.delete(self.places.state)
        self._imported.clear()

    def status(self) -> list[PartStatus]:
        """All parts, in the order they are started."""
        found = [(name, running(self.places.run, name)) for name in PARTS]
        return [PartStatus(name, record.pid if record else None) for name, record in found]

    def start(self, name: str) -> None:
        """Have one part running; returns when it is ready."""
        with state_folder.alone(self.places.state, MARK):
            self._ensure(name)

    def stop(self, name: str, how: signal.Signals = signal.SIGTERM) -> None:
        """End one part, and only that: containers go on without their kubelet or containerd.

        With SIGKILL it has no time to say good-bye; the apiserver takes 20 s for that, if anybody
        watches. Ending `node` ends the other two and all pods.
        """
        with state_folder.alone(self.places.state, MARK):
            if name == "node":
                node.end(self.places)
            stop(self.places.run, name, how)

    @property
    def network(self) -> Network:
        """Known after the first up()."""
        found = network.read(self.places)
        if found is None:
            raise ConfigError(
                f"There is no cluster in {self.places.state}.", do="Run `cluster up`."
            )
        return found

    @property
    def node_ip(self) -> str:
        """What pods call this machine: `devstack up --host` of it."""
        return self.network.node_ip

    @property
    def url(self) -> str:
        """The apiserver's, for pods and for this machine."""
        return self.network.url

    @property
    def ca_file(self) -> Path:
        """Whose certificates the apiserver and its users have."""
        return access.authority(self.places)

    @property
    def kubeconfig(self) -> Path:
        """Of the admin, for kubectl and clients that read one."""
        return self.places.state / "kubeconfig"

    @property
    def admin_token(self) -> str:
        """May do everything."""
        return access.admin_token_file(self.places).read_text()

    @property
    def api(self) -> Rest:
        """The admin's."""
        return self.api_of(self.admin_token)

    def api_of(self, token: str) -> Rest:
        """The API as this token's owner sees it."""
        if token not in self._rest:
            self._rest[token] = Rest(self.url, self.ca_file, token)
        return self._rest[token]

    def close(self) -> None:
        """Close connections; the cluster goes on."""
        while self._rest:
            self._rest.popitem()[1].close()

    def service_account_token(self, namespace: str, name: str, seconds: int = 86400) -> str:
        """A token of a service account, which is made if there is none."""
        accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        try:
            self.api.call("POST", accounts, {"metadata": {"name": name}})
        except Refused as error:
            if error.code != 409:
                raise
        asked = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": seconds},
        }
        answer = self.api.call("POST", f"{accounts}/{name}/token", asked)
        return str(answer["status"]["token"])

    def import_image(self, archive: Path) -> None:
        """Give the node the images of an archive of `docker save`, or of an OCI archive.

        That takes seconds: what this object has given it is not given again.
        """
        stat = archive.stat()
        given = (archive, stat.st_mtime_ns, stat.st_size)
        if given not in self._imported:
            words = ["ctr", "-n", "k8s.io", "image", "import", str(archive)]
            run_program([*node.inside(self.places), *words])
            self._imported.add(given)

    def trust_registry(self, host: str) -> None:
        """Let the node pull from HOST:PORT by plain http, from now on."""
        path = node.registries(self.places) / host / "hosts.toml"
        path.parent.mkdir(exist_ok=True)
        # Both lines: without the first, what is not there is asked for by https, too, and that
        # error is the one which is told; without the second the file is refused.
        path.write_text(f'server = "http://{host}"\n[host."http://{host}"]\n')

    def requests(self, user: str = "") -> list[dict[str, Any]]:
        """What was asked of the apiserver and is answered, since it was up first: audit events.

        Those of the cluster's own parts are not there. `user`: only this one's, as in
        `system:serviceaccount:NAMESPACE:NAME`.
        """
        path = control_plane.audit_log(self.places)
        lines = path.read_text().splitlines() if path.exists() else []
        events: list[dict[str, Any]] = [json.loads(line) for line in lines]
        ended = [event for event in events if event["stage"] == "ResponseComplete"]
        return [event for event in ended if user in ("", event["user"]["username"])]

    def _end(self) -> None:
        for name in reversed((*PARTS, OPENSHIFT)):
            if name == "node":
                node.end(self.places)
            stop(self.places.run, name)
        chosen = network.read(self.places)
        if chosen:
            network.remove_address(chosen)

    def _forget_openshift(self) -> None:
        """An API that nobody answers for holds up the end of each namespace."""
        try:
            self.api.call("DELETE", f"/apis/apiregistration.k8s.io/v1/apiservices/{API_SERVICE}")
        except Refused as error:
            if error.code != 404:
                raise

    def _ensure(self, name: str) -> bool:
        listener, port = self._listeners().get(name, ("", 0))
        before = partial(require_free, port, name, listener) if port else _nothing
        return ensure(self._part(name), self.places.run, self.places.log, before=before)

    def _part(self, name: str) -> Part:
        places, net = self.places, self.network
        if name not in PARTS:
            raise BadRequest(f"There is no part {name!r}.", do=f"Parts: {', '.join(PARTS)}.")
        if name == "etcd":
            return control_plane.etcd(places, net)
        if name == "node":
            return node.space(places)
        if name == "containerd":
            return node.containerd(places, net)
        programs = binaries.provide(places.cache, lambda line: None)
        makers = {
            "kube-apiserver": control_plane.apiserver,
            "kube-controller-manager": control_plane.controller_manager,
            "kube-scheduler": control_plane.scheduler,
            "kubelet": node.kubelet,
        }
        return makers[name](places, net, programs)

    def _listeners(self) -> dict[str, tuple[str, int]]:
        net = self.network
        return {
            "etcd": (network.HOST, net.etcd),
            "kube-apiserver": (net.node_ip, net.apiserver),
            "kube-controller-manager": (network.HOST, net.controller_manager),
            "kube-scheduler": (network.HOST, net.scheduler),
            "kubelet": (net.node_ip, net.kubelet),
        }

    def _import_test_images(self) -> None:
        path = self.places.state / "test-images.tar"
        if not path.exists():
            images.write_test_images(path)
            self.import_image(path)

    def _wait_until_ready(self, since: datetime | None) -> None:
        """The node says so itself (since it was started), and pods can have a service account."""
        deadline = time.monotonic() + READY_SECONDS
        while not (self._node_is_ready(since) and self._has_default_account()):
            if time.monotonic() > deadline:
                log = self.places.log / "kubelet.log"
                raise ServiceError(
                    f"The node is not ready after {READY_SECONDS:.0f} s. The end of {log}:\n"
                    + log_tail(log)
                )
            time.sleep(0.1)

    def _node_is_ready(self, since: datetime | None) -> bool:
        try:
            found = self.api.call("GET", f"/api/v1/nodes/{access.NODE}")
        except Refused:
            return False
        for one in found.get("status", {}).get("conditions", ()):
            if one["type"] == "Ready":
                said = datetime.fromisoformat(one["lastHeartbeatTime"].replace("Z", "+00:00"))
                return one["status"] == "True" and (since is None or said >= since)
        return False

    def _has_default_account(self) -> bool:
        try:
            found = self.api.call("GET", "/api/v1/namespaces/default/serviceaccounts/default")
        except Refused:
            return False
        return bool(found.get("secrets"))  # its token, without which no pod is made


def _nothing() -> None:
    """Nothing is to be checked before this part is started."""

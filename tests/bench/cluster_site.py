"""What is measured over a real Kubernetes: a Koji that builds there, and what follows plain pods."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from koji_containerbuild.devstack.cluster.cluster import Cluster, find_cluster_places
from koji_containerbuild.devstack.cluster.site import NAMESPACE, KojiSite, koji_beside
from koji_containerbuild.devstack.places import REPO
from koji_containerbuild.devstack.seed import DEST_TAG
from tests.bench.site import PACKAGE, Site
from tests.cluster.pods import Pods

BUILDER = f"system:serviceaccount:{NAMESPACE}:koji-builder"


@dataclass(frozen=True)
class ClusterSite(Site):
    """A Koji and a cluster that are up; images are built by Kubernetes Jobs."""

    cluster: Cluster

    @property
    def koji(self) -> KojiSite:
        """To configure the builder's section anew."""
        return KojiSite(self.stack, self.cluster)

    def requests(self) -> int:
        """How many the apiserver has had of our builder, and has answered."""
        return len(self.cluster.requests(BUILDER))

    def build_pods(self) -> list[str]:
        """Names of the pods of all builds that run."""
        found = self.cluster.api.call("GET", f"{self.koji.path}/pods")["items"]
        return [one["metadata"]["name"] for one in found]

    @contextmanager
    def pods(self) -> Iterator[Pods]:
        """For pods of the bench's own."""
        made = Pods(self.cluster, f"bench-{secrets.token_hex(4)}")
        try:
            yield made
        finally:
            made.remove()

    @contextmanager
    def followed(
        self, names: Sequence[str], namespace: str = NAMESPACE
    ) -> Iterator[list[subprocess.Popen[bytes]]]:
        """Programs that follow these pods' logs, one for each."""
        with ExitStack() as ends:
            programs = []
            for name in names:
                command = self._follower(namespace, name)
                programs.append(
                    ends.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
                )
                ends.callback(programs[-1].kill)
            yield programs

    def _follower(self, namespace: str, name: str) -> list[str]:
        if follower() == "kubectl":
            config = ["--kubeconfig", str(self.cluster.kubeconfig), "--namespace", namespace]
            return ["kubectl", *config, "logs", "--follow", name]
        header = self.stack.places.state / "bench-header"
        header.touch(mode=0o600)
        header.write_text(f"Authorization: Bearer {self.cluster.admin_token}\n")
        url = f"{self.cluster.url}/api/v1/namespaces/{namespace}/pods/{name}/log?follow=true"
        trust = ["--cacert", str(self.cluster.ca_file), "--header", f"@{header}"]
        return ["curl", "--silent", "--no-buffer", *trust, url]


def follower() -> str:
    """The program that ours is compared with: curl where there is no kubectl."""
    return "kubectl" if shutil.which("kubectl") else "curl"


@contextmanager
def cluster_site(runs: int, quick: bool) -> Iterator[ClusterSite]:
    """In $KCB_CLUSTER_STATE (.state-test-cluster if that is not set), ended unless it ran before."""
    state = os.environ.get("KCB_CLUSTER_STATE") or str(REPO / ".state-test-cluster")
    cluster = Cluster(find_cluster_places(state))
    stack = koji_beside(cluster)
    ran_before = all(one.pid for one in (*cluster.status(), *stack.status()))
    koji = KojiSite(stack, cluster)
    try:
        koji.up("kubernetes")
        stack.admin.add_package(PACKAGE, DEST_TAG)
        yield ClusterSite(stack, runs, quick, cluster)
    finally:
        stack.close()
        if not ran_before:
            koji.leave()
            stack.down()
            cluster.down()
        cluster.close()

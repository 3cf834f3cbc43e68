"""Fixtures for all tests. `stack` is the real Koji, `cluster` a real Kubernetes.

Tests that ask for one of them are marked so.
"""

from __future__ import annotations

import os
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from koji_containerbuild.devstack.places import find_places

if TYPE_CHECKING:
    from koji_containerbuild.devstack.cluster.cluster import Cluster

# No deadline: the machine may be busy. KCB_EXAMPLES=5000 searches longer.
hypothesis.settings.register_profile(
    "ours", deadline=None, max_examples=int(os.environ.get("KCB_EXAMPLES", "40"))
)
hypothesis.settings.load_profile("ours")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Who asks for the devstack is a `stack` test, said or not: a plain run never starts it.

    So with `cluster`. These come last.
    """
    for item in items:
        for name in ("stack", "cluster"):
            if name in getattr(item, "fixturenames", ()):
                item.add_marker(name)
    items.sort(key=lambda item: "cluster" in item.keywords)  # what they need takes time to make


@pytest.fixture(scope="session")
def stack() -> Iterator[object]:
    """A `devstack.stack.Stack` that is up.

    In $KCB_STATE, or .state-test of the repo: builds of the demo are not disturbed. It is ended after the run, unless it ran before.
    """
    from koji_containerbuild.devstack.stack import Stack

    state = os.environ.get("KCB_STATE") or str(
        Path(__file__).resolve().parent.parent / ".state-test"
    )
    the_stack = Stack(find_places(state))
    ran_before = all(part.pid for part in the_stack.status())
    try:
        the_stack.up()
        yield the_stack
    finally:
        the_stack.close()
        if not ran_before:
            the_stack.down()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and certificate for localhost, in one file."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    key, cert = path.with_name("key"), path.with_name("cert")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        + ["-nodes", "-keyout", str(key), "-out", str(cert), "-days", "2", "-subj", "/CN=localhost"]
        + ["-addext", "subjectAltName=DNS:localhost"],
        check=True,
        capture_output=True,
    )
    path.write_bytes(key.read_bytes() + cert.read_bytes())
    return path


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    """Of a server on this machine."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture(scope="session")
def cluster() -> Iterator[object]:
    """A `devstack.cluster.Cluster` that is up; the first time ever it takes minutes.

    In $KCB_CLUSTER_STATE, or .state-test-cluster of the repo: the demo's is not disturbed. It is
    ended after the run, unless it ran before.
    """
    from koji_containerbuild.devstack.cluster.cluster import Cluster, find_cluster_places

    state = os.environ.get("KCB_CLUSTER_STATE") or str(
        Path(__file__).resolve().parent.parent / ".state-test-cluster"
    )
    the_cluster = Cluster(find_cluster_places(state))
    ran_before = all(part.pid for part in the_cluster.status())
    try:
        the_cluster.up()
        yield the_cluster
    finally:
        the_cluster.close()
        if not ran_before:
            the_cluster.down()


@pytest.fixture(scope="session")
def stack_for_pods(cluster: Cluster) -> Iterator[object]:
    """A `Stack` that the pods of `cluster` reach, and whose registry its node pulls from.

    Its state is beside the cluster's: .state-test-cluster-koji.
    """
    from koji_containerbuild.devstack.cluster.site import koji_beside

    the_stack = koji_beside(cluster)
    ran_before = all(part.pid for part in the_stack.status())
    try:
        the_stack.up(host=cluster.node_ip)
        cluster.trust_registry(the_stack.addresses.registry)
        yield the_stack
    finally:
        the_stack.close()
        if not ran_before:
            the_stack.down()

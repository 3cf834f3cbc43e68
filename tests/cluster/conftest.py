"""Fixtures of the tests on the real Kubernetes."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from koji_containerbuild.devstack.cluster import buildroot_image
from koji_containerbuild.devstack.cluster.cluster import Cluster
from koji_containerbuild.devstack.stack import Stack
from tests.cluster import admin
from tests.cluster.forward import forwarded
from tests.cluster.pods import Pods
from tests.cluster.site import Site


@pytest.fixture
def pods(cluster: Cluster) -> Iterator[Pods]:
    """A namespace of the test's own."""
    made = Pods(cluster, f"test-{secrets.token_hex(4)}")
    yield made
    made.remove()


@pytest.fixture(scope="module")
def applied(cluster: Cluster) -> Iterator[Cluster]:
    """A cluster with our objects, as they are in fedora-infra."""
    admin.forget(cluster)  # an earlier run may have been killed
    admin.apply_all(cluster)
    yield cluster
    admin.forget(cluster)


@pytest.fixture(scope="session")
def image(cluster: Cluster) -> str:
    """The node has it."""
    cluster.import_image(buildroot_image.provide(cluster.places))
    return buildroot_image.NAME


@pytest.fixture
def site(cluster: Cluster, stack: Stack, pods: Pods, image: str) -> Iterator[Site]:
    ports = [int(place.rpartition(":")[2].split("/")[0]) for place in (
        stack.addresses.registry, stack.addresses.git, stack.addresses.hub)]  # fmt: skip
    node = cluster.node_ip
    with forwarded(node, ports[0]) as registry, forwarded(node, ports[1]) as git:
        with forwarded(node, ports[2]) as hub:
            yield Site(pods, stack, registry, git, hub)

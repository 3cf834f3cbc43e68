"""Fixtures of the tests on the real Kubernetes."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from koji_containerbuild.devstack.cluster import buildroot_image
from koji_containerbuild.devstack.cluster.cluster import Cluster
from koji_containerbuild.devstack.cluster.site import KojiSite
from koji_containerbuild.devstack.stack import Stack
from tests.cluster import admin
from tests.cluster.pods import Pods
from tests.cluster.site import Site
from tests.stack.builds import Builds
from tests.stack.hanging import Switch, switching


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
def site(stack_for_pods: Stack, pods: Pods, image: str) -> Site:
    return Site(pods, stack_for_pods)


@pytest.fixture(scope="session")
def koji_site(cluster: Cluster, stack_for_pods: Stack) -> Iterator[KojiSite]:
    """A Koji whose images are built in the cluster, by Kubernetes Jobs."""
    made = KojiSite(stack_for_pods, cluster)
    made.up("kubernetes")
    yield made
    made.leave()


@pytest.fixture(scope="session")
def builds(koji_site: KojiSite) -> Builds:
    """Asks for container builds in the cluster."""
    return Builds(koji_site.stack)


@pytest.fixture
def switch(koji_site: KojiSite) -> Iterator[Switch]:
    with switching(koji_site.cluster.node_ip) as it:
        yield it


@pytest.fixture(scope="module")
def engine(request: pytest.FixtureRequest, koji_site: KojiSite) -> str:
    """The site builds with it from now on."""
    koji_site.up(request.param)
    return str(request.param)

"""Fixtures of the engines' tests."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from koji_containerbuild.devstack.cluster.cluster import Cluster
from koji_containerbuild.engines import objects
from tests.cluster.kubernetes_site import KubernetesSite
from tests.cluster.openshift_site import OpenShiftSite, give_image
from tests.cluster.pods import Pods
from tests.fakes.kubernetes import FakeKubernetes
from tests.fakes.openshift import FakeOpenShift


@pytest.fixture
def fake_kubernetes(tmp_path: Path) -> Iterator[FakeKubernetes]:
    """A cluster whose pods are processes of this machine."""
    folder = tmp_path / "pods"
    folder.mkdir()
    cluster = FakeKubernetes(folder)
    yield cluster
    cluster.close()


@pytest.fixture
def fake_openshift(tmp_path: Path) -> Iterator[FakeOpenShift]:
    """The same, with builds of OpenShift and a BuildConfig for each of two arches."""
    folder = tmp_path / "openshift"
    folder.mkdir()
    cluster = FakeOpenShift(folder)
    yield cluster
    cluster.close()


@pytest.fixture(scope="session")
def cluster_with_image(cluster: Cluster) -> Cluster:
    """A real cluster; its node has the image of the buildroot."""
    give_image(cluster)
    return cluster


@pytest.fixture
def real_kubernetes(
    cluster_with_image: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[KubernetesSite]:
    """A real cluster, whose one node is taken for one of each arch; pods play the plan."""
    monkeypatch.setitem(objects.GO_ARCH, "aarch64", "amd64")
    pods = Pods(cluster_with_image, f"test-{secrets.token_hex(4)}")
    site = KubernetesSite(pods, tmp_path)
    yield site
    site.close()
    pods.remove()


@pytest.fixture
def real_openshift(cluster_with_image: Cluster, tmp_path: Path) -> Iterator[OpenShiftSite]:
    """The emulation of OpenShift's builds on a real cluster; pods play what the plan says."""
    pods = Pods(cluster_with_image, f"test-{secrets.token_hex(4)}")
    site = OpenShiftSite(pods, tmp_path)
    site.stand_in()
    yield site
    site.remove()
    pods.remove()

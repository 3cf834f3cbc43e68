"""Fixtures of the tests on the real Kubernetes."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from koji_containerbuild.devstack.cluster.cluster import Cluster
from tests.cluster.pods import Pods


@pytest.fixture
def pods(cluster: Cluster) -> Iterator[Pods]:
    """A namespace of the test's own."""
    made = Pods(cluster, f"test-{secrets.token_hex(4)}")
    yield made
    made.remove()

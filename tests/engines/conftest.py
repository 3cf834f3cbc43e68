"""Fixtures of the engines' tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

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

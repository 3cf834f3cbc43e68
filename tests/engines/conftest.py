"""Fixtures of the engines' tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.kubernetes import FakeKubernetes


@pytest.fixture
def fake_kubernetes(tmp_path: Path) -> Iterator[FakeKubernetes]:
    """A cluster whose pods are processes of this machine."""
    folder = tmp_path / "pods"
    folder.mkdir()
    cluster = FakeKubernetes(folder)
    yield cluster
    cluster.close()

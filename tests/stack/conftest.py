"""Fixtures of the tests on the real Koji; nothing of a build may be left when they are over."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from koji_containerbuild.devstack.stack import Stack
from tests.stack.builds import Builds


@pytest.fixture(scope="session")
def builds(stack: Stack) -> Iterator[Builds]:
    """Asks for container builds."""
    yield Builds(stack)

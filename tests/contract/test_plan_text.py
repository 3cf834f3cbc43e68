"""A plan in an environment variable: it comes back as it was, or it is said what is wrong."""

from __future__ import annotations

import base64
import gzip
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koji_containerbuild.contract.plan_text import (
    LARGEST,
    MOST,
    VARIABLE,
    from_variables,
    to_variable,
)
from koji_containerbuild.errors import BadRequest, ServiceError


@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_a_plan_comes_back_as_it_was(plan: str):
    assert from_variables({"HOME": "/", VARIABLE: to_variable(plan)}).decode() == plan


def incompressible(size: int) -> str:
    return base64.b85encode(random.Random(1).randbytes(size)).decode()


def test_equal_plans_give_the_same_text():
    assert to_variable("{}") == to_variable("{}")


def test_a_plan_that_is_too_large_is_refused_with_both_sizes():
    plan = incompressible(MOST)
    with pytest.raises(BadRequest, match=rf"{len(plan)} bytes, packed \d{{6}}; .* takes {MOST}"):
        to_variable(plan)


def packed(data: bytes) -> dict[str, str]:
    return {VARIABLE: base64.b64encode(data).decode()}


@pytest.mark.parametrize(
    "variables, words",
    [
        ({}, "PLAN is not set"),
        ({"PLAN_ARCH": "x"}, "PLAN is not set"),
        ({"PLAN": "%"}, "PLAN holds no plan"),
        (packed(b"no gzip"), "holds no plan"),
        (packed(gzip.compress(b"{}")[:-3]), "holds no plan"),
        (packed(gzip.compress(b"x" * 1000)[:-9] + b"123456789"), "holds no plan"),
    ],
)
def test_what_is_no_plan_is_said_to_be_none(variables, words: str):
    with pytest.raises(ServiceError, match=words):
        from_variables(variables)


def test_a_plan_that_grows_without_end_does_not_fill_the_memory():
    with pytest.raises(ServiceError, match=f"more than {LARGEST} bytes"):
        from_variables(packed(gzip.compress(bytes(2 * LARGEST), 9)))


@given(st.binary(min_size=1))
def test_no_bytes_are_too_much(data: bytes):
    with pytest.raises(ServiceError):
        from_variables(packed(data))

"""A plan in environment variables: it comes back as it was, or it is said what is wrong."""

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
    PIECE,
    from_variables,
    to_variables,
)
from koji_containerbuild.errors import BadRequest, ServiceError


@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_a_plan_comes_back_as_it_was(plan: str):
    assert from_variables({"HOME": "/", **to_variables(plan)}).decode() == plan


def incompressible(size: int) -> str:
    return base64.b85encode(random.Random(1).randbytes(size)).decode()


def test_a_large_plan_comes_in_pieces_that_linux_takes():
    plan = incompressible(300_000)
    variables = to_variables(plan)
    assert [*variables] == [f"PLAN_{n}" for n in range(len(variables))] and len(variables) > 3
    assert max(map(len, variables.values())) == PIECE < 128 * 1024 - len("PLAN_0=")
    assert from_variables(dict(reversed(variables.items()))).decode() == plan


def test_equal_plans_give_equal_variables():
    assert to_variables("{}") == to_variables("{}")


def test_a_plan_that_is_too_large_is_refused_with_both_sizes():
    plan = incompressible(MOST)
    with pytest.raises(BadRequest, match=rf"{len(plan)} bytes, packed \d{{7}}; .* takes {MOST}"):
        to_variables(plan)


def packed(data: bytes) -> dict[str, str]:
    return {"PLAN_0": base64.b64encode(data).decode()}


@pytest.mark.parametrize(
    "variables, words",
    [
        ({}, "PLAN_0 is not set"),
        ({"PLAN_1": "x"}, "PLAN_0 is not set"),
        ({"PLAN_0": "%"}, "PLAN_0 to PLAN_0 hold no plan"),
        (packed(b"no gzip"), "hold no plan"),
        (packed(gzip.compress(b"{}")[:-3]), "hold no plan"),
        (packed(gzip.compress(b"x" * 1000)[:-9] + b"123456789"), "hold no plan"),
    ],
)
def test_what_is_no_plan_is_said_to_be_none(variables, words: str):
    with pytest.raises(ServiceError, match=words):
        from_variables(variables)


def test_a_piece_that_is_missing_is_noticed():
    variables = dict(to_variables(incompressible(300_000)))
    del variables["PLAN_2"]
    with pytest.raises(ServiceError, match="PLAN_0 to PLAN_1 hold no plan"):
        from_variables(variables)


def test_a_plan_that_grows_without_end_does_not_fill_the_memory():
    with pytest.raises(ServiceError, match=f"more than {LARGEST} bytes"):
        from_variables(packed(gzip.compress(bytes(2 * LARGEST), 9)))


@given(st.binary(min_size=1))
def test_no_bytes_are_too_much(data: bytes):
    with pytest.raises(ServiceError):
        from_variables(packed(data))

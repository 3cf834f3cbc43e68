"""Records to JSON and back: nothing is lost, nothing else is taken."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koji_containerbuild.contract import image, plan
from koji_containerbuild.contract.codec import NotThisRecord, from_json, to_json
from koji_containerbuild.contract.outcome import Failure, Outcome

RECORDS = (plan.BuildPlan, image.ArchImage, Outcome)
SCALARS = st.none() | st.booleans() | st.integers() | st.text()
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
)


def mappings(hint: Any) -> st.SearchStrategy[Any]:
    value = get_args(hint)[1]
    return st.dictionaries(st.text(), SCALARS if value is Any else st.from_type(value), max_size=3)


st.register_type_strategy(Mapping, mappings)
st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))


@dataclass(frozen=True)
class Inner:
    number: float


@dataclass(frozen=True)
class Small:
    text: str
    flag: bool
    count: int
    many: tuple[Inner, ...]
    named: Mapping[str, str]
    perhaps: Optional[Inner] = None


SMALL = Small("é", True, 1, (Inner(0.5),), {"a": "b"}, Inner(2.0))


@pytest.mark.parametrize("kind", RECORDS)
@given(data=st.data())
def test_a_record_that_was_written_is_read_again(kind, data):
    record = data.draw(st.from_type(kind))
    text = to_json(record)
    assert from_json(kind, text) == record
    assert from_json(kind, text.encode()) == record
    assert "\n" not in text


def test_equal_records_give_equal_text():
    one, other = (
        Small("", True, 0, (), {"a": "1", "b": "2"}),
        Small("", True, 0, (), {"b": "2", "a": "1"}),
    )
    assert to_json(one) == to_json(other)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"text": None}, "Small.text is not str"),
        ({"text": 1}, "Small.text is not str"),
        ({"flag": 1}, "Small.flag is not bool"),
        ({"count": True}, "Small.count is not int"),
        ({"count": 1.0}, "Small.count is not int"),
        ({"many": {}}, "Small.many is not a list"),
        ({"many": [{"number": "1"}]}, r"Small.many\[0\].number is not float"),
        ({"many": [1]}, r"Small.many\[0\] is not an object"),
        ({"named": []}, "Small.named is not an object"),
        ({"named": {"a": 1}}, "Small.named.a is not str"),
        ({"perhaps": []}, "Small.perhaps is not an object"),
        ({"other": 1}, "unknown field other"),
    ],
)
def test_a_value_of_another_type_is_refused_and_the_place_named(change, words: str):
    with pytest.raises(NotThisRecord, match=words):
        from_json(Small, json.dumps({**json.loads(to_json(SMALL)), **change}))


def test_a_missing_field_is_named():
    with pytest.raises(NotThisRecord, match="'text'"):
        from_json(Small, "{}")


def test_a_whole_number_is_a_float_too():
    assert from_json(Inner, '{"number": 2}') == Inner(2.0)


@pytest.mark.parametrize("kind", RECORDS)
@given(value=ANYTHING)
def test_other_json_is_refused(kind, value):
    with pytest.raises(NotThisRecord):
        from_json(kind, json.dumps(value))


@given(st.binary() | st.text())
def test_what_is_no_json_is_refused(data):
    with pytest.raises(NotThisRecord):
        from_json(Small, data)


def test_json_that_is_nested_too_deep_is_refused():
    with pytest.raises(NotThisRecord):
        from_json(Small, "[" * 100_000)


WORDS = st.text(st.characters(exclude_categories=("Cs",)), max_size=20) | st.integers(0, 3000).map(
    lambda n: 'é😀\x01"' * n
)


@given(st.builds(Failure, WORDS, WORDS, WORDS, WORDS, WORDS))
def test_an_outcome_always_fits_into_a_pods_last_words(failure: Failure):
    text = Outcome("x86_64", failure=failure).to_json()
    assert len(text.encode()) <= 4096
    kept = Outcome.from_json(text)
    assert kept.failure is not None
    assert failure.cause.startswith(kept.failure.cause) and bool(kept.failure.cause) == bool(
        failure.cause
    )


def test_what_fits_is_not_cut():
    failure = Failure("build", "It broke.", "Mend it.", "RUN x", "line\n" * 100)
    assert Outcome.from_json(Outcome("x86_64", failure=failure).to_json()).failure == failure


def test_the_last_of_the_last_lines_are_kept_longest():
    lines = "\n".join(f"line {n}" for n in range(5000))
    kept = Outcome.from_json(Outcome("x", failure=Failure("b", "c", last_lines=lines)).to_json())
    assert kept.failure and kept.failure.last_lines.endswith("line 4999")
    assert len(kept.to_json().encode()) > 2000


@pytest.mark.parametrize(
    "text",
    [
        '{"arch": "x86_64"}',
        '{"arch": "x86_64", "cancelled": true}',
        '{"arch": "x86_64", "image": "sha256:%s", "report": "../../evil"}' % (64 * "1"),
        '{"arch": "x86_64", "report": "sha256:%s"}' % (64 * "1"),
        '{"arch": "x86_64", "image": "latest", "report": "sha256:%s"}' % (64 * "1"),
        '{"arch": "x86_64", "failure": {"stage": "b", "cause": "c"}, "log": "latest"}',
        '{"arch": "x86_64", "failure": {"stage": "b", "cause": "c"}, "report": "sha256:%s"}'
        % (64 * "1"),
    ],
)
def test_what_is_no_end_of_a_build_is_no_outcome(text):
    """Its digests become names in the registry: without one, that would be the tag `latest`."""
    with pytest.raises(NotThisRecord, match="^Outcome has"):
        Outcome.from_json(text)

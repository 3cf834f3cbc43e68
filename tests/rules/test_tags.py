"""Tags: whatever goes in, a registry takes what comes out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koji_containerbuild.errors import BadRequest
from koji_containerbuild.rules import nvr, tags
from koji_containerbuild.rules.pullspec import TAG

WORDS = st.text(max_size=200)
RANDOM = st.from_regex(r"[a-z2-9]{5}", fullmatch=True)


@given(WORDS, st.integers(0, 4_000_000_000), RANDOM)
def test_a_unique_tag_is_valid_with_the_longest_arch_behind_it(
    target: str, created: int, random: str
):
    tag = tags.unique(target, created, random)
    assert TAG.fullmatch(f"{tag}-aarch64")


@given(st.from_regex(nvr.VERSION, fullmatch=True), st.from_regex(nvr.RELEASE, fullmatch=True))
def test_a_primary_tag_is_valid_or_refused(version: str, release: str):
    try:
        assert TAG.fullmatch(tags.primary(version, release))
    except BadRequest as error:
        assert len(version + release) >= tags.MAX_TAG or version[0] in ".+~^"
        assert "version-release" in error.what


@given(st.lists(WORDS), st.dictionaries(st.sampled_from(["version", "name", "x"]), WORDS))
def test_floating_tags_are_valid_and_different_or_refused(
    wanted: list[str], labels: dict[str, str]
):
    try:
        chosen = tags.floating(wanted, labels)
    except BadRequest:
        return
    assert all(TAG.fullmatch(tag) for tag in chosen)
    assert len(set(chosen)) == len(chosen)


def test_a_tag_of_128_characters_is_taken_and_one_more_is_not():
    assert tags.check_tag("a" * 128, "test")
    with pytest.raises(BadRequest, match="129 characters"):
        tags.check_tag("a" * 129, "test")


def test_a_label_in_a_tag_stands_for_its_value():
    labels = {"version": "1.0~rc1", "com.redhat.component": "web"}
    assert tags.floating(["v{version}", "{com.redhat.component}"], labels) == ("v1.0_rc1", "web")


def test_a_tag_with_a_label_that_is_not_there_names_it():
    with pytest.raises(BadRequest, match="names the label 'vesion'"):
        tags.floating(["{vesion}"], {"version": "1"})


def test_a_label_value_is_not_filled_in_again():
    assert tags.floating(["{a}"], {"a": "{b}", "b": "no"}) == ("_b_",)

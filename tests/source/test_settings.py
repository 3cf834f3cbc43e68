"""container.yaml: a wrong key is named, with the one that was meant."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from koji_containerbuild.errors import BadRequest
from koji_containerbuild.source.settings import IGNORED, NOT_YET, Settings, read

WHOLE = """
platforms:
  only: [x86_64, aarch64]
  not: aarch64
tags: ['latest', '{version}', '43', latest]
buildtime_limit: 7200
"""


def test_everything_that_is_written_is_read():
    assert read(WHOLE) == Settings(
        tags=("latest", "{version}", "43"),
        only=("x86_64", "aarch64"),
        exclude=("aarch64",),
        build_seconds=7200,
    )


@pytest.mark.parametrize(
    "text", ["", "---\n", "# nothing\n", "{}", "platforms:\ntags:\nbuildtime_limit:\n"]
)
def test_a_file_without_settings_is_the_default(text: str):
    assert read(text) == Settings()


@pytest.mark.parametrize(
    "text, words",
    [
        ("tag: [x]", "unknown key 'tag'. Did you mean 'tags'"),
        ("platform: {}", "Did you mean 'platforms'"),
        ("zzz: 1", "The keys are: platforms, tags, buildtime_limit"),
        ("1: 2", "unknown key '1'"),
        ("[1, 2]: x", "container.yaml"),
        ("null: x", "unknown key 'None'"),
        ("- a\n- b", "not a map"),
        ("just text", "not a map"),
        ("a: [", "not YAML.*line"),
        ("a: 1\n\tb: 2", "not YAML"),
        ("!!python/object/apply:os.system [ls]", "not YAML"),
        ("a: \x07", "not YAML"),
        ("tags: latest: x", "not YAML"),
        ("tags: [1.0]", "in quotes"),
        ("tags: [true]", "not a list of texts"),
        ("tags: [['a']]", "not a list of texts"),
        ("tags: ['']", "not a list of texts"),
        ("tags: {a: b}", "not a list of texts"),
        ("platforms: x86_64", "platforms"),
        ("platforms: [x86_64]", "platforms"),
        ("platforms: {onyl: x86_64}", "platforms holds 'onyl'"),
        ("platforms: {1: x, only: y}", "platforms holds '1'"),
        ("platforms: {1: x, a: y}", "platforms holds"),
        ("platforms: {only: 7}", "'platforms.only' is not a list"),
        ("buildtime_limit: '7200'", "not a number of seconds"),
        ("buildtime_limit: 1.5", "not a number of seconds"),
        ("buildtime_limit: -1", "not a number of seconds"),
        ("buildtime_limit: true", "not a number of seconds"),
    ],
)
def test_what_is_wrong_is_said(text: str, words: str):
    with pytest.raises(BadRequest, match=words):
        read(text)


@pytest.mark.parametrize("key", NOT_YET)
def test_a_setting_that_would_change_the_image_is_refused(key: str):
    with pytest.raises(BadRequest, match=f"'{key}' is not supported yet"):
        read(f"{key}: x\n")


@pytest.mark.parametrize("key", IGNORED)
def test_a_setting_without_effect_is_warned_of(key: str):
    assert read(f"{key}: x\n").warnings == (f"container.yaml: '{key}' has no effect any more.",)


def test_aliases_that_stand_for_a_billion_items_take_no_time():
    """An alias is the same object again, so nothing grows; and then it is of the wrong type."""
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60)]
    begun = time.monotonic()
    with pytest.raises(BadRequest) as caught:
        read("\n".join(["version:", *(f"  {line}" for line in lines), "tags: *a59"]))
    assert time.monotonic() - begun < 2
    assert len(str(caught.value)) < 1000


def test_a_file_that_is_nested_without_end_is_refused():
    with pytest.raises(BadRequest):
        read("[" * 5000)


PIECES = st.sampled_from(
    ["tags", "platforms", "only", "not", ": ", "\n", "  ", "- ", "[", "]", "{", "}", "&a ", "*a", "<<",
     "!!", "'", '"', "1", "?", "x", "2026-01-01", "buildtime_limit", "0x", "null", "|", "%", "---"]
)  # fmt: skip


@given(st.text() | st.lists(PIECES, max_size=20).map("".join))
@example("a: 2026-99-99")
@example("tags: &a [*a]")
@example("{[]: x}")
@example("? {a: b}\n: c")
@example("buildtime_limit: 190:20:30")
@example("a: !!int x")
@example("a: !!float ''")
@example("a: !!timestamp x")
@example("a: !!binary é")
@example("\ud800")
def test_any_text_is_read_or_refused(text: str):
    try:
        read(text)
    except BadRequest as error:
        assert "container.yaml" in str(error)

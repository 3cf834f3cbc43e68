"""The table of options: what it lets through, and the words it refuses with."""

from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koji_containerbuild.contract.options import BuildOptions, flags, kind_of, userdata_from_text
from koji_containerbuild.contract.request import BuildRequest
from koji_containerbuild.errors import BadRequest

ASKED = {"git_branch": "f43"}
SOURCE = "git+https://src.example.com/web#" + "a" * 40
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)
NAMES = [f.name for f in fields(BuildOptions)]
USED = [f.name for f in fields(BuildOptions) if not f.metadata.get("not_yet")]


def refused(**options) -> str:
    with pytest.raises(BadRequest) as caught:
        BuildOptions.from_dict({**ASKED, **options})
    return str(caught.value)


def test_what_rpkg_sends_is_accepted():
    sent = {
        "scratch": False,
        "isolated": False,
        "skip_build": False,
        "release": None,
        "koji_parent_build": None,
        "yum_repourls": [],
        "git_branch": "f43",
        "signing_intent": None,
        "compose_ids": [],
        "dependency_replacements": None,
    }
    assert BuildOptions.from_dict(sent) == BuildOptions(git_branch="f43")


@pytest.mark.parametrize("name", [n for n in NAMES if n != "git_branch"])
def test_a_value_that_means_not_given_is_never_refused(name: str):
    kind = next(kind_of(f) for f in fields(BuildOptions) if f.name == name)
    empty = {bool: False, str: None, int: None}.get(kind, {}) if isinstance(kind, type) else None
    assert BuildOptions.from_dict({**ASKED, name: empty}) == BuildOptions(git_branch="f43")


def test_an_empty_text_is_not_given():
    given = {**ASKED, "release": "", "koji_parent_build": "", "arch_override": ""}
    assert BuildOptions.from_dict(given) == BuildOptions(git_branch="f43")


@pytest.mark.parametrize("value", [None, {}, {"git_branch": None}, {"git_branch": ""}])
def test_the_branch_must_be_given(value):
    with pytest.raises(BadRequest, match="git_branch is missing.*--git-branch BRANCH"):
        BuildOptions.from_dict(value)


@pytest.mark.parametrize("text", ["x86_64 aarch64", "x86_64,aarch64", " x86_64,  aarch64 "])
def test_arches_come_with_blanks_or_commas_between(text: str):
    options = BuildOptions.from_dict({**ASKED, "scratch": True, "arch_override": text})
    assert options.arch_override == ("x86_64", "aarch64")
    assert options.to_dict()["arch_override"] == "x86_64 aarch64"


RULES = [
    (
        {"scratch": True, "isolated": True, "release": "1.1"},
        "isolated cannot be combined with scratch",
    ),
    ({"isolated": True}, "isolated needs release"),
    ({"arch_override": "x86_64"}, "arch_override needs scratch or isolated"),
    ({"signing_intent": "release"}, "signing_intent cannot be used"),
    ({"compose_ids": [1]}, "compose_ids cannot be used"),
    ({"flatpak": True}, "flatpak cannot be used"),
    (
        {"dependency_replacements": ["a:b:1"], "scratch": True},
        "dependency_replacements cannot be used",
    ),
    (
        {"operator_csv_modifications_url": "https://x"},
        "operator_csv_modifications_url cannot be used",
    ),
    ({"skip_build": True}, "'skip_build' functionality has been removed"),
    ({"scrach": True}, "Did you mean 'scratch'?"),
    ({"zzz": 1}, "The options are: git_branch, scratch"),
    ({7: 1}, "Unknown option '7'"),
]


@pytest.mark.parametrize("options, words", RULES, ids=[words for _, words in RULES])
def test_a_rule_of_the_table_refuses_in_its_own_words(options, words: str):
    with pytest.raises(BadRequest) as caught:
        BuildOptions.from_dict({**ASKED, **options})
    assert words in str(caught.value)
    assert caught.value.do


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("scratch", "true", "should be true or false"),
        ("scratch", 1, "should be true or false"),
        ("scratch", None, "should be true or false"),
        ("release", 1, "should be a text"),
        ("yum_repourls", "https://r/x.repo", "should be a list"),
        ("yum_repourls", [1], "each item should be a text"),
        ("yum_repourls", [""], "each item should be a text"),
        ("compose_ids", ["1"], "each item should be a number"),
        ("compose_ids", [True], "each item should be a number"),
        ("userdata", [], "should be a map"),
        ("userdata", "x", "should be a map"),
        ("arch_override", 7, "should be a list"),
    ],
)
def test_a_value_of_another_type_is_refused(name: str, value, words: str):
    assert words in refused(**{name: value})


@pytest.mark.parametrize("value", ["scratch", ["scratch"], 7, True])
def test_options_are_a_map(value):
    with pytest.raises(BadRequest, match="not a map"):
        BuildOptions.from_dict(value)


@given(st.dictionaries(st.sampled_from(NAMES) | st.text(), JSON) | JSON)
def test_whatever_comes_is_read_or_refused(value):
    try:
        options = BuildOptions.from_dict(value)
    except BadRequest as error:
        assert error.do
    else:
        assert BuildOptions.from_dict(options.to_dict()) == options


@given(
    st.fixed_dictionaries(
        {"git_branch": st.text(min_size=1)},
        optional={
            "scratch": st.booleans(),
            "release": st.none() | st.just("1.1"),
            "yum_repourls": st.lists(st.text(min_size=1)),
            "userdata": st.dictionaries(st.text(), JSON),
        },
    )
)
def test_options_that_were_sent_on_are_the_same(value):
    options = BuildOptions.from_dict(value)
    assert BuildOptions.from_dict(options.to_dict()) == options
    assert "scratch" not in options.to_dict() or options.scratch


def test_every_option_that_can_be_used_has_a_flag_and_every_one_has_help():
    assert {f.name for f in flags()} >= set(USED) - {"triggered_after_koji_task", "push_url"}
    assert len({f.metadata["flag"] for f in flags()}) == len(flags())
    assert all(f.metadata["help"].endswith(".") for f in fields(BuildOptions))


def test_every_rule_names_options_of_the_table():
    for f in fields(BuildOptions):
        for rule in ("never_with", "only_with", "needs"):
            assert set(f.metadata.get(rule, ())) <= set(NAMES)


@pytest.mark.parametrize(
    "text, words", [("{", "not JSON"), ("[]", "not a JSON object"), ("", "not JSON")]
)
def test_userdata_must_be_a_json_object(text: str, words: str):
    with pytest.raises(BadRequest, match=words):
        userdata_from_text(text)


def test_userdata_is_what_was_written():
    assert userdata_from_text('{"a": [1, null]}') == {"a": [1, None]}


@given(JSON, JSON, JSON)
def test_whatever_is_asked_is_a_request_or_refused(src, target, opts):
    try:
        BuildRequest.read(src, target, opts)
    except BadRequest as error:
        assert error.do


@pytest.mark.parametrize(
    "options, words",
    [
        ({"isolated": True, "release": "3"}, r"like 3\.1"),
        ({"release": "fc43"}, "Begin with a digit"),
    ],
)
def test_the_release_of_a_request_is_checked(options, words: str):
    with pytest.raises(BadRequest, match=words):
        BuildRequest.read(SOURCE, "f43", {**ASKED, **options})

"""What is refused of a request before anybody looks anything up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koji_containerbuild.contract.request import BuildRequest
from koji_containerbuild.errors import BadRequest

COMMIT = "ab" * 20
URL = "git+https://src.example.com/web#"


def read(source: str = URL + COMMIT, **options) -> BuildRequest:
    return BuildRequest.read(source, "f43", {"git_branch": "f43", **options})


@pytest.mark.parametrize(
    "name", ["f43", "feature/x", "rhel-8.2-x_y", "1.0", "a@b", "großes", "x.lockfile"]
)
def test_a_branch_is_accepted(name: str):
    assert read(git_branch=name).options.git_branch == name


@pytest.mark.parametrize(
    "name",
    ["a b", "x*", "-x", "../x", "a/../b", "/x", "x/", "a//b", ".x", "a/.b", "x.", "x.lock", "a~1",
     "x^", "a:b", "x?", "[x]", "a\\b", "x@{1}", "@", "HEAD", "a\nb", "a\x7f", "x" * 251],
)  # fmt: skip
def test_what_is_no_branch_is_refused(name: str):
    with pytest.raises(BadRequest, match="is not the name of a branch. Give the one"):
        read(git_branch=name)


def test_a_full_ref_is_told_what_the_branch_is():
    with pytest.raises(BadRequest) as caught:
        read(git_branch="refs/heads/f43")
    assert "Give the branch alone: --git-branch f43." in str(caught.value)


@given(st.text(min_size=1))
def test_any_text_is_a_branch_or_refused(name: str):
    try:
        assert read(git_branch=name).options.git_branch == name
    except BadRequest:
        return
    assert not name.startswith(("-", "/", ".")) and ".." not in name and " " not in name


def test_a_commit_id_in_capitals_is_the_same_commit():
    source = read(URL + COMMIT.upper()).source
    assert (source.revision, source.names_a_commit) == (COMMIT, True)
    assert read(URL + "Main").source.revision == "Main"


@pytest.mark.parametrize(
    "value, words",
    [
        ({"a": {"b": [1, float("nan")]}}, r"userdata\.a\.b\[1\] is nan"),
        ({"a": float("inf")}, r"userdata\.a is inf"),
        ({"a": 2**63}, r"userdata\.a is a number of more than 64 bits"),
        ({"a": -(2**63) - 1}, "64 bits"),
        ({"a": 10**5000}, "64 bits"),
        ({"a": "\x00"}, r"userdata\.a holds a character that XML cannot hold"),
        ({"a": ["\ud800"]}, r"userdata\.a\[0\] holds a character that XML"),
        ({"a": {"\x01": 1}}, r"A key of userdata\.a is one that XML cannot hold"),
        ({"a": b"x"}, r"userdata\.a is nothing that JSON has a word for"),
        ({"a": {1: 1}}, "A key of userdata"),
        ({"a": "x" * 70_000}, "more than 65536 characters"),
    ],
)
def test_userdata_that_the_database_cannot_hold_is_refused(value: dict, words: str):
    with pytest.raises(BadRequest, match=words):
        read(userdata=value)


def test_userdata_that_is_too_deep_is_refused():
    value: dict = {}
    for _ in range(2000):
        value = {"a": value}
    with pytest.raises(BadRequest, match="more than 20 levels"):
        read(userdata=value)


def test_other_userdata_is_kept():
    value = {"a": [1, -1.5, None, True, {"b": "ä"}], "c": 2**63 - 1}
    assert read(userdata=value).options.userdata == value

"""yum .repo files."""

from __future__ import annotations

import configparser
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koji_containerbuild.errors import BadRequest
from koji_containerbuild.rules import repos


@given(st.text(), st.text())
def test_two_urls_never_give_the_same_file_name(one: str, other: str):
    one, other = "https://r/" + one, "https://r/" + other
    try:
        names = repos.user_repo_name(one), repos.user_repo_name(other)
    except BadRequest:
        return
    assert (names[0] == names[1]) == (one == other)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+\.repo", name) for name in names)


def test_the_repo_of_a_tag_is_a_file_that_yum_reads():
    name, text = repos.koji_repo("https://koji/files", "f43-build", 12)
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(text)
    section = parser["koji-containerbuild-f43-build"]
    assert name == "koji-containerbuild-f43-build.repo"
    assert section["baseurl"] == "https://koji/files/repos/f43-build/12/$basearch"
    assert section.getboolean("enabled") and not section.getboolean("gpgcheck")


@given(st.text())
def test_a_url_is_a_url_or_refused(text: str):
    try:
        assert repos.check_repo_url(text) == text
    except BadRequest:
        pass


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://r/x.repo", "https://", "https://r/a b", "http://r/x\n",
            "x.repo", "http://[::1/x", "http://r:port/x.repo"],
)  # fmt: skip
def test_what_is_no_url_of_a_repo_file_is_refused(url: str):
    with pytest.raises(BadRequest):
        repos.check_repo_url(url)


def test_a_password_in_a_url_is_refused_and_not_repeated():
    with pytest.raises(BadRequest) as caught:
        repos.check_repo_url("https://me:secret@r.example.com/x.repo")
    assert "secret" not in str(caught.value)

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


ALLOWED = ("r.example.com", "Mirrors.example.org")
URL = "https://r.example.com/x.repo"


@pytest.mark.parametrize(
    "text",
    ["[x]\nbaseurl=https://r.example.com/\n",
     "[x]\nbaseurl =\n  http://R.example.com:8080/a,\n  https://mirrors.example.org/b\n",
     "[x]\nmetalink=https://mirrors.example.org/m?repo=f43&arch=$basearch\ngpgkey=file:///etc/k\n"],
)  # fmt: skip
def test_a_repo_file_of_allowed_domains_is_taken(text: str):
    repos.check_domains(URL, text, ALLOWED)
    repos.check_domains("https://other/x.repo", text, ())


@pytest.mark.parametrize(
    "place",
    ["https://evil.example.com/", "https://r.example.com.evil.com/", "https://evil.com:r.example.com/",
     "https://r.example.com@evil.com/", "evil.com/x", "//evil.com/x", "file:///etc", "ftp://r.example.com/",
     "https://evil.com\\@r.example.com/", "https://$releasever/x", "https://r.example.com/, http://evil.com"],
)  # fmt: skip
@pytest.mark.parametrize(
    "key", ["baseurl=", "mirrorlist = ", "metalink:", "baseurl=https://r.example.com/\n "]
)
def test_a_repo_file_that_leads_elsewhere_is_refused(key: str, place: str):
    with pytest.raises(BadRequest, match="not allowed here"):
        repos.check_domains(URL, f"[x]\n{key}{place}\n", ALLOWED)


def test_a_place_that_is_named_twice_is_checked_twice():
    text = "[x]\nbaseurl=http://evil.com/\nbaseurl=https://r.example.com/\n"
    with pytest.raises(BadRequest, match="evil.com"):
        repos.check_domains(URL, text, ALLOWED)


def test_the_url_of_the_file_counts_too():
    with pytest.raises(
        BadRequest, match="is from a host that is not allowed here. Allowed are: r.ex"
    ):
        repos.check_domains("https://evil.com/x.repo", "", ALLOWED)


def test_a_setting_is_in_every_section_and_readable_as_before():
    text = "# top\n[a]\nname=a\n[b]\n proxy = own\n[c]"
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(
        repos.with_setting(text, "proxy", "http://p:1").replace("\n proxy", "\nproxy")
    )
    assert {name: parser[name]["proxy"] for name in parser.sections()} == {
        "a": "http://p:1", "b": "own", "c": "http://p:1",
    }  # fmt: skip
    assert parser["a"]["name"] == "a"


def test_a_password_in_a_url_is_refused_and_not_repeated():
    with pytest.raises(BadRequest) as caught:
        repos.check_repo_url("https://me:secret@r.example.com/x.repo")
    assert "secret" not in str(caught.value)

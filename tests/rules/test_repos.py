"""yum .repo files."""

from __future__ import annotations

import configparser
import re
import time

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


@pytest.mark.parametrize("end", ["\r", "\x0b", "\x0c", "\x85", "\u2028", "\u2029", "\x1c", "\0"])
def test_a_place_behind_a_hidden_line_end_is_refused(end: str):
    text = f"[x]\nbaseurl=https://r.example.com/,{end}http://evil.com/\n"
    for check in (
        lambda: repos.check_domains(URL, text, ALLOWED),
        lambda: repos.check_repo_text(text, URL),
    ):
        with pytest.raises(BadRequest, match="line 2 holds a control character"):
            check()


@pytest.mark.parametrize(
    "line",
    ["proxy=http://evil.com:3128", "proxy=evil.com:3128", "proxy = socks5://r.example.com",
     "gpgkey=https://evil.com/key", "gpgkey=file:///etc/k https://evil.com/key",
     "include=http://evil.com/"],
)  # fmt: skip
def test_whatever_a_build_would_ask_is_held_to_the_domains(line: str):
    text = f"[x]\nbaseurl=https://r.example.com/\n{line}\n"
    repos.check_domains(URL, text, ())
    with pytest.raises(BadRequest, match="not allowed here"):
        repos.check_domains(URL, text, ALLOWED)


def test_a_proxy_that_is_allowed_or_none_is_taken():
    for proxy in ("http://r.example.com:3128", "_none_", ""):
        text = f"[x]\nbaseurl=https://r.example.com/\nproxy={proxy}\n"
        repos.check_domains(URL, text, ALLOWED)


def test_a_file_without_sslverify_could_be_of_anybody():
    for value in ("0", "False", "no", " OFF "):
        text = f"[x]\nbaseurl=https://r.example.com/\nsslverify={value}\n"
        with pytest.raises(BadRequest, match="sslverify off.*Remove sslverify"):
            repos.check_domains(URL, text, ALLOWED)


@pytest.mark.parametrize(
    "text, words",
    [
        ("[x]\nbaseurl=http://a/\nbaseurl=https://b/\n", "the key of line 3 is there twice"),
        ("[x]\nbaseurl=http://a/\n[x]\nbaseurl=http://b/", "the section of line 3 is there twice"),
        ("[x]\n baseurl=http://a/\n", "line 2 is indented"),
        ("baseurl=http://a/\n", "the key of line 1 is in no section"),
        ("<html>\n<body>", "line 1 is no KEY=VALUE"),
        ("[x\n", r"line 1 is no \[section\]"),
        ("[x]\nname=" + "a" * 9000, "line 2 has more than 8192 characters"),
        ("".join(f"[{n}]\nbaseurl=http://a/\n" for n in range(101)), "more than 100 sections"),
    ],
)
def test_what_readers_of_repo_files_read_differently_is_refused(text: str, words: str):
    with pytest.raises(BadRequest, match=words):
        repos.check_repo_text(text, URL)


def test_a_place_behind_what_looks_like_a_comment_counts():
    for hidden in ("  #,http://evil.com/", "  ;http://evil.com/", "\n  http://evil.com/"):
        with pytest.raises(BadRequest, match="not allowed here"):
            repos.check_domains(URL, f"[x]\nbaseurl=https://r.example.com/\n{hidden}\n", ALLOWED)


def test_the_url_of_the_file_counts_too():
    with pytest.raises(
        BadRequest, match="is from a host that is not allowed here. Allowed are: r.ex"
    ):
        repos.check_domains("https://evil.com/x.repo", "", ALLOWED)


def test_a_setting_is_in_every_section_and_readable_as_before():
    text = "# top\n[a]\nname=a\n[b]\nproxy = own\n[c]"
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(repos.with_setting(text, "proxy", "http://p:1"))
    assert {name: parser[name]["proxy"] for name in parser.sections()} == {
        "a": "http://p:1", "b": "own", "c": "http://p:1",
    }  # fmt: skip
    assert parser["a"]["name"] == "a"


def test_a_password_in_a_url_is_refused_and_not_repeated():
    with pytest.raises(BadRequest) as caught:
        repos.check_repo_url("https://me:secret@r.example.com/x.repo")
    assert "secret" not in str(caught.value)


def test_a_file_of_blank_lines_does_not_take_long():
    text = "[a]\nbaseurl=http://a/\n" + " \n" * 300_000 + "x"
    begin = time.monotonic()
    with pytest.raises(BadRequest):
        repos.check_repo_text(text, URL)
    repos.with_setting(text[:-1], "proxy", "http://p:1")
    assert time.monotonic() - begin < 3


@pytest.mark.parametrize(
    "url", ["http://u:secret@[::1", "http://u:secret@h:port/", "http://secret@h/x.repo"]
)
def test_a_url_that_is_none_does_not_tell_its_password(url: str):
    with pytest.raises(BadRequest) as caught:
        repos.check_repo_url(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("char", ["\x1b", "\0", "\x9b", "\u2028", "\ud800", "\x7f"])
def test_a_control_character_in_a_url_is_refused_and_not_repeated(char: str):
    with pytest.raises(BadRequest) as caught:
        repos.check_repo_url(f"http://h/{char}[31m.repo")
    assert char not in str(caught.value)

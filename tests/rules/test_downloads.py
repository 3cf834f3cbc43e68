"""Which URLs and paths a source may name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koji_containerbuild.errors import BadRequest, ConfigError
from koji_containerbuild.rules.downloads import (
    is_allowed,
    lookaside_url,
    path_inside,
    strongest,
    wrong_url,
)

FEDORA = "https://src.example.org/pkgs/{namespace}/{name}/{filename}/{hashtype}/{hash}/{filename}"


@pytest.mark.parametrize(
    "url, places, allowed",
    [
        ("https://example.com/x", ["example.com"], True),
        ("https://EXAMPLE.com/x", ["Example.com"], True),
        ("https://example.com:8443/x", ["example.com"], False),
        ("https://example.com:8443/x", ["example.com:8443"], True),
        ("https://www.example.com/x", ["example.com"], False),
        ("https://example.com/maven/x", ["example.com/maven"], True),
        ("https://example.com/maven/x", ["example.com/maven/"], True),
        ("https://example.com/maven2/x", ["example.com/maven"], False),
        ("https://example.com/maven/../x", ["example.com/maven"], False),
        ("https://example.com/maven/%2E%2e/x", ["example.com/maven"], False),
        ("https://example.com/maven/..%2fsecret/x", ["example.com/maven"], False),
        ("https://example.com/maven/%2e%2e%5csecret", ["example.com/maven"], False),
        ("https://example.com/maven/..\\secret", ["example.com/maven"], False),
        ("https://example.com/maven/%252e%252e%252fsecret", ["example.com/maven"], False),
        ("https://example.com/maven/a%2fb..c", ["example.com/maven"], True),
        ("https://example.com/x", [], False),
        ("https://other.org/example.com/x", ["example.com"], False),
    ],
)
def test_a_url_is_allowed_below_a_place_only(url: str, places: list[str], allowed: bool):
    assert is_allowed(url, places) is allowed


@pytest.mark.parametrize(
    "repository, filename, expected",
    [
        ("container/hello", "a.tar", "container/hello/a.tar/md5/12/a.tar"),
        ("git/container/hello", "a.tar", "container/hello/a.tar/md5/12/a.tar"),
        ("hello", "a.tar", "rpms/hello/a.tar/md5/12/a.tar"),
        ("c/h", "a b?#%.tar", "c/h/a%20b%3F%23%25.tar/md5/12/a%20b%3F%23%25.tar"),
    ],
)
def test_a_lookaside_url_is_made_of_the_repository(repository: str, filename: str, expected: str):
    url = lookaside_url(FEDORA, repository, filename, ("md5", "12"))
    assert url == f"https://src.example.org/pkgs/{expected}"


@pytest.mark.parametrize("template", ["https://x/{nam}", "https://x/{", "https://x/{0}"])
def test_a_template_that_cannot_be_filled_in_is_named(template: str):
    with pytest.raises(ConfigError, match=r"^url in \[lookaside\] is .*It may hold \{namespace\}"):
        lookaside_url(template, "c/h", "a", ("md5", "12"))


def test_the_strongest_checksum_names_a_file():
    assert strongest({"sha1": "", "sha512": "", "md5": ""}) == "sha512"


@given(st.text())
def test_no_path_leads_out(path: str):
    try:
        plain = path_inside(path)
    except BadRequest:
        return
    assert path_inside(plain) == plain
    assert not plain.startswith("/") and not {"", ".", ".."} & set(plain.split("/"))


@given(st.text())
def test_any_text_is_a_url_or_is_not(text: str):
    if wrong_url(text) is None:
        assert text.lower().startswith(("http://", "https://"))
        assert not is_allowed(text, ())


@pytest.mark.parametrize("part", ["a" * 256, "ä" * 128])
def test_a_name_that_no_file_system_takes_is_refused(part: str):
    for path in (part, f"lib/{part}", f"{part}/a.jar"):
        with pytest.raises(BadRequest, match="too long"):
            path_inside(path)
    assert path_inside(f"{'a' * 255}/{'ä' * 127}")

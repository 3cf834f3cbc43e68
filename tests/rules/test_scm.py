"""Source URLs, as Koji reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from koji.daemon import SCM

from koji_containerbuild.errors import BadRequest
from koji_containerbuild.rules.scm import SCHEMES, SourceUrl

COMMIT = "0a" * 20
URLS = st.builds(
    "{}://{}/{}{}#{}".format,
    st.sampled_from(SCHEMES),
    st.sampled_from(["src.example.com", "src.example.com:8080", "me@src.example.com", "[::1]"]),
    st.from_regex(r"[a-z]{1,5}(/[a-z]{1,5}){0,2}(\.git)?", fullmatch=True),
    st.sampled_from(["", "?", "?app", "?app/sub"]),
    st.sampled_from([COMMIT, "main", "v1.0", "origin/f43", "feature/x"]),
)


@given(URLS)
def test_we_and_koji_read_the_same(text: str):
    ours, kojis = SourceUrl.parse(text), SCM(text)
    assert ours.revision == kojis.revision
    assert ours.subfolder == kojis.module
    assert (
        ours.clone_url
        == f"{kojis.scheme.removeprefix('git+')}{kojis.host_with_user}{kojis.repository}"
        if hasattr(kojis, "host_with_user")
        else True
    )
    assert ours.host.startswith(kojis.host.rpartition("@")[2])


@given(st.text())
def test_any_text_is_a_source_url_or_refused(text: str):
    try:
        SourceUrl.parse(text)
    except BadRequest as error:
        assert str(error)


@given(st.text(), st.text(), st.text())
def test_any_url_is_a_source_url_or_refused(host: str, path: str, revision: str):
    test_any_text_is_a_source_url_or_refused.hypothesis.inner_test(
        f"git+https://{host}/{path}#{revision}"
    )


@pytest.mark.parametrize(
    "text",
    [
        "git+https://src.example.com/web",  # no revision
        "git+https://src.example.com/web#",
        "git+https:///web#main",
        "git+https://src.example.com#main",
        "git+https://src.example.com/#main",
        "https://src.example.com/web#main",
        "git+file:///srv/web#main",
        "git+ext://sh/-c#main",
        "git+https://-oProxyCommand=x/web#main",
        "git+ssh://-oProxyCommand=x@host/web#--upload-pack=x",
        "git+https://src.example.com/web#-main",
        "git+https://src.example.com/web#a..b",
        "git+https://src.example.com/web#a b",
        "git+https://src.example.com/web#main\n",
        "git+https://src.example.com/web?../x#main",
        "git+https://src.example.com/web?a/../../x#main",
        "git+https://src.example.com/web?-x#main",
        "git+https://[::1/web#main",
        "git+https://src.example.com:port/web#main",
        "svn://src.example.com/web#1",
    ],
)
def test_what_koji_or_git_would_not_read_is_refused(text: str):
    with pytest.raises(BadRequest):
        SourceUrl.parse(text)


def test_a_password_is_refused_and_not_repeated():
    for text in ("git+https://me:secret@src.example.com/web#main", "https://me:secret@host/web"):
        with pytest.raises(BadRequest) as caught:
            SourceUrl.parse(text)
        assert "secret" not in str(caught.value)


def test_the_record_of_a_source_has_the_commit_and_no_git_plus():
    url = SourceUrl.parse("git+https://src.example.com/container/web?app#main")
    assert url.recorded(COMMIT) == f"https://src.example.com/container/web?app#{COMMIT}"
    assert not url.names_a_commit


@pytest.mark.parametrize("path", [".git", "/.git", ".git/", "/"])
def test_a_repository_without_a_name_is_refused(path: str):
    with pytest.raises(BadRequest, match="names no host or no repository"):
        SourceUrl.parse(f"git+https://h/{path}#main")

"""The two files with artifacts: what is right is read, what is wrong is named with its line."""

from __future__ import annotations

import pytest

from koji_containerbuild.errors import BadRequest
from koji_containerbuild.source.artifacts import ArchiveWish, read_koji, read_urls

MD5, SHA256 = "1" * 32, "a" * 64
GOOD = f"- url: https://x.org/dir/a.jar\n  sha256: {SHA256}\n"


def test_an_artifact_has_the_name_in_its_url_unless_it_has_a_target():
    text = f"{GOOD}- url: https://x.org/b.jar?x=1\n  sha256: {SHA256}\n  target: ./lib//b.jar\n"
    assert [item.target for item in read_urls(text)] == ["a.jar", "lib/b.jar"]


def test_a_checksum_of_digits_alone_stands_in_quotes():
    (item,) = read_urls(f"- url: https://x.org/a\n  md5: '{MD5}'\n")
    assert item.checksums == {"md5": MD5}


def test_a_source_has_a_url_and_checksums_of_its_own():
    (item,) = read_urls(f"{GOOD}  source-url: https://x.org/s.zip\n  source-md5: '{MD5}'\n")
    assert (item.source_url, item.source_checksums) == ("https://x.org/s.zip", {"md5": MD5})
    assert item.checksums == {"sha256": SHA256}


@pytest.mark.parametrize("text", ["", "---\n", "# nothing\n", "null\n", "[]\n"])
def test_an_empty_file_names_nothing(text: str):
    assert read_urls(text) == read_koji(text) == ()


@pytest.mark.parametrize(
    "text, message",
    [
        ("url: https://x.org/a\n", "line 1: this is not a list. Begin each item with '- url: …'."),
        ("- https://x.org/a\n", "line 1: item 1: this is not a map. Write '- url: …'."),
        (
            f"{GOOD}- url: https://x.org/a\n  sha265: {SHA256}\n",
            "line 4: item 2: unknown key 'sha265'. Did you mean 'sha256'?",
        ),
        ("- url: https://x.org/a\n", "line 1: item 1: there is no checksum. "
         "Add sha256, as sha256sum prints it."),
        (f"- sha256: {SHA256}\n", "line 1: item 1: there is no url. Add one."),
        (
            f"- url: https://x.org/a\n  sha256: {MD5}a\n",
            "line 2: item 1: 'sha256' is wrong: sha256 has 64 hex digits, not 33.",
        ),
        ("- url: https://x.org/a\n  md5:\n", "line 2: item 1: 'md5' is empty. "
         "Fill it in, or remove the key."),
        ("- url: [x]\n", "line 1: item 1: 'url' is not a text."),
        (
            f"- url: ftp://x.org/a\n  sha256: {SHA256}\n",
            "line 1: item 1: 'url' cannot be fetched: "
            "it does not begin with https://HOST/ or http://HOST/.",
        ),
        (
            f"- url: https://me:secret@x.org/a\n  sha256: {SHA256}\n",
            "line 1: item 1: 'url' cannot be fetched: "
            "it holds a user name or a password, which everybody could read.",
        ),
        (
            f"{GOOD}  target: ../Dockerfile\n",
            "line 1: item 1: the target is wrong: The path '../Dockerfile' is not that of a file "
            "below the Dockerfile's. Give one.",
        ),
        (
            f"- url: https://x.org/\n  sha256: {SHA256}\n",
            "line 1: item 1: the target is wrong: The path '' is not that of a file "
            "below the Dockerfile's. Give one.",
        ),
        (
            f"{GOOD}  source-url: https://x.org/s\n",
            "line 1: item 1: there is no source-sha256. A source needs its URL and a checksum.",
        ),
        (
            f"{GOOD}  source-md5: '{MD5}'\n",
            "line 1: item 1: there is no source-url. A source needs its URL and a checksum.",
        ),
        (
            f"{GOOD}  url: https://x.org/b\n",
            "line 3: the key 'url', entry 1 is given twice, first in line 1. Keep one of the two.",
        ),
    ],
)  # fmt: skip
def test_a_wrong_url_artifact_is_named_with_its_line(text: str, message: str):
    with pytest.raises(BadRequest) as caught:
        read_urls(text)
    assert str(caught.value) == f"fetch-artifacts-url.yaml, {message}"


def test_a_koji_artifact_names_a_build_and_some_or_all_of_its_files():
    text = "- nvr: a-1-2\n  archives:\n  - filename: '*.jar'\n    group_id: org.x\n- nvr: b-1-1\n"
    first, second = read_koji(text)
    wish = ArchiveWish("fetch-artifacts-koji.yaml, line 3", "*.jar", "org.x")
    assert (first.nvr, first.archives) == ("a-1-2", (wish,))
    assert str(wish) == "filename: *.jar, group_id: org.x"
    assert (second.nvr, second.archives) == ("b-1-1", ())


@pytest.mark.parametrize(
    "text, message",
    [
        ("- archives: []\n", "line 1: item 1: there is no nvr. "
         "Name a Koji build: NAME-VERSION-RELEASE."),
        ("- nvr: a-1-2\n  archive: []\n", "line 2: item 1: unknown key 'archive'. "
         "Did you mean 'archives'?"),
        ("- nvr: a-1-2\n  archives:\n  - {}\n", "line 3: item 1: "
         "there is neither filename nor group_id. Add one of them."),
        ("- nvr: a-1-2\n  archives: x\n", "line 2: 'archives' is not a list. "
         "Begin each item with '- filename: …'."),
        ("- nvr: a-1-2\n  archives:\n  - filname: x\n", "line 3: item 1: unknown key 'filname'. "
         "Did you mean 'filename'?"),
    ],
)  # fmt: skip
def test_a_wrong_koji_artifact_is_named_with_its_line(text: str, message: str):
    with pytest.raises(BadRequest) as caught:
        read_koji(text)
    assert str(caught.value) == f"fetch-artifacts-koji.yaml, {message}"

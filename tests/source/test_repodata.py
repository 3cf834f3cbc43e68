"""The version of an RPM, from repos that are what they should be and from others."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koji_containerbuild.contract.plan import RepoFile
from koji_containerbuild.errors import BadRequest, NotFound, ServiceError
from koji_containerbuild.source import primary_xml, repodata
from koji_containerbuild.source.repodata import version_of
from tests.fakes.file_server import file_server, status
from tests.fakes.yum_repo import PACK, YumRepos, package, serving

X86 = ["x86_64"]


@pytest.fixture
def repos(tmp_path: Path) -> Iterator[YumRepos]:
    with serving(tmp_path) as served:
        yield served


def file(*lines: str, name: str = "a") -> RepoFile:
    return RepoFile(f"{name}.repo", "\n".join([f"[{name}]", *lines, ""]))


def at(repos: YumRepos, path: str = "$basearch", *lines: str) -> RepoFile:
    return file(f"baseurl={repos.url}/{path}", *lines, name=path.strip("$"))


@pytest.mark.parametrize("pack", PACK)
def test_the_version_is_that_of_the_newest_rpm_however_it_is_packed(repos: YumRepos, pack: str):
    repos.add(
        "x86_64",
        package("hugo", "0.9-5"),
        package("hugo", "0.111.3-1.fc43"),
        package("hugo", "0.20-9"),
        package("other", "7-1"),
        pack=pack,
    )
    assert version_of("hugo", [at(repos)], X86, "") == "0.111.3"


@pytest.mark.parametrize(
    "evrs, version",
    [
        (["2.0-1", "1:1.0-1"], "1.0"),
        (["1.0~rc1-1", "1.0-1"], "1.0"),
        (["1.0^git1-1", "1.0-1"], "1.0^git1"),
        (["1.10-1", "1.9-1"], "1.10"),
    ],
)
def test_newest_is_what_rpm_thinks_is_newest(repos: YumRepos, evrs: list[str], version: str):
    for order in (evrs, evrs[::-1]):
        repos.add("x86_64", *(package("hugo", evr) for evr in order))
        assert version_of("hugo", [at(repos)], X86, "") == version


def test_all_enabled_repos_count_and_no_others(repos: YumRepos):
    for number in (1, 3, 5, 9):
        repos.add(str(number), package("hugo", f"{number}-1"))
    files = [at(repos, "1"), at(repos, "3", "enabled=1"), at(repos, "9", "enabled = 0")]
    assert version_of("hugo", files, X86, "") == "3"


def test_rpms_for_another_arch_do_not_count_and_those_for_any_do(repos: YumRepos):
    repos.add("r", package("hugo", "3-1", "aarch64"), package("hugo", "2-1", "i686"))
    with pytest.raises(BadRequest, match="no RPM hugo for x86_64"):
        version_of("hugo", [at(repos, "r")], X86, "")
    repos.add("r", package("hugo", "3-1", "aarch64"), package("hugo", "1-1", "noarch"))
    assert version_of("hugo", [at(repos, "r")], X86, "") == "1"


def test_arches_that_differ_are_named_with_their_versions(repos: YumRepos):
    repos.add("x86_64", package("hugo", "2-1"))
    repos.add("aarch64", package("hugo", "1-1", "aarch64"))
    with pytest.raises(BadRequest, match="2 for x86_64, 1 for aarch64"):
        version_of("hugo", [at(repos)], ["x86_64", "aarch64"], "")
    repos.add("aarch64", package("hugo", "2-7", "aarch64"))
    assert version_of("hugo", [at(repos)], ["x86_64", "aarch64"], "") == "2"


def test_the_basearch_may_be_another_word_than_the_arch(repos: YumRepos):
    repos.add("i386", package("hugo", "2-1", "i686"))
    assert version_of("hugo", [at(repos, "${basearch}")], ["i686"], "") == "2"


def test_an_rpm_that_is_not_there_is_refused_with_names_that_are_like_it(repos: YumRepos):
    repos.add("x86_64", package("hugo", "2-1"), package("bash", "5-1"))
    with pytest.raises(BadRequest) as caught:
        version_of("hgo", [at(repos)], X86, "")
    assert str(caught.value) == (
        "container.yaml: the repos of the build have no RPM hgo for x86_64 "
        "(looked in: basearch). Did you mean hugo?"
    )


def test_a_build_without_repos_has_no_such_rpm():
    with pytest.raises(BadRequest, match="looked in: no repo"):
        version_of("hugo", [], X86, "")


def test_a_mirror_list_is_followed_to_a_mirror_that_answers(repos: YumRepos):
    repos.add("good/x86_64", package("hugo", "2-1"))
    mirrors = f"# mirrors\n{repos.url}/bad/$basearch\n{repos.url}/good/$basearch/\n"
    (repos.folder / "list").write_text(mirrors)
    assert version_of("hugo", [file(f"mirrorlist={repos.url}/list")], X86, "") == "2"


def test_a_bad_line_of_a_mirror_list_is_passed_over(repos: YumRepos):
    repos.add("good/x86_64", package("hugo", "2-1"))
    bad = "http://$weather/\nftp://x/\nhttp://[x/\nhttp://me:pw@x/\n<html>\n"
    (repos.folder / "list").write_text(f"{bad}{repos.url}/good/$basearch/\n")
    assert version_of("hugo", [file(f"mirrorlist={repos.url}/list")], X86, "") == "2"


def test_a_mirror_of_a_user_that_is_not_allowed_is_not_asked(repos: YumRepos):
    repos.add("x86_64", package("hugo", "2-1"))
    other = repos.url.replace("127.0.0.1", "localhost")
    (repos.folder / "list").write_text(f"{other}/$basearch\n")
    lines = file(f"mirrorlist={repos.url}/list")
    assert version_of("hugo", [lines], X86, "", ["127.0.0.1"]) == "2"
    with pytest.raises(ServiceError, match="names no mirror"):
        version_of("hugo", [replace(lines, url="http://u/a.repo")], X86, "", ["127.0.0.1"])


def test_a_server_in_trouble_is_asked_again():
    with file_server() as server:
        server.habits = [status(503), status(500), status(404)]
        with pytest.raises(NotFound):
            version_of("hugo", [file(f"baseurl={server.url}/r")], X86, "")
        assert len(server.asked) == 3


def test_a_build_reads_repos_for_a_limited_time(repos: YumRepos, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(repodata, "SECONDS", -1)
    repos.add("x86_64", package("hugo", "2-1"))
    with pytest.raises(ServiceError, match="took too long"):
        version_of("hugo", [at(repos)], X86, "")


def test_a_password_in_a_repo_is_not_repeated():
    for line in ("baseurl=ftp://me:secret@x/", "baseurl=http://me:secret@127.0.0.1:1/"):
        with pytest.raises((BadRequest, ServiceError)) as caught:
            version_of("hugo", [file(line)], X86, "")
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "line, words",
    [
        ("baseurl=https://x/$releasever/", r"\$releasever.*no variable but \$basearch"),
        ("baseurl=ftp://x/", "Use http or https"),
        ("baseurl=file:///etc", "Use http or https"),
        ("metalink=https://x/", "in place of the metalink"),
    ],
)
def test_a_repo_that_cannot_be_asked_is_refused_in_words(line: str, words: str):
    with pytest.raises(BadRequest, match=rf"the repo a.*{words}"):
        version_of("hugo", [file(line)], X86, "")


def test_a_repo_that_is_not_there_is_named_by_its_url(repos: YumRepos):
    with pytest.raises(NotFound, match=f"{repos.url}/x86_64/repodata/repomd.xml"):
        version_of("hugo", [at(repos)], X86, "")


# -- metadata that is not what it should be

BOMB = '<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><metadata><package>&b;</package></metadata>'
PRIMARY = {
    "an entity bomb": (BOMB.encode(), "primary.xml", "it has a document type"),
    "no XML": (b"<html>", "primary.xml", "it is not XML"),
    "empty": (b"", "primary.xml", "it is not XML"),
    "no gzip": (b"<metadata/>", "primary.xml.gz", "cannot be used"),
    "half a gzip": (PACK[".gz"](b"<metadata/>" * 99)[:30], "primary.xml.gz", "cannot be used"),
    "no xz": (b"<metadata/>", "primary.xml.xz", "cannot be used"),
    "no zstd": (b"<metadata/>", "primary.xml.zst", "cannot be used"),
    "an unknown packer": (b"<metadata/>", "primary.xml.rar", "end in '.rar'"),
    "a place outside": (b"<metadata/>", "../../primary.xml", "outside the repo"),
}  # fmt: skip


@pytest.mark.parametrize("data, name, words", PRIMARY.values(), ids=list(PRIMARY))
def test_metadata_that_is_none_ends_in_words(repos: YumRepos, data: bytes, name: str, words: str):
    repos.write("a/x86_64", data, name)
    with pytest.raises(ServiceError, match=words):
        version_of("hugo", [at(repos, "a/$basearch")], X86, "")


def test_metadata_that_was_changed_on_the_way_is_refused(repos: YumRepos):
    folder = repos.add("x86_64", package("hugo", "2-1"))
    (folder / "primary.xml.gz").write_bytes(PACK[".gz"](b"<metadata/>"))
    with pytest.raises(ServiceError, match="sha256 is not that of repomd.xml"):
        version_of("hugo", [at(repos)], X86, "")


def test_metadata_without_a_good_checksum_is_refused(repos: YumRepos):
    folder = repos.add("x86_64", package("hugo", "2-1"))
    repomd = folder / "repomd.xml"
    repomd.write_text(repomd.read_text().replace('"sha256"', '"md5"'))
    with pytest.raises(ServiceError, match="no sha256"):
        version_of("hugo", [at(repos)], X86, "")


@pytest.mark.parametrize("pack", [".gz", ".zst"])
def test_metadata_that_unpacks_to_too_much_is_refused(
    repos: YumRepos, pack: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(primary_xml, "LARGEST_OPEN", 1_000_000)
    repos.write("x86_64", PACK[pack](b"<metadata>" + b" " * 5_000_000), f"primary.xml{pack}")
    with pytest.raises(ServiceError, match="unpacks to more than"):
        version_of("hugo", [at(repos)], X86, "")


def test_metadata_that_is_too_large_is_not_fetched(
    repos: YumRepos, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(repodata, "LARGEST", 10)
    repos.add("x86_64", package("hugo", "2-1"))
    with pytest.raises(ServiceError, match="is larger than"):
        version_of("hugo", [at(repos)], X86, "")


ENDLESS = {
    "an attribute": b'<metadata><package a="',
    "a comment": b"<metadata><!--",
    "a name": b"<metadata><",
}


@pytest.mark.parametrize("head", ENDLESS.values(), ids=list(ENDLESS))
def test_a_token_without_end_is_refused_before_it_takes_long(head: bytes):
    with pytest.raises(primary_xml.NotMetadata, match="is too long"):
        primary_xml.newest(io.BytesIO(head + b"a" * 16 * 1024**2), "hugo", "x86_64")


def test_names_that_are_too_long_are_not_kept():
    many = "".join(package("x" * size, "1-1") for size in (255, 256, 5000))
    xml = io.BytesIO(f"<metadata>{many}</metadata>".encode())
    assert primary_xml.newest(xml, "hugo", "x86_64").names == {"x" * 255}


def test_only_names_of_a_like_length_are_compared_and_not_all_of_them(
    repos: YumRepos, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(repodata, "LIKE", 2)
    repos.add("x86_64", *(package(name, "1-1") for name in ("aaaa", "bbbb", "hugo", "h" * 200)))
    with pytest.raises(BadRequest, match=r"Did you mean hugo\?"):
        version_of("hgo", [at(repos)], X86, "")


@given(st.binary(max_size=300))
def test_any_bytes_are_repo_metadata_or_refused(data: bytes):
    with pytest.raises(primary_xml.NotMetadata):
        primary_xml.primary_file(data)

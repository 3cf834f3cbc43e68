"""Files that git does not hold come beside the Dockerfile, and nowhere else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from koji_containerbuild.buildroot.stages.fetch_files import fetch_files
from koji_containerbuild.contract.plan import Download, SourceFile
from koji_containerbuild.errors import BadRequest
from koji_containerbuild.source.fetch import FetchLimits
from koji_containerbuild.source.file_cache import FileCache
from tests.fakes.file_server import FileServer, file_server

BODY = b"large"


class Site:
    def __init__(self, server: FileServer, folder: Path) -> None:
        self.server = server
        self.cache = FileCache(folder / "cache", FetchLimits(8, 60, 100), lambda line: None)
        self.tree = folder / "tree"
        self.tree.mkdir()
        server.files["/a"] = BODY

    def fetch(self, path: str) -> None:
        checksums = {"md5": hashlib.md5(BODY).hexdigest()}
        file = SourceFile(path, Download(f"{self.server.url}/a", checksums), "url")
        fetch_files((file,), self.tree, self.cache)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with file_server() as server:
        yield Site(server, tmp_path)


def test_folders_above_a_file_are_made(site: Site):
    site.fetch("artifacts/lib/a.jar")
    assert (site.tree / "artifacts/lib/a.jar").read_bytes() == BODY


def test_a_build_that_changes_its_copy_does_not_reach_the_cache(site: Site):
    site.fetch("a")
    (site.tree / "a").write_bytes(b"changed")
    site.fetch("b")
    assert (site.tree / "b").read_bytes() == BODY


@pytest.mark.parametrize("path", ["/etc/passwd", "../a", "lib/../../a", "", "..", "lib/"])
def test_a_path_that_leads_out_is_refused(site: Site, path: str):
    with pytest.raises(BadRequest, match="is not that of a file below"):
        site.fetch(path)
    assert not site.server.asked


@pytest.mark.parametrize("kind", ["link", "file"])
def test_what_git_brought_in_place_of_a_folder_is_not_followed(
    site: Site, tmp_path: Path, kind: str
):
    (tmp_path / "out").mkdir()
    place = site.tree / "artifacts"
    place.symlink_to(tmp_path / "out") if kind == "link" else place.write_text("x")
    with pytest.raises(BadRequest, match=r"^artifacts/a cannot be put into artifacts, which is no"):
        site.fetch("artifacts/a")
    assert not list((tmp_path / "out").iterdir())


def test_a_link_in_the_commit_is_not_written_through(site: Site, tmp_path: Path):
    (site.tree / "a").symlink_to(tmp_path / "target")
    with pytest.raises(BadRequest, match="in the commit is something else of that name"):
        site.fetch("a")
    assert not (tmp_path / "target").exists()


def test_a_file_of_the_commit_must_be_the_same_file(site: Site):
    (site.tree / "a").write_bytes(BODY)
    site.fetch("a")
    assert not site.server.asked
    (site.tree / "a").write_bytes(b"other")
    with pytest.raises(BadRequest) as caught:
        site.fetch("a")
    assert str(caught.value) == (
        f"a is to be fetched from {site.server.url}/a, and in the commit is something else of "
        "that name. Remove the one or the other."
    )


def test_without_files_nothing_is_made(site: Site, tmp_path: Path):
    fetch_files((), site.tree, site.cache)
    assert not (tmp_path / "cache").exists()


def test_a_build_whose_last_file_cannot_be_had_makes_room_too(site: Site, tmp_path: Path):
    site.cache = FileCache(tmp_path / "cache", FetchLimits(8, 60, 0), lambda line: None)
    checksums = {"md5": hashlib.md5(BODY).hexdigest()}
    files = [
        SourceFile(name, Download(f"{site.server.url}/{name}", sums), "url")
        for name, sums in (("a", checksums), ("none", {"md5": "0" * 32}))
    ]
    with pytest.raises(BadRequest, match="404"):
        fetch_files(files, site.tree, site.cache)
    assert not [path for path in (tmp_path / "cache").iterdir() if path.suffix != ".part"]

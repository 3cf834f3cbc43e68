"""Submodules and Git LFS: said in words, not found out in the image."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from koji_containerbuild.errors import BadRequest
from koji_containerbuild.source.checkout import Checkout, fetch
from koji_containerbuild.source.unfetched import refuse_lfs_pointers, warn_of_submodules
from tests.fakes.git import GitRepo

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 12345\n"


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    return GitRepo(tmp_path / "repo")


def checkout(repo: GitRepo, files: dict[str, str | bytes]) -> Checkout:
    return fetch(repo.url, repo.commit(files), repo.folder.parent / "checkout")


def test_a_warning_names_the_submodules_that_stay_empty(repo: GitRepo):
    text = '[submodule "lib"]\n\tpath = vendor/lib\n\turl = https://example.com/lib\n'
    assert warn_of_submodules(checkout(repo, {".gitmodules": text})) == (
        "Git submodules are not fetched, their folders are empty: vendor/lib.",
    )


def test_a_warning_names_five_submodules_at_most_and_no_control_characters(repo: GitRepo):
    text = "".join(f'[submodule "{n}"]\n\tpath = s{n}\x07\n' for n in range(7))
    (warning,) = warn_of_submodules(checkout(repo, {".gitmodules": text}))
    assert warning.endswith(r": s0\x07, s1\x07, s2\x07, s3\x07, s4\x07 and 2 more.")


def test_a_file_of_blanks_takes_no_time(repo: GitRepo):
    tree = checkout(repo, {".gitmodules": "path=" + " " * 100_000 + "\npath=x\n"})
    begin = time.monotonic()
    (warning,) = warn_of_submodules(tree)
    assert warning.endswith(": x.")
    assert time.monotonic() - begin < 1


def test_a_repository_without_submodules_gives_no_warning(repo: GitRepo):
    assert warn_of_submodules(checkout(repo, {"Dockerfile": "FROM x\n"})) == ()


def test_a_file_in_git_lfs_is_refused_by_name(repo: GitRepo):
    files: dict[str, str | bytes] = {
        ".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n",
        "big.bin": POINTER,
    }
    with pytest.raises(BadRequest) as caught:
        refuse_lfs_pointers(checkout(repo, files), "")
    assert str(caught.value) == (
        "big.bin is in Git LFS, which is not fetched. "
        "Upload large files to the lookaside cache: fedpkg new-sources FILE."
    )


def test_of_several_files_in_git_lfs_the_first_is_named(repo: GitRepo):
    tree = checkout(repo, {"app/z": POINTER, "app/d/y": POINTER})
    with pytest.raises(BadRequest, match=r"^d/y and 1 more are in Git LFS"):
        refuse_lfs_pointers(tree, "app")


def test_a_pointer_outside_the_folder_of_the_dockerfile_does_not_matter(repo: GitRepo):
    refuse_lfs_pointers(checkout(repo, {"big.bin": POINTER, "app/Dockerfile": "x"}), "app")


def test_a_file_that_only_speaks_of_git_lfs_may_be_there(repo: GitRepo):
    about = {"README": f"A pointer looks so:\n{POINTER}", "large": POINTER + "x" * 1024}
    refuse_lfs_pointers(checkout(repo, dict(about)), "")

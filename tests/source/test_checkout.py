"""Checking out one commit, from real git repositories: which are accepted, and what has no effect."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from koji_containerbuild.errors import BadRequest, ServiceError
from koji_containerbuild.source.checkout import Checkout, fetch, fetch_on_branch
from tests.fakes.git import GitRepo, old_server

DOCKERFILE = "FROM fedora\n"


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    repo = GitRepo(tmp_path / "origin")
    repo.commit({"Dockerfile": DOCKERFILE, "app/Dockerfile": "FROM app\n"})
    return repo


@pytest.fixture(params=["new", "old"])
def server(request: pytest.FixtureRequest, repo: GitRepo) -> Iterator[GitRepo]:
    """The repository on a server of today, and on one that gives no commit by its id."""
    if request.param == "new":
        yield repo
        return
    with old_server(repo.folder) as repo.url:
        yield repo


def test_the_tip_of_a_branch_is_checked_out_without_history(server: GitRepo, tmp_path: Path):
    old = server.git("rev-parse", "HEAD")
    tip = server.commit({"Dockerfile": "FROM new\n"})
    checkout = fetch_on_branch(server.url, tip, "main", tmp_path / "into")
    assert checkout.commit == tip
    assert checkout.text("", "Dockerfile") == "FROM new\n"
    assert not (tmp_path / "into" / ".git" / "objects" / old[:2] / old[2:]).exists()


def test_an_older_commit_of_the_branch_is_checked_out(server: GitRepo, tmp_path: Path):
    old = server.git("rev-parse", "HEAD")
    for n in range(3):
        server.commit({"Dockerfile": f"FROM new:{n}\n"})
    checkout = fetch_on_branch(server.url, old, "main", tmp_path / "into")
    assert checkout.text("", "Dockerfile") == DOCKERFILE


def test_a_commit_of_another_branch_is_refused(server: GitRepo, tmp_path: Path):
    server.git("checkout", "-q", "-b", "other")
    other = server.commit({"x": "y"})
    server.git("checkout", "-q", "main")
    server.commit({"z": "y"})
    with pytest.raises(BadRequest, match=f"{other} is not on the branch main"):
        fetch_on_branch(server.url, other, "main", tmp_path / "into")


def test_a_commit_that_is_not_there_is_refused(server: GitRepo, tmp_path: Path):
    with pytest.raises((BadRequest, ServiceError), match="a" * 40):
        fetch_on_branch(server.url, "a" * 40, "main", tmp_path / "into")


def test_a_branch_that_is_not_there_is_named(server: GitRepo, tmp_path: Path):
    tip = server.git("rev-parse", "HEAD")
    with pytest.raises(BadRequest, match="has no branch 'f43'.*--git-branch"):
        fetch_on_branch(server.url, tip, "f43", tmp_path / "into")


def test_a_merged_commit_is_on_the_branch(server: GitRepo, tmp_path: Path):
    server.git("checkout", "-q", "-b", "feature")
    feature = server.commit({"x": "y"})
    server.git("checkout", "-q", "main")
    server.commit({"z": "y"})
    server.git("merge", "-q", "--no-ff", "-m", "merge", "feature")
    assert fetch_on_branch(server.url, feature, "main", tmp_path / "into").commit == feature


@pytest.mark.parametrize("revision", ["main", "origin/main", "v1", "annotated"])
def test_a_branch_or_tag_becomes_the_commit_it_names(
    server: GitRepo, tmp_path: Path, revision: str
):
    tip = server.git("rev-parse", "HEAD")
    server.git("tag", "v1")
    server.git("tag", "-a", "-m", "x", "annotated")
    assert fetch_on_branch(server.url, revision, "main", tmp_path / "into").commit == tip


def test_a_branch_goes_before_a_tag_of_its_name(repo: GitRepo, tmp_path: Path):
    repo.git("tag", "same")
    repo.git("checkout", "-q", "-b", "same")
    tip = repo.commit({"x": "y"})
    assert fetch_on_branch(repo.url, "same", "same", tmp_path / "into").commit == tip


@pytest.mark.parametrize("revision", ["no-such", "abc1234", "HEAD~1"])
def test_a_revision_that_the_server_does_not_name_is_refused(
    repo: GitRepo, tmp_path: Path, revision: str
):
    with pytest.raises(BadRequest, match="Give the full commit id"):
        fetch_on_branch(repo.url, revision, "main", tmp_path / "into")


def test_the_id_of_a_tree_is_no_commit(repo: GitRepo, tmp_path: Path):
    tree = repo.git("rev-parse", "HEAD^{tree}")
    with pytest.raises((BadRequest, ServiceError)):
        fetch_on_branch(repo.url, tree, "main", tmp_path / "into")


def test_a_repository_that_is_not_there_is_said_in_gits_words(tmp_path: Path):
    with pytest.raises(ServiceError, match="git .* failed: .*does not.*exist"):
        fetch_on_branch((tmp_path / "none").as_uri(), "a" * 40, "main", tmp_path / "into")


def test_the_buildroot_gets_the_commit_alone_and_from_a_checkout_too(
    server: GitRepo, tmp_path: Path
):
    old = server.git("rev-parse", "HEAD")
    server.commit({"Dockerfile": "FROM new\n"})
    first = fetch(server.url, old, tmp_path / "first")
    second = fetch(first.root.as_uri(), old, tmp_path / "second")
    assert second.text("", "Dockerfile") == DOCKERFILE


def test_hooks_filters_attributes_and_settings_of_the_source_do_nothing(
    repo: GitRepo, tmp_path: Path
):
    mark = tmp_path / "ran"
    hook = f"#!/bin/sh\ntouch {mark}\n"
    repo.write({".git/hooks/post-checkout": hook, "hooks/post-checkout": hook})
    os.chmod(repo.folder / ".git/hooks/post-checkout", 0o755)
    repo.git("config", "filter.evil.smudge", f"touch {mark}; cat")
    commit = repo.commit(
        {
            ".gitattributes": "*.txt filter=evil eol=crlf\n*.bin filter=lfs\nDockerfile ident\n",
            ".gitconfig": f"[core]\nfsmonitor = touch {mark}\n",
            ".gitmodules": '[submodule "x"]\npath = x\nurl = /nowhere\nupdate = !touch ran\n',
            "a.txt": "text\n",
            "a.bin": "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        }
    )
    mark.unlink(missing_ok=True)
    checkout = fetch_on_branch(repo.url, commit, "main", tmp_path / "into")
    assert not mark.exists()
    assert (checkout.root / "a.bin").read_text().startswith("version https://git-lfs")


def test_files_have_the_modes_that_git_knows_whatever_the_umask(repo: GitRepo, tmp_path: Path):
    repo.write({"run.sh": "#!/bin/sh\n", "data": "x"})
    os.chmod(repo.folder / "run.sh", 0o755)
    commit = repo.commit()
    before = os.umask(0o022)
    try:
        root = fetch(repo.url, commit, tmp_path / "into").root
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((root / name).stat().st_mode) for name in ("run.sh", "data")]
    assert modes == [0o755, 0o644]


@pytest.fixture
def tree(tmp_path: Path) -> Checkout:
    root = tmp_path / "tree"
    (root / "app").mkdir(parents=True)
    (root / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "secret").write_text("secret")
    return Checkout(root, "a" * 40, "https://x")


def test_a_link_within_the_tree_is_followed(tree: Checkout):
    (tree.root / "app" / "Dockerfile").symlink_to("../Dockerfile")
    assert tree.text("app", "Dockerfile") == DOCKERFILE


@pytest.mark.parametrize("target", ["../secret", "/etc/passwd", "Dockerfile2", "app", "nowhere"])
def test_a_link_that_leads_to_no_file_of_the_tree_is_refused(tree: Checkout, target: str):
    (tree.root / "Dockerfile2").symlink_to(target)
    with pytest.raises(BadRequest, match="Dockerfile2 is not a file of the repository"):
        tree.read("", "Dockerfile2")


def test_a_folder_that_leads_out_of_the_tree_is_refused(tree: Checkout):
    (tree.root / "out").symlink_to("..")
    for folder in ("out", "none", "Dockerfile", "..", "/etc"):
        with pytest.raises(BadRequest, match="has no folder"):
            tree.text(folder, "Dockerfile")
        with pytest.raises(BadRequest, match="has no folder"):
            tree.names(folder)


def test_a_pipe_is_not_read(tree: Checkout):
    os.mkfifo(tree.root / "container.yaml")
    with pytest.raises(BadRequest, match="not a file"):
        tree.read("", "container.yaml")


def test_a_file_that_is_too_large_or_no_text_is_refused(tree: Checkout):
    (tree.root / "large").write_bytes(b"x" * (1024 * 1024 + 1))
    (tree.root / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(BadRequest, match="larger than"):
        tree.read("", "large")
    with pytest.raises(BadRequest, match="not UTF-8"):
        tree.read("", "binary")


def test_a_missing_file_is_named_with_its_folder(tree: Checkout):
    assert tree.read("app", "Dockerfile") is None
    with pytest.raises(BadRequest, match="no Dockerfile in the folder app of the source"):
        tree.text("app", "Dockerfile")


@pytest.mark.parametrize("name", ["a" * 300, "b/" + "ä" * 128 + "/c", "a\0b"])
def test_a_folder_that_could_not_be_there_is_not(tree: Checkout, name: str):
    with pytest.raises(BadRequest, match="has no folder"):
        tree.folder(name)

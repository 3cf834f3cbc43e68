"""The worked example: the repository container/hello, as a packager would have it in dist-git."""

from __future__ import annotations

from koji_containerbuild.devstack.git_server import Commit, GitServer
from koji_containerbuild.devstack.places import DATA

NAME = "container/hello"


def commit(git: GitServer) -> Commit:
    """Make the repository, once; its newest commit."""
    folder = DATA / "hello"
    files = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    return git.head(NAME) or git.create(NAME, files)

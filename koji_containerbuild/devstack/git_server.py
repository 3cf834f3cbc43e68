"""Dist-git: bare repositories below one folder, served by `git daemon` as git://.

Koji's SCM class takes git://, git+http://, git+https:// and a few more, never file://; git:// needs
no web server and gives any commit by its SHA.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Union

from koji_containerbuild.devstack.places import Places, Ports, answers
from koji_containerbuild.devstack.process import Part, run_program
from koji_containerbuild.errors import BadRequest

BRANCH = "f43"
WHO = "Pat Packager <packager@example.com>"
WHEN = 1_763_600_000  # commits are the same in every devstack, so their SHAs are, too
SETTINGS = {
    "uploadpack.allowAnySHA1InWant": "true",
    "uploadpack.allowReachableSHA1InWant": "true",
    "uploadpack.allowFilter": "true",
}


@dataclass(frozen=True)
class Link:
    """A symbolic link, as a file of a commit."""

    target: str


Content = Union[str, bytes, Link, None]  # of a file; None: it is removed


@dataclass(frozen=True)
class Commit:
    """One commit, and where to get it."""

    url: str
    sha: str
    branch: str

    @property
    def source(self) -> str:
        """What `koji container-build` takes."""
        return f"{self.url}#{self.sha}"


@dataclass(frozen=True)
class GitServer:
    """Makes repositories and commits without a working tree."""

    folder: Path
    base_url: str

    def create(self, name: str, files: Mapping[str, Content], branch: str = BRANCH) -> Commit:
        """A new repository, say `container/hello`, with one commit."""
        path = self._path(name)
        if path.exists():
            raise BadRequest(f"{path} exists.", do="Use commit(), or another name.")
        path.mkdir(parents=True)
        run_program(["git", "init", "--quiet", "--bare", f"--initial-branch={branch}", str(path)])
        for key, value in SETTINGS.items():
            run_program(["git", "-C", str(path), "config", key, value])
        return self.commit(name, files, branch=branch, message="Begin")

    def commit(
        self,
        name: str,
        files: Mapping[str, Content],
        *,
        branch: str = BRANCH,
        message: str = "Change",
    ) -> Commit:
        """One more commit: these files are new or changed, None removes one.

        A file that begins with `#!` is executable.
        """
        path = self._path(name)
        parent = self.head(name, branch)
        stream = _fast_import(files, branch, message, parent.sha if parent else None)
        run_program(["git", "-C", str(path), "fast-import", "--quiet"], data=stream)
        made = self.head(name, branch)
        assert made is not None  # noqa: S101  fast-import has just succeeded
        return made

    def head(self, name: str, branch: str = BRANCH) -> Commit | None:
        """The newest commit of a branch, or None if the repository or the branch is not there."""
        path = self._path(name)
        if not path.exists():
            return None
        ask = ["git", "-C", str(path), "rev-parse", "--quiet", "--verify", f"refs/heads/{branch}"]
        done = subprocess.run(ask, capture_output=True, text=True, check=False)
        sha = done.stdout.strip()
        return Commit(f"{self.base_url}/{name}.git", sha, branch) if sha else None

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.git"


def part(places: Places, ports: Ports) -> Part:
    """git daemon, for everything below the folder."""
    places.git.mkdir(parents=True, exist_ok=True)
    programs = run_program(["git", "--exec-path"]).strip()
    return Part(
        name="git",
        argv=(
            f"{programs}/git-daemon",  # `git daemon` would be two processes, and we'd know one
            f"--base-path={places.git}",
            "--export-all",
            "--reuseaddr",
            f"--listen={ports.host}",
            f"--port={ports.git}",
            str(places.git),
        ),
        ready=lambda: answers(ports.git, ports.host),
    )


def _fast_import(
    files: Mapping[str, Content], branch: str, message: str, parent: str | None
) -> bytes:
    """A stream as git-fast-import(1) reads it."""
    out = [f"commit refs/heads/{branch}\ncommitter {WHO} {WHEN} +0000\n".encode(), _data(message)]
    if parent:
        out.append(f"from {parent}\n".encode())
    for name, content in files.items():
        if content is None:
            out.append(f"D {name}\n".encode())
            continue
        body = _body(content)
        mode = "100755" if body.startswith(b"#!") else "100644"
        if isinstance(content, Link):
            mode = "120000"
        out += [f"M {mode} inline {name}\n".encode(), _data(body)]
    return b"".join(out)


def _body(content: str | bytes | Link) -> bytes:
    if isinstance(content, Link):
        return content.target.encode()
    return content.encode() if isinstance(content, str) else content


def _data(content: str | bytes | Link) -> bytes:
    body = _body(content)
    return f"data {len(body)}\n".encode() + body + b"\n"

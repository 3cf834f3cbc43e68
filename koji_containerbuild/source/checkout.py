"""One commit of a git repository in a folder, and the files that we read there.

The content is not trusted: no hook, no filter, no submodule and no configuration of the
repository takes effect, and a path that leads out of the tree is refused.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from koji_containerbuild.errors import BadRequest, ServiceError
from koji_containerbuild.rules.downloads import is_too_long
from koji_containerbuild.rules.scm import COMMIT

TIMEOUT = 900  # seconds, for one git command
MAX_FILE = 1024 * 1024  # bytes, of a file that we read ourselves

_SAFE = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.attributesFile=/dev/null",
    "filter.lfs.required=false",
    "filter.lfs.smudge=",
    "filter.lfs.process=",
    "protocol.ext.allow=never",
    "submodule.recurse=false",
    "advice.detachedHead=false",
    "http.lowSpeedLimit=1000",
    "http.lowSpeedTime=60",
    "gc.auto=0",
)


@dataclass(frozen=True)
class Checkout:
    """A work tree at one commit."""

    root: Path
    commit: str
    url: str

    def names(self, subfolder: str) -> frozenset[str]:
        """What is in the folder, of whatever kind. Raises BadRequest for no folder."""
        return frozenset(os.listdir(self.folder(subfolder)))

    def read(self, subfolder: str, name: str) -> Optional[str]:
        """The text of a file, or None if there is none. Raises BadRequest for what is no text."""
        path = self.folder(subfolder) / name
        real = _real(path)
        if not path.is_symlink() and not path.exists():
            return None
        if _real(self.root) not in real.parents or not real.is_file():
            raise BadRequest(f"{name} is not a file of the repository.", do="Commit a plain file.")
        if real.stat().st_size > MAX_FILE:
            raise BadRequest(f"{name} is larger than {MAX_FILE} bytes.")
        try:
            return real.read_bytes().decode()
        except UnicodeDecodeError as error:
            raise BadRequest(f"{name} is not UTF-8: {error}.", do="Save it as UTF-8.") from error

    def text(self, subfolder: str, name: str, like: Sequence[str] = ()) -> str:
        """The text of a file that must be there. Raises BadRequest.

        `like`: names that people give to such a file.
        """
        text = self.read(subfolder, name)
        if text is None:
            where = f"the folder {subfolder} of the source" if subfolder else "the source"
            other = next((n for n in like if n in self.names(subfolder)), "")
            do = f"Rename {other} to {name}." if other else "Commit one and push it."
            raise BadRequest(f"There is no {name} in {where}.", do=do)
        return text

    def folder(self, subfolder: str) -> Path:
        """The folder of the Dockerfile. Raises BadRequest."""
        folder = self.root / subfolder
        if "\0" in subfolder or any(is_too_long(name) for name in subfolder.split("/")):
            raise BadRequest(f"The repository has no folder '{subfolder:.200}'.")
        root, real = _real(self.root), _real(folder)
        if not folder.is_dir() or (real != root and root not in real.parents):
            raise BadRequest(f"The repository has no folder '{subfolder}'.")
        return folder


def _real(path: Path) -> Path:
    """Where its links lead; not `resolve`, which raises for links that lead in a circle."""
    return Path(os.path.realpath(path))


def fetch(url: str, commit: str, into: Path) -> Checkout:
    """Check out one commit, without its history."""
    _git(into.parent, "init", "-q", str(into))
    if not _try_git(into, "fetch", "-q", "--depth=1", "--no-tags", "--", url, commit):
        _fetch_history(url, "+refs/heads/*:refs/kcb/*", into)
    return _checked_out(url, commit, into)


def fetch_on_branch(url: str, revision: str, branch: str, into: Path) -> Checkout:
    """Check out `revision`, which must be on `branch`: one connection when it is its tip.

    Raises BadRequest when the branch or the commit is not there, or the one not on the other.
    """
    commit = revision if COMMIT.fullmatch(revision) else _commit_of(url, revision)
    _git(into.parent, "init", "-q", str(into))
    head = f"refs/heads/{branch}"
    wanted = (commit, f"+{head}:refs/kcb/tip")
    if not _try_git(into, "fetch", "-q", "--depth=1", "--no-tags", "--", url, *wanted):
        _fetch_all(url, commit, branch, into)
    tip = _git(into, "rev-parse", "--verify", "-q", "refs/kcb/tip")
    if tip != commit:
        _check_ancestry(url, commit, branch, into)
    return _checked_out(url, commit, into)


def _fetch_all(url: str, commit: str, branch: str, into: Path) -> None:
    """Some servers give no commit by its id: then the whole branch. Says what is missing."""
    _tip(url, branch)
    _fetch_history(url, f"+refs/heads/{branch}:refs/kcb/tip", into)
    if not _try_git(into, "cat-file", "-e", f"{commit}^{{commit}}"):
        raise BadRequest(
            f"The commit {commit} is not on the branch {branch} of {url}.",
            do="Push it, or give the right --git-branch.",
        )


def _fetch_history(url: str, refs: str, into: Path, *options: str) -> None:
    """All of it, also where an attempt to fetch less has left its mark."""
    shallow = (into / ".git" / "shallow").exists()
    whole = ("--unshallow", *options) if shallow else ()
    _git(into, "fetch", "-q", *whole, "--no-tags", "--", url, refs)


def _check_ancestry(url: str, commit: str, branch: str, into: Path) -> None:
    head = f"+refs/heads/{branch}:refs/kcb/tip"
    if (into / ".git" / "shallow").exists():
        _fetch_history(url, head, into, "--filter=tree:0")
    if not _try_git(into, "merge-base", "--is-ancestor", commit, "refs/kcb/tip"):
        raise BadRequest(
            f"The commit {commit} is not on the branch {branch} of {url}.",
            do="Push it there, or give the right --git-branch.",
        )


def _checked_out(url: str, commit: str, into: Path) -> Checkout:
    _git(into, "checkout", "-q", "--force", "--detach", commit)
    return Checkout(into, commit, url)


def _tip(url: str, branch: str) -> str:
    line = _git(Path("/"), "ls-remote", "--", url, f"refs/heads/{branch}")
    if not line:
        raise BadRequest(
            f"{url} has no branch '{branch}'.", do="Push the branch, or give another --git-branch."
        )
    return line.split()[0]


def _commit_of(url: str, revision: str) -> str:
    name = revision[len("origin/") :] if revision.startswith("origin/") else revision
    refs = (f"refs/heads/{name}", f"refs/tags/{name}^{{}}", f"refs/tags/{name}")
    found = {}
    for line in _git(Path("/"), "ls-remote", "--", url, *refs).splitlines():
        value, _, ref = line.partition("\t")
        found[ref] = value
    commit = next((found[ref] for ref in refs if ref in found), "")
    if not COMMIT.fullmatch(commit):
        raise BadRequest(
            f"{url} has no branch, tag or commit '{revision}'.", do="Give the full commit id."
        )
    return commit


def _try_git(folder: Path, *arguments: str) -> bool:
    return _run(folder, *arguments).returncode == 0


def _git(folder: Path, *arguments: str) -> str:
    """Raises ServiceError with git's own words."""
    done = _run(folder, *arguments)
    if done.returncode:
        words = " ".join(done.stderr.decode(errors="replace").split())
        raise ServiceError(
            f"git {arguments[0]} failed: {words[-600:]}",
            do="Check the source URL, and that this host may read it.",
        )
    return done.stdout.decode().strip()


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    settings = [word for pair in _SAFE for word in ("-c", pair)]
    try:
        return subprocess.run(
            ["git", *settings, *arguments],
            cwd=folder,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
    except FileNotFoundError as error:
        raise ServiceError("git is not installed.", do="Install git on this host.") from error
    except subprocess.TimeoutExpired as error:
        raise ServiceError(f"git {arguments[0]} took more than {TIMEOUT} s.") from error


def _environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    return {
        **kept,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": str(Path(__file__).with_name("gitconfig")),
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_LFS_SKIP_SMUDGE": "1",
        "GIT_ALLOW_PROTOCOL": "git:http:https:ssh:file",
        "LC_ALL": "C.UTF-8",
    }

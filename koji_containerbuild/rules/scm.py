"""Source URLs, in the form that Koji reads: `git+https://host/path/repo?subfolder#revision`.

Source of the rules: koji/daemon.py, class SCM, of Koji 1.30 to 1.36. Only those of its forms that
git can fetch: a Dockerfile in Subversion or CVS has no commit to pin.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from koji_containerbuild.errors import BadRequest

SCHEMES = ("git", "git+http", "git+https", "git+ssh")
COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+-]*")
LONGEST_BRANCH = 250  # characters, as of a file: git keeps it as one
_NOT_IN_BRANCH = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|[\ud800-\udfff]")
_FORM = "Write git+https://HOST/PATH/REPO#COMMIT, with the full commit id."


@dataclass(frozen=True)
class SourceUrl:
    """A place in a git repository.

    >>> SourceUrl.parse("git+https://src.example.com/container/web?app#" + "a" * 40).clone_url
    'https://src.example.com/container/web'
    """

    text: str  # as the user wrote it
    clone_url: str  # what git is given
    host: str
    repository: str  # path on the host, without leading slash and .git
    subfolder: str  # where the Dockerfile is; empty: the top
    revision: str  # a commit id, lower case, or a branch or tag

    @classmethod
    def parse(cls, text: str, on_this_machine: bool = False) -> SourceUrl:
        """Raises BadRequest, saying which part is wrong. file:// is for `on_this_machine` only."""
        if "://" not in text or "#" not in text:
            raise BadRequest(f"'{_shown(text)}' is not a source URL.", do=_FORM)
        if re.search(r"[\x00-\x20\x7f]", text):
            raise BadRequest("The source URL holds a blank or a control character.", do=_FORM)
        parts = _split(text)
        local = on_this_machine and parts.scheme == "file"
        if parts.scheme not in SCHEMES and not local:
            raise BadRequest(
                f"The source URL begins with '{parts.scheme}://', which Koji does not read.",
                do=f"Use one of {', '.join(s + '://' for s in SCHEMES)}.",
            )
        host = "localhost" if local else parts.hostname or ""
        repository = parts.path.strip("/").removesuffix(".git").strip("/")
        if not host or host.startswith("-") or not repository:
            raise BadRequest(f"'{_shown(text)}' names no host or no repository.", do=_FORM)
        if parts.password:
            raise BadRequest(
                "The source URL holds a password, which everybody could read in the task.",
                do="Remove it from the URL.",
            )
        if not REVISION.fullmatch(parts.fragment) or ".." in parts.fragment:
            raise BadRequest(f"The revision '{parts.fragment}' is not valid.", do=_FORM)
        commit = parts.fragment.lower()
        return cls(
            text=text,
            clone_url=_clone_url(parts.scheme, parts.netloc, parts.path),
            host=parts.netloc.rpartition("@")[2],
            repository=repository,
            subfolder=_subfolder(parts.query),
            revision=commit if COMMIT.fullmatch(commit) else parts.fragment,
        )

    @property
    def names_a_commit(self) -> bool:
        """Whether the revision is a full commit id."""
        return bool(COMMIT.fullmatch(self.revision))

    def recorded(self, commit: str) -> str:
        """The source as Koji's build record has it: `https://host/repo#commit`.

        `git+` is left off as the old system did; readers take name and commit from it.
        """
        where = self.text.partition("#")[0].removeprefix("git+")
        return f"{where}#{commit}"


def check_branch(name: str) -> str:
    """A name that git gives to branches (git check-ref-format). Raises BadRequest.

    >>> check_branch("feature/x.y")
    'feature/x.y'
    """
    if name.startswith("refs/"):
        raise BadRequest(
            f"The branch is '{name:.200}', which is a full ref.",
            do=f"Give the branch alone: --git-branch {name.removeprefix('refs/heads/'):.200}.",
        )
    parts = name.split("/")
    if (
        _NOT_IN_BRANCH.search(name)
        or len(name) > LONGEST_BRANCH
        or name in ("@", "HEAD")
        or not all(parts)
        or any(part.startswith((".", "-")) or part.endswith((".", ".lock")) for part in parts)
    ):
        raise BadRequest(
            f"'{name:.200}' is not the name of a branch.",
            do="Give the one that the commit is on, such as --git-branch f43.",
        )
    return name


def _split(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        _ = parts.port  # looked at when asked for
        return parts
    except ValueError as error:
        raise BadRequest(f"'{_shown(text)}' is not a URL: {error}.", do=_FORM) from error


def _clone_url(scheme: str, netloc: str, path: str) -> str:
    return f"{scheme.removeprefix('git+')}://{netloc}{path}"


def _subfolder(query: str) -> str:
    folder = query.strip("/")
    if ".." in folder.split("/") or folder.startswith("-"):
        raise BadRequest(f"The folder '{folder}' in the source URL leaves the repository.")
    return folder


def _shown(text: str) -> str:
    """The URL without what might be a secret in it."""
    return re.sub(r"://[^/@]*@", "://…@", text)[:200]

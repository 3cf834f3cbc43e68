"""yum .repo files that are there during the build."""

from __future__ import annotations

import configparser
import hashlib
import re
from urllib.parse import urlsplit

from koji_containerbuild.errors import BadRequest

PREFIX = "koji-containerbuild-"  # of the file names: none of them may be left in an image

_FORM = "Write http:// or https://, a host and a path."


def koji_repo(topurl: str, tag: str, repo_id: int) -> tuple[str, str]:
    """Name and text of the file for a tag's repo at one repo id, the same for all arches.

    gpgcheck is off as in Koji's own build roots: packages of a tag need not be signed.

    >>> koji_repo("http://koji/kojifiles/", "f43-build", 7)[1].splitlines()[2]
    'baseurl=http://koji/kojifiles/repos/f43-build/7/$basearch'
    """
    name = f"{PREFIX}{_plain(tag)}"
    url = f"{topurl.rstrip('/')}/repos/{tag}/{repo_id}/$basearch"
    text = f"[{name}]\nname={tag} in Koji\nbaseurl={url}\nenabled=1\ngpgcheck=0\npriority=10\n"
    return f"{name}.repo", text


def check_repo_url(url: str) -> str:
    """A URL of a .repo file. Raises BadRequest."""
    try:
        parts = urlsplit(url)
        right = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError as error:
        raise BadRequest(f"'{url}' is not a URL of a .repo file: {error}.", do=_FORM) from error
    if parts.password:
        raise BadRequest("The URL of a .repo file holds a password.", do="Remove it.")
    if not right or re.search(r"\s", url):
        raise BadRequest(f"'{url}' is not a URL of a .repo file.", do=_FORM)
    return url


def check_repo_text(text: str, url: str) -> str:
    """That it is a .repo file, and not a page or a secret of this network. Raises BadRequest."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise BadRequest(f"{url} is not a .repo file.", do="Give the URL of one.") from error
    where = ("baseurl", "metalink", "mirrorlist")
    sections = [parser[name] for name in parser.sections()]
    if not sections or not all(any(key in section for key in where) for section in sections):
        raise BadRequest(
            f"{url} is not a .repo file: each [section] needs one of {', '.join(where)}.",
            do="Give the URL of a .repo file.",
        )
    return text


def user_repo_name(url: str) -> str:
    """A file name for a .repo file from elsewhere: two URLs never give the same.

    >>> user_repo_name("https://r.example.com/f43/web.repo")
    'koji-containerbuild-web-ca0ce48b.repo'
    """
    short = hashlib.sha256(url.encode()).hexdigest()[:8]
    last = urlsplit(url).path.rstrip("/").rpartition("/")[2].removesuffix(".repo")
    return f"{PREFIX}{_plain(last)[:60] or 'repo'}-{short}.repo"


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", text)

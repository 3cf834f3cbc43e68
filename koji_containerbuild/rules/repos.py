"""yum .repo files that are there during the build."""

from __future__ import annotations

import configparser
import hashlib
import re
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from koji_containerbuild.errors import BadRequest

PREFIX = "koji-containerbuild-"  # of the file names: none of them may be left in an image
FOLDER = "/etc/yum.repos.d"  # of the files, during the build
CA_FILE = f"{PREFIX}ca.pem"

_HOST = re.compile(
    r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?::[0-9]*)?(?:[/?#][^\\]*)?$", re.I
)
_PLACE = re.compile(r"\s*(?:baseurl|metalink|mirrorlist)\s*[=:]", re.I)
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


def check_domains(url: str, text: str, allowed: Sequence[str]) -> None:
    """The hosts of a user's .repo file and of what it names. Raises BadRequest.

    `allowed` are whole host names; none: any host. A line that yum might read in another way than
    we do names no host, and so none that is allowed.
    """
    for place in [url, *_places(text)] if allowed else ():
        host = _HOST.match(place)
        if not host or host[1].lower() not in {domain.lower() for domain in allowed}:
            raise BadRequest(
                f"The .repo file {url} leads to '{place:.200}', which is not allowed here."
                if place != url
                else f"The .repo file {url} is from a host that is not allowed here.",
                do=f"Allowed are: {', '.join(allowed)}.",
            )


def _places(text: str) -> Iterator[str]:
    """Every word after baseurl, metalink and mirrorlist, on the next lines too."""
    inside = False
    for line in text.splitlines():
        key = _PLACE.match(line)
        inside = bool(key) or (inside and line[:1].isspace())
        if inside:
            words = re.split(r"[\s,;]+", line[key.end() :] if key else line)
            yield from (word for word in words if word)


def with_setting(text: str, key: str, value: str) -> str:
    """A .repo file in which every section has the key; one that has it already keeps its own.

    >>> with_setting("[a]\\nproxy=x\\n[b]\\nname=b\\n", "proxy", "http://p:1")
    '[a]\\nproxy=x\\n[b]\\nproxy=http://p:1\\nname=b\\n'
    """
    parts = re.split(r"(?m)^(\[[^\n]*\n?)", text)
    for place in range(1, len(parts), 2):
        if not re.search(rf"(?m)^\s*{re.escape(key)}\s*[=:]", parts[place + 1]):
            parts[place] = f"{parts[place].rstrip()}\n{key}={value}\n"
    return "".join(parts)


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

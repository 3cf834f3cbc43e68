"""yum .repo files that are there during the build."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from koji_containerbuild.errors import BadRequest
from koji_containerbuild.rules.repo_file import NotRepoFile, Section, parse

PREFIX = "koji-containerbuild-"  # of the file names: none of them may be left in an image
FOLDER = "/etc/yum.repos.d"  # of the files, during the build
CA_FILE = f"{PREFIX}ca.pem"

_HOST = re.compile(
    r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?::[0-9]*)?(?:[/?#][^\\]*)?$", re.I
)
WHERE = ("baseurl", "metalink", "mirrorlist")
_ASKED = (*WHERE, "proxy", "gpgkey", "include")  # keys that name a host which a build then asks
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
    if not url.isprintable() or " " in url:
        raise BadRequest(f"'{shown_url(url)}' is not a URL of a .repo file.", do=_FORM)
    try:
        parts = urlsplit(url)
        right = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError as error:
        raise BadRequest(f"'{shown_url(url)}' is not a URL of a .repo file.", do=_FORM) from error
    if "@" in parts.netloc:
        raise BadRequest(
            "The URL of a .repo file holds a user name or a password.", do="Remove it."
        )
    if not right:
        raise BadRequest(f"'{shown_url(url)}' is not a URL of a .repo file.", do=_FORM)
    return url


def shown_url(url: str) -> str:
    """A URL for a message: not long, without user, password and control characters.

    >>> shown_url("http://me:secret@[::1")
    'http://…@[::1'
    """
    words = "".join(char if char.isprintable() else "?" for char in url[:2000])
    return re.sub(r"//[^/?#]*@", "//…@", words)[:200]


def read_repo_file(text: str, name: str) -> tuple[Section, ...]:
    """Its sections. `name`: its URL or file name, for messages. Raises BadRequest."""
    try:
        return parse(text)
    except NotRepoFile as error:
        raise BadRequest(
            f"{name} is not a .repo file: {error}.", do="Give the URL of one."
        ) from error


def check_repo_text(text: str, url: str) -> str:
    """That it is a .repo file, and not a page or a secret of this network. Raises BadRequest."""
    sections = read_repo_file(text, url)
    if not sections or not all(set(WHERE) & set(section.values) for section in sections):
        raise BadRequest(
            f"{url} is not a .repo file: each [section] needs one of {', '.join(WHERE)}.",
            do="Give the URL of a .repo file.",
        )
    return text


def check_domains(url: str, text: str, allowed: Sequence[str]) -> None:
    """The hosts of a user's .repo file, and of all that it has a build ask. Raises BadRequest.

    `allowed` are whole host names; none: any host. A place that yum might read in another way
    than we do names no host, and so none that is allowed.
    """
    if not allowed:
        return
    do = f"Allowed are: {', '.join(allowed)}."
    if not is_allowed_host(url, allowed):
        raise BadRequest(f"The .repo file {url} is from a host that is not allowed here.", do=do)
    for section in read_repo_file(text, url):
        for place in _places(section):
            if not is_allowed_host(place, allowed):
                raise BadRequest(
                    f"The .repo file {url} leads to '{shown_url(place)}', which is not allowed "
                    "here.",
                    do=do,
                )
        if section.is_off("sslverify"):
            raise BadRequest(
                f"The .repo file {url} has sslverify off in line "
                f"{section.line} and below: any host could answer for an allowed one.",
                do="Remove sslverify.",
            )


def is_allowed_host(url: str, allowed: Sequence[str]) -> bool:
    """Whether it is at one of these hosts; none: any."""
    host = _HOST.match(url)
    domains = {domain.lower() for domain in allowed}
    return not allowed or (host is not None and host[1].lower() in domains)


def _places(section: Section) -> Iterator[str]:
    """Every address that a build asks; a key may be a file of the parent image."""
    for key in _ASKED:
        for word in section.words(key):
            local = key == "gpgkey" and word.startswith("file:///")
            if not local and not (key == "proxy" and word == "_none_"):
                yield word


def with_setting(text: str, key: str, value: str) -> str:
    """A .repo file in which every section has the key; one that has it already keeps its own.

    >>> with_setting("[a]\\nproxy=x\\n[b]\\nname=b\\n", "proxy", "http://p:1")
    '[a]\\nproxy=x\\n[b]\\nproxy=http://p:1\\nname=b\\n'
    """
    lines = text.split("\n")
    for section in parse(text):
        if key not in section.values:
            lines[section.line - 1] += f"\n{key}={value}"
    return "\n".join(lines)


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

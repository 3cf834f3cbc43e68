"""Files that git does not hold: their names, checksums and addresses."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Optional
from urllib.parse import quote, unquote, urlsplit

from koji_containerbuild.errors import BadRequest, ConfigError

# Hex digits of a checksum, weakest algorithm first. md5 and sha1 are here since old files have
# nothing better.
CHECKSUMS = {"md5": 32, "sha1": 40, "sha224": 56, "sha256": 64, "sha384": 96, "sha512": 128}
LONGEST_NAME = 255  # bytes, of one part of a path
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def wrong_checksum(algorithm: str, value: str) -> Optional[str]:
    """What is wrong with it, or None.

    >>> wrong_checksum("md5", "abc")
    'md5 has 32 hex digits, not 3'
    """
    if algorithm not in CHECKSUMS:
        return f"'{algorithm}' is none of {', '.join(CHECKSUMS)}"
    if not re.fullmatch("[0-9a-fA-F]*", value):
        return f"'{value[:140]}' is not a hex number"
    if len(value) != CHECKSUMS[algorithm]:
        return f"{algorithm} has {CHECKSUMS[algorithm]} hex digits, not {len(value)}"
    return None


def strongest(checksums: Mapping[str, str]) -> str:
    """The algorithm that is hardest to deceive."""
    return max(checksums, key=list(CHECKSUMS).index)


def is_too_long(name: str) -> bool:
    """Whether no file system could have a file or folder of that name.

    >>> is_too_long("a" * 255), is_too_long("ä" * 128)
    (False, True)
    """
    return len(name.encode(errors="replace")) > LONGEST_NAME


def path_inside(path: str) -> str:
    """A path below a folder, in its plain form. Raises BadRequest for any other.

    >>> path_inside("./lib//greeter.jar")
    'lib/greeter.jar'
    """
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or ".." in parts or not parts or path.endswith("/"):
        raise BadRequest(f"The path '{path[:200]}' is not that of a file below the Dockerfile's.")
    if _CONTROL.search(path) or len(path) > 1000 or any(is_too_long(part) for part in parts):
        raise BadRequest(f"The path {path[:200]!r} is too long, or holds a control character.")
    return "/".join(parts)


def wrong_url(url: str) -> Optional[str]:
    """Why that cannot be fetched, or None."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # looked at when asked for
    except ValueError as error:
        return str(error)
    if re.search(r"[\x00-\x20\x7f]", url) or len(url) > 4000:
        return "it holds a blank or a control character, or is too long"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "it does not begin with https://HOST/ or http://HOST/"
    if "@" in parts.netloc:
        return "it holds a user name or a password, which everybody could read"
    return None


def is_allowed(url: str, places: Sequence[str]) -> bool:
    """Whether the URL is below one of the places, each HOST[:PORT][/PATH].

    >>> is_allowed("https://example.com.evil.org/x", ["example.com"])
    False
    """
    parts = urlsplit(url)
    path = parts.path.split("/")[1:]
    plain = parts.path
    for _ in range(3):  # some servers unquote twice
        plain = unquote(plain)
        if any(name in ("..", ".") for name in re.split(r"[/\\]", plain)):
            return False  # a server would leave the place
    for place in places:
        host, _, folder = place.strip("/").partition("/")
        names = folder.split("/") if folder else []
        if parts.netloc.lower() == host.lower() and path[: len(names)] == names:
            return True
    return False


def lookaside_url(template: str, repository: str, filename: str, checksum: tuple[str, str]) -> str:
    """Where a lookaside cache has a file. Raises ConfigError for a template of another form.

    The namespace of a repository is the last folder before its name, and `rpms` where there is
    none, as for rpkg.

    >>> lookaside_url("https://x/{namespace}/{name}/{filename}/{hashtype}/{hash}/{filename}",
    ...               "srv/container/web", "a.tar", ("md5", "12"))
    'https://x/container/web/a.tar/md5/12/a.tar'
    """
    names = [name for name in repository.split("/") if name]
    words = {
        "namespace": quote(names[-2] if len(names) > 1 else "rpms", safe=""),
        "name": quote(names[-1], safe=""),
        "filename": quote(filename, safe=""),
        "hashtype": checksum[0],
        "hash": checksum[1],
    }
    try:
        return template.format_map(words)
    except (KeyError, ValueError, IndexError) as error:
        raise ConfigError(
            f"url in [lookaside] is '{template}', which cannot be read: {error}.",
            do=f"It may hold {', '.join('{' + word + '}' for word in words)}.",
        ) from error

"""Tags of an image in the registry: unique, primary, floating."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone

from koji_containerbuild.errors import BadRequest
from koji_containerbuild.rules.pullspec import TAG

LIKE_PRIMARY = re.compile(r"[0-9][^-]*-[0-9][A-Za-z0-9._]*")
DEFAULT = ("latest", "{version}")  # floating tags of an image that names none
MAX_TAG = 128  # characters, by the distribution specification


def check_tag(tag: str, why: str) -> str:
    """Raises BadRequest. `why` says where the tag comes from."""
    if len(tag) > MAX_TAG:
        raise BadRequest(
            f"The tag '{tag[:40]}…' ({why}) has {len(tag)} characters; "
            f"a registry takes at most {MAX_TAG}.",
            do="Make it shorter.",
        )
    if not TAG.fullmatch(tag):
        raise BadRequest(
            f"The tag '{tag}' ({why}) is not valid.",
            do="Use letters, digits and _ . - only, and begin with a letter, a digit or _.",
        )
    return tag


def primary(version: str, release: str) -> str:
    """The tag that never moves.

    >>> primary("1.0", "3")
    '1.0-3'
    """
    return check_tag(f"{_plain(version)}-{_plain(release)}", "version-release")


def unique(target: str, created: int, random: str) -> str:
    """The tag of one attempt: target, five random letters, UTC time.

    >>> unique("f43-container-candidate", 0, "x7k2q")
    'f43-container-candidate-x7k2q-19700101000000'
    """
    when = datetime.fromtimestamp(created, timezone.utc).strftime("%Y%m%d%H%M%S")
    return f"{_plain(target)[:90].lstrip('.-') or 'build'}-{random}-{when}"


def floating(wanted: Sequence[str], labels: Mapping[str, str]) -> tuple[str, ...]:
    """The tags that move with each build; `{label}` in one stands for that label's value.

    >>> floating(DEFAULT, {"version": "1.0"}), floating(["devel"], {"version": "1.0"})
    (('latest', '1.0'), ('devel',))
    """
    tags = [check_tag(_filled(name, labels), "container.yaml") for name in wanted]
    for tag in tags:
        own = re.escape(_plain(labels.get("version", "")))
        if LIKE_PRIMARY.fullmatch(tag) or re.fullmatch(rf"{own}-[0-9][A-Za-z0-9._]*", tag):
            raise BadRequest(
                f"The tag '{tag}' in container.yaml could be that of another build.",
                do="Choose one that does not look like VERSION-RELEASE.",
            )
    return tuple(dict.fromkeys(tags))


def _filled(name: str, labels: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        if not labels.get(match[1]):
            raise BadRequest(
                f"The tag '{name}' names the label '{match[1]}', which the image does not have.",
                do="Add the label, or correct the tag in container.yaml.",
            )
        return _plain(labels[match[1]])

    return re.sub(r"\{([^{}]+)\}", value, name)


def _plain(text: str) -> str:
    """What a tag cannot hold becomes an underscore, as Bodhi does it.

    >>> _plain("1.0~rc1")
    '1.0_rc1'
    """
    return re.sub(r"[^A-Za-z0-9._-]", "_", text)

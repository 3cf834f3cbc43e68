"""May a build for this target begin? Hub, command line and builder ask here, so the words agree."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from koji_containerbuild.errors import BadRequest

LOCAL = "local"  # the target of a build without Koji, unless it names one


def no_such_target(name: str, known: Iterable[str]) -> BadRequest:
    """What to say of a target that is not there.

    >>> str(no_such_target("f43-container", ["f43-containers", "f42-containers", "rawhide"]))
    "No such build target: 'f43-container'. Did you mean 'f43-containers' or 'f42-containers'?"
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, 3) or [n for n in names if name in n][:3]
    do = f"Did you mean {' or '.join(map(repr, close))}?" if close else "See `koji list-targets`."
    return BadRequest(f"No such build target: {name!r:.200}.", do=do)


def check_allowed(name: str, allowed: Sequence[str]) -> None:
    """`allowed` are patterns as of a shell; none: every target. Raises BadRequest.

    >>> check_allowed("f43-containers", ["f43-*", "rawhide"])
    """
    if allowed and not any(fnmatchcase(name, pattern) for pattern in allowed):
        raise BadRequest(
            f"The target {name!r:.200} may not be used for container builds here.",
            do=f"Use one of: {', '.join(allowed)}.",
        )


def check_destination(
    target: Mapping[str, Any], tag: Mapping[str, Any] | None, scratch: bool
) -> None:
    """The tag that the build would get must exist and, unless `scratch`, be open for builds.

    `target` is Koji's getBuildTarget, `tag` its getTag of `dest_tag`. Raises BadRequest.
    """
    name = target["dest_tag_name"]
    if tag is None:
        raise BadRequest(
            f"The destination tag '{name}' of target '{target['name']}' does not exist.",
            do="Ask an administrator of Koji to mend the target, or use another one.",
        )
    if tag["locked"] and not scratch:
        raise BadRequest(
            f"The destination tag '{name}' of target '{target['name']}' is locked.",
            do="Add --scratch to only try the build, or use another target.",
        )

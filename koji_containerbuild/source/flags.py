"""The flags of RUN, COPY and ADD: those that buildah 1.28 knows, and only as they can be read in
one way.

buildah takes quotes and backslashes out of flags, and fills in variables, before it reads them. So
a flag that holds any is refused, save a variable for an owner or a mode. Refused, too, is what
reaches the host: tried with buildah 1.28, a bind whose source is a symbolic link, and a cache whose
id has "..", show the host's own folders. tests/source/test_flags_as_buildah.py tries them again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from koji_containerbuild.errors import BadRequest

_OWNER = re.compile(r"[A-Za-z0-9_.:${}+-]+")
_STAGE = re.compile(r"[^\"'\\`\s]*", re.ASCII)
_MOUNT = re.compile(r"[A-Za-z0-9_.:/=,+@-]*")
KNOWN: Mapping[str, Mapping[str, re.Pattern[str]]] = {
    "COPY": {"--from": _STAGE, "--chown": _OWNER, "--chmod": _OWNER},
    "ADD": {"--chown": _OWNER, "--chmod": _OWNER},
    "RUN": {"--mount": _MOUNT},
}
_TARGET = {"type", "target", "dst", "destination"}
MOUNTS = {
    "bind": {*_TARGET, "from", "ro", "readonly", "rw", "readwrite"},
    "tmpfs": {*_TARGET, "tmpfs-size", "tmpfs-mode"},
}
_BLANK = re.compile(r"[\t\n\v\f\r ]+")  # as buildah divides flags; others are within a word
_TRIGGER = re.compile(r"\s*([A-Za-z]+)[\t ]+([^\x00-\x08\x0a-\x1f\x7f]*)", re.ASCII)
SHOWN = 100  # characters


def sources(instruction: str, value: str, where: str) -> list[str]:
    """The stages or images that an instruction takes files from, by its flags.

    `value` is what stands after the instruction, and `where` how the error begins. Raises
    BadRequest for a flag that is not allowed.
    """
    known = KNOWN.get(instruction)
    if known is None:
        return []
    found = []
    for word in _BLANK.split(value.strip("\t\n\v\f\r ")):
        if not word.startswith("--"):
            break
        name, _, said = word.partition("=")
        if name not in known:
            raise BadRequest(
                f"{where} has {word:.{SHOWN}}, which is not allowed.",
                do=f"Leave it out: {instruction} may have {', '.join(known)}.",
            )
        if not known[name].fullmatch(said):
            raise BadRequest(
                f"{where} has {word:.{SHOWN}}, which can be read in more than one way.",
                do="Write the flag without quotes, backslashes and other special characters"
                f"{'' if known[name] is _OWNER else ', and without variables'}.",
            )
        if name == "--from":
            found.append(said)
        elif name == "--mount":
            found += _mounted(said, f"{where} has {word:.{SHOWN}}")
    return found


def _mounted(said: str, where: str) -> list[str]:
    """What a mount is taken from."""
    pairs = [part.partition("=") for part in said.split(",")]
    options = {name.lower(): value for name, _, value in pairs}
    kind = options.get("type", "bind")
    if kind not in MOUNTS:
        raise BadRequest(
            f"{where}, a mount of the type '{kind}', which is not allowed.",
            do="Leave it out: an image is made of its sources and packages alone, so nothing is "
            f"kept from one build to another, nor secret. There are {' and '.join(MOUNTS)}.",
        )
    for name, _, _ in pairs:
        if name.lower() not in MOUNTS[kind]:
            raise BadRequest(
                f"{where}, whose '{name}' is not allowed.",
                do=f"A mount of the type {kind} may have {', '.join(sorted(MOUNTS[kind]))}. "
                "Without a source, all of the sources or of the stage is mounted.",
            )
    if len(options) < len(pairs):
        raise BadRequest(f"{where}, which says something twice.", do="Say it once.")
    return [options["from"]] if "from" in options else []


def check_trigger(trigger: str, where: str) -> None:
    """An ONBUILD instruction of a parent image runs in our build: it may name no image either.

    Raises BadRequest that begins with `where`.
    """
    shown = re.sub(r"[\x00-\x1f\x7f]", "?", trigger[:SHOWN])
    where = f"{where} has the trigger 'ONBUILD {shown}', and that"
    match = _TRIGGER.fullmatch(trigger)
    if not match:
        raise BadRequest(f"{where} is not one instruction.", do="Use another parent.")
    if taken := sources(match[1].upper(), match[2], where):
        raise BadRequest(
            f"{where} takes files from '{taken[0]}', which is an image or a stage that the "
            "Dockerfile does not name.",
            do="Use another parent, or have the trigger removed from it.",
        )

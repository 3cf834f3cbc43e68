"""What one FROM says. Its rules are those of Docker's reference, where buildah's are looser: what
could be read in two ways is refused.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from koji_containerbuild.errors import BadRequest
from koji_containerbuild.source import words

EACH_ARCH = "*"  # in place of an arch: the one that is built, another one in each job
AUTOMATIC = {  # variables that FROM may use without an ARG
    f"{of}{part}": value
    for of in ("TARGET", "BUILD")
    for part, value in (("PLATFORM", "linux/*"), ("OS", "linux"), ("ARCH", "*"), ("VARIANT", ""))
}
OURS = "koji-containerbuild"  # the name that files of ours are copied from
RESERVED = ("scratch", "context", OURS)
_STAGE_NAME = re.compile(r"[a-z][a-z0-9_.-]*")
_PLAIN = re.compile(r"\$(?:(\w+)|\{(\w+)\})")  # a variable without a default


@dataclass(frozen=True)
class From:
    """Variables are resolved."""

    image: str
    platform: str  # of --platform; empty: none; EACH_ARCH in it stands for the arch that is built
    name: str  # after AS, as written; empty: none


def read_from(value: str, arguments: Mapping[str, str], line: int, taken: Collection[str]) -> From:
    """`value`: what stands after FROM in line number `line`; `taken`: names of earlier stages, in
    lower case. Raises BadRequest.
    """
    flags = [word for word in value.split() if word.startswith("--")]
    parts = [word for word in value.split() if not word.startswith("--")]
    named = len(parts) == 3 and parts[1].upper() == "AS"
    if not (len(parts) == 1 or named):
        raise BadRequest(
            f"Line {line} of the Dockerfile is 'FROM {value.strip()}'.",
            do="Write FROM IMAGE, or FROM IMAGE AS NAME.",
        )
    name = parts[2] if named else ""
    if name:
        _check_name(name, line, taken)
    return From(_image(parts[0], arguments, line), _platform(flags, arguments, line), name)


def _image(word: str, arguments: Mapping[str, str], line: int) -> str:
    do = "Give each variable in it a default with ARG before the first FROM."
    try:
        image = words.expand(word, {**AUTOMATIC, **arguments})
    except ValueError as error:
        raise BadRequest(
            f"Line {line} of the Dockerfile: FROM {word} names no image: {error}.", do=do
        ) from error
    if EACH_ARCH in image and EACH_ARCH not in word:
        raise BadRequest(
            f"Line {line} of the Dockerfile: FROM {word} is another image on each arch.",
            do="Use one image that has all arches, without the arch in its name.",
        )
    if not image or _unset(word, arguments) or re.search(r"[\s$\0]", image):
        raise BadRequest(f"Line {line} of the Dockerfile: FROM {word} names no image.", do=do)
    return image


def _unset(word: str, variables: Mapping[str, str]) -> set[str]:
    return {plain or braced for plain, braced in _PLAIN.findall(word)} - set(variables)


def _platform(flags: list[str], arguments: Mapping[str, str], line: int) -> str:
    platform = ""
    for flag in flags:
        name, _, value = flag.partition("=")
        if name != "--platform" or not value:
            raise BadRequest(
                f"Line {line} of the Dockerfile: FROM has {flag}, which is not supported.",
                do="Leave it out.",
            )
        try:
            platform = words.expand(value, {**AUTOMATIC, **arguments})
        except ValueError as error:
            raise BadRequest(
                f"Line {line} of the Dockerfile: FROM has {flag}: {error}.", do="Leave it out."
            ) from error
        if not platform:
            raise BadRequest(
                f"Line {line} of the Dockerfile: FROM has {flag}, which is no platform.",
                do="Leave it out.",
            )
    return platform


def _check_name(name: str, line: int, taken: Collection[str]) -> None:
    if not _STAGE_NAME.fullmatch(name.lower()) or name.lower() in RESERVED:
        raise BadRequest(
            f"Line {line} of the Dockerfile names a stage {name}, which cannot be used.",
            do=f"Begin with a letter; then letters, digits and . _ -; not {', '.join(RESERVED)}.",
        )
    if name.lower() in taken:
        raise BadRequest(
            f"Line {line} of the Dockerfile names a stage {name}, as an earlier line does.",
            do="Give each stage a name of its own.",
        )

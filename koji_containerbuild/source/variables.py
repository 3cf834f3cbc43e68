"""What the LABEL, ENV and ARG instructions of a Dockerfile come to, evaluated as buildah does.

A stage that stands on another one begins with the other's ENV and labels, and without its ARGs. An
ARG before the first FROM is seen in a stage that declares it again. ENV wins over ARG.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from koji_containerbuild.errors import BadRequest
from koji_containerbuild.rules.labels import Written
from koji_containerbuild.source import words

# What the builder sets for an ARG of that name. The ones marked differ from arch to arch, so they
# are not known here; the mark goes along with any value that is made of them.
_MARK = "\0"
PLATFORM = {
    **{"TARGETOS": "linux", "TARGETPLATFORM": _MARK, "TARGETARCH": _MARK, "TARGETVARIANT": _MARK},
    **{"BUILDOS": "linux", "BUILDPLATFORM": _MARK, "BUILDARCH": _MARK, "BUILDVARIANT": _MARK},
}
ROOM = 1 << 20  # characters of all values of one Dockerfile; `ENV A=$B$B` may say much in few words
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # of an image without one


@dataclass(frozen=True)
class Setting:
    """One LABEL, ENV or ARG instruction."""

    instruction: str
    value: str
    line: int  # of its beginning, from 1


class _Room:
    """What is left for values."""

    def __init__(self) -> None:
        self._left = ROOM

    def take(self, text: str) -> str:
        self._left -= len(text)
        if self._left < 0:
            raise ValueError(f"with it all values have more than {ROOM} characters")
        return text


def heading(settings: Iterable[Setting]) -> dict[str, str]:
    """The ARGs before the first FROM that have a value. Raises BadRequest, naming the line."""
    known: dict[str, str] = {}
    room = _Room()
    for setting in settings:
        known.update(_arguments(setting, known, {}, room))
    return known


def labels(
    above: Mapping[str, str], stages: Sequence[Sequence[Setting]], parent_env: Mapping[str, str]
) -> Written:
    """The labels that an image gets from stages that stand on each other, the lowest one first.

    `above` is what `heading` gave, `parent_env` the ENV of the image that the lowest stands on.
    Raises BadRequest, naming the line.
    """
    env = {"PATH": PATH, **parent_env}
    values: dict[str, str] = {}
    lines: dict[str, int] = {}
    room = _Room()
    for stage in stages:
        arguments: dict[str, str] = {}
        for setting in stage:
            if setting.instruction == "ARG":
                known = {**arguments, **env}
                arguments.update(_arguments(setting, known, {**above, **PLATFORM}, room))
            elif setting.instruction == "ENV":
                env.update(_pairs(setting, {**arguments, **env}, room))
            else:
                found = _pairs(setting, {**arguments, **env}, room)
                _check_marks(setting, found)
                values.update(found)
                lines.update(dict.fromkeys(found, setting.line))
    return Written(values, lines)


def _arguments(
    setting: Setting, known: Mapping[str, str], outer: Mapping[str, str], room: _Room
) -> dict[str, str]:
    """Name and value of each ARG that has one, of its own or from outside."""
    try:
        _check(setting)
        expanded = [room.take(words.expand(word, known)) for word in words.split(setting.value)]
    except ValueError as error:
        _refuse(setting, error)
    pairs = [word.partition("=") for word in expanded]
    found = {name: value for name, sign, value in pairs if sign}
    return {**found, **{n: outer[n] for n, sign, _ in pairs if not sign and n in outer}}


# Blanks to some readers and to others not. Other control characters are a label's own business:
# Koji's record of it makes them visible.
DOUBTFUL = "\0\n\v\f\r\x1c\x1d\x1e\x1f"


def _pairs(setting: Setting, known: Mapping[str, str], room: _Room) -> dict[str, str]:
    try:
        _check(setting)
        found = {
            room.take(words.expand(name, known)): room.take(words.expand(value, known))
            for name, value in words.pairs(setting.value)
        }
        if "" in found:
            raise ValueError("a value has no name")
    except ValueError as error:
        _refuse(setting, error)
    return found


def _check(setting: Setting) -> None:
    if not setting.value.strip():
        raise ValueError("it is empty")
    if setting.value.startswith("--"):
        raise ValueError(f"it has no flag {setting.value.split()[0]}")
    if any(char in DOUBTFUL for char in setting.value):
        raise ValueError("it holds a control character that stands between words")


def _check_marks(setting: Setting, found: Mapping[str, str]) -> None:
    for name, value in found.items():
        if _MARK in name + value:
            raise BadRequest(
                f"Line {setting.line} of the Dockerfile: the label {name.strip(_MARK)!r} depends "
                "on the platform, which is known in the build only.",
                do="Labels are the same on every arch; the label architecture is set for you.",
            )


def _refuse(setting: Setting, error: ValueError) -> NoReturn:
    forms = "NAME, or ARG NAME=VALUE" if setting.instruction == "ARG" else 'NAME="VALUE"'
    raise BadRequest(
        f"Line {setting.line} of the Dockerfile: this {setting.instruction} cannot be read: "
        f"{error}.",
        do=f"Write {setting.instruction} {forms}, with a backslash before each quote and each "
        "dollar that is meant as such.",
    ) from error

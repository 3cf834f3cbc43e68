"""Name-version-release: the identity of a build in Koji."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Union

from koji_containerbuild.errors import BadRequest, ConfigError

RELEASE = re.compile(r"[0-9]+(?:[._]?[a-zA-Z0-9]+)*")
ISOLATED_RELEASE = re.compile(r"[0-9]+\.[0-9]+(?:[._][a-zA-Z0-9]+)*")
DISTTAG = re.compile(r"\.[a-zA-Z][a-zA-Z0-9]*(?:[._][a-zA-Z0-9]+)*")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]*")
LONGEST = 255  # bytes of a file name: each part of the name is a folder of Koji's
MOST_ID = 2**31 - 1  # of a row in Koji's database
VERSION = re.compile(r"[A-Za-z0-9+._~^]+")


@dataclass(frozen=True)
class NVR:
    """A build's name. `release` is empty while it is not known.

    >>> str(NVR.parse("fedora-web-1.0-3"))
    'fedora-web-1.0-3'
    """

    name: str
    version: str
    release: str

    @classmethod
    def parse(cls, text: str) -> NVR:
        """Split at the last two dashes, as Koji does. Raises BadRequest."""
        parts = text.rsplit("-", 2)
        if len(parts) != 3 or not all(parts):
            raise BadRequest(
                f"'{text:.300}' is not a build name.", do="Write it as NAME-VERSION-RELEASE."
            )
        return cls(*parts)

    def __str__(self) -> str:
        return f"{self.name}-{self.version}-{self.release}"


def name_or_id(text: str) -> Union[str, int]:
    """How somebody names a build that Koji has: name-version-release, or its id in digits.

    An id beyond Koji's 32 bits is read as a name, and is none. Raises BadRequest.

    >>> name_or_id("fedora-web-1.0-3"), name_or_id("1234")
    ('fedora-web-1.0-3', 1234)
    """
    if text.isascii() and text.isdigit() and len(text) <= len(str(MOST_ID)):
        number = int(text)
        if number <= MOST_ID:
            return number
    return str(NVR.parse(text))


def check_name(component: str, called: str = "The label com.redhat.component") -> str:
    """The Koji package name; `called` is where it stands. Raises BadRequest."""
    if not NAME.fullmatch(component):
        raise BadRequest(
            f"{called} is '{component}', which is no package name.",
            do="Begin with a letter or a digit, and use letters, digits and + . _ - only.",
        )
    _check_length(component, called)
    return component


def _check_length(text: str, called: str) -> None:
    if len(text) > LONGEST:
        raise BadRequest(
            f"{called} has {len(text)} characters, and Koji takes {LONGEST}.", do="Shorten it."
        )


def check_version(version: str, called: str = "The label version") -> str:
    """A version that Koji and a registry tag can hold. Raises BadRequest.

    >>> check_version("2.4")
    '2.4'
    """
    if "-" in version or "/" in version or not VERSION.fullmatch(version):
        raise BadRequest(
            f"{called} is '{version}', which Koji cannot hold.",
            do="Use letters, digits and + . _ ~ ^ only: no dash, no slash, no blank.",
        )
    _check_length(version, called)
    return version


def check_release(release: str, called: str = "The release") -> str:
    """A release that is given, not counted. Raises BadRequest.

    >>> check_release("3.fc43")
    '3.fc43'
    """
    if not RELEASE.fullmatch(release):
        raise BadRequest(
            f"{called} is '{release}', which is no release.",
            do="Begin with a digit; then letters and digits, joined by single dots or underscores.",
        )
    _check_length(release, called)
    return release


def check_isolated_release(release: str) -> str:
    """The release of an isolated build: two numbers, and more if need be. Raises BadRequest.

    >>> check_isolated_release("3.1"), check_isolated_release("3.1.fc43")
    ('3.1', '3.1.fc43')
    """
    if not ISOLATED_RELEASE.fullmatch(release):
        raise BadRequest(
            f"An isolated build needs a release like 3.1, and got '{release}'.",
            do="Give --release as the release it stands beside, a dot, and a number; 3.1.fc43 too.",
        )
    return release


def main_stream_number(release: str) -> int:
    """The number that the next counted release has to exceed: none of an isolated build.

    >>> [main_stream_number(text) for text in ("3", "3.fc43", "3.1", "3.1.fc43", "fc43")]
    [3, 3, 0, 0, 0]
    """
    match = re.match(r"[0-9]+", release)
    return 0 if not match or ISOLATED_RELEASE.fullmatch(release) else int(match.group())


def check_disttag(text: str, where: str) -> str:
    """What stands behind the number of a counted release. Raises ConfigError, naming `where`.

    A digit behind the dot would make it the release of an isolated build.

    >>> check_disttag(".fc43", "the tag f43-build")
    '.fc43'
    """
    if text and not DISTTAG.fullmatch(text):
        raise ConfigError(
            f"The disttag of {where} is '{text}', which cannot end a release.",
            do="It is a dot, a letter, then letters and digits, as in .fc43.",
        )
    return text


def check_component_suffix(component: str, suffix: str) -> None:
    """The site's rule that keeps containers apart from RPMs in Koji. Raises BadRequest."""
    if not component.endswith(suffix):
        raise BadRequest(
            f"The label com.redhat.component is '{component}', and must end in '{suffix}' here.",
            do=f'Write LABEL com.redhat.component="{component}{suffix}".',
        )

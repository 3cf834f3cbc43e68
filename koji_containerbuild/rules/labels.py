"""Labels: what a Dockerfile must say of its image, and what we add.

Names: the Container Application Generic Labels of Project Atomic, with their older spellings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone

from koji_containerbuild.errors import BadRequest
from koji_containerbuild.rules.nvr import check_name, check_release, check_version
from koji_containerbuild.rules.pullspec import REPOSITORY

OLD_SPELLINGS = {
    "com.redhat.component": "BZComponent",
    "name": "Name",
    "version": "Version",
    "release": "Release",
    "architecture": "Architecture",
    "vendor": "Vendor",
    "authoritative-source-url": "Authoritative_Registry",
    "run": "RUN",
    "install": "INSTALL",
    "uninstall": "UNINSTALL",
}
KEPT = ("distribution-scope", "com.redhat.license_terms")  # the Dockerfile's own value stays
_BAD = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class Written(dict[str, str]):
    """The labels that a Dockerfile gives its image, and the line of each: for our words only."""

    def __init__(self, values: Mapping[str, str], lines: Mapping[str, int]) -> None:
        super().__init__(values)
        self.lines = lines  # from 1


@dataclass(frozen=True)
class Identity:
    """What the required labels say. `release` is empty unless the Dockerfile gives one."""

    component: str  # the Koji package
    name: str  # path in the registry
    version: str
    release: str


def identity(labels: Mapping[str, str]) -> Identity:
    """Read and check the labels that name the build. Raises BadRequest, naming each one missing.

    >>> identity({"com.redhat.component": "web-container", "name": "f/web", "version": "1"})
    Identity(component='web-container', name='f/web', version='1', release='')
    """
    missing = [key for key in ("com.redhat.component", "name", "version") if not of(labels, key)]
    if missing:
        what = "label" if len(missing) == 1 else "labels"
        raise BadRequest(
            f"The Dockerfile lacks the {what} {' and '.join(missing)}.",
            do="Add, in its last stage: "
            + " ".join(["LABEL", *(f'{key}="{_EXAMPLE[key]}"' for key in missing)]),
        )
    release = of(labels, "release")
    return Identity(
        component=check_name(of(labels, "com.redhat.component")),
        name=_check_repository(of(labels, "name")),
        version=check_version(of(labels, "version")),
        release=check_release(release) if release else "",
    )


_EXAMPLE = {"com.redhat.component": "web-container", "name": "fedora/web", "version": "1.0"}


def of(labels: Mapping[str, str], key: str) -> str:
    """The label's value, in its new or else its old spelling; empty if there is none."""
    return labels.get(key) or labels.get(OLD_SPELLINGS.get(key, ""), "")


def _check_repository(name: str) -> str:
    if not REPOSITORY.fullmatch(name) or "." in name.partition("/")[0]:
        raise BadRequest(
            f"The label name is '{name}', which is no path in a registry.",
            do="Write it like fedora/web: lower case, no registry, no tag, "
            "and no dot before the first slash.",
        )
    return name


def to_add(
    site: Mapping[str, str], written: Mapping[str, str], release: str, commit: str, created: int
) -> dict[str, str]:
    """The labels that we put on the image, the same on every arch.

    `created` is in seconds since 1970. A label of the Dockerfile gives way, save those in KEPT.
    """
    labels = {key: value for key, value in site.items() if not (key in KEPT and key in written)}
    for key, old in OLD_SPELLINGS.items():
        if key not in written and old in written:
            labels[key] = written[old]
    when = datetime.fromtimestamp(created, timezone.utc)
    labels |= {
        "build-date": when.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "release": release,
        "vcs-ref": commit,
        "vcs-type": "git",
    }
    for key, value in labels.items():
        if _BAD.search(key + value) or "\n" in key + value:
            raise BadRequest(f"The label {key!r} holds a control character.", do="Remove it.")
    return labels


def instruction(labels: Mapping[str, str]) -> str:
    r"""The LABEL instruction, each value as it is: nothing in it is a variable or an escape.

    >>> instruction({"price": '5 $ "net"'})
    'LABEL "price"="5 \\$ \\"net\\""'
    """
    words = [f"{_quoted(key)}={_quoted(value)}" for key, value in sorted(labels.items())]
    return " \\\n      ".join([f"LABEL {words[0]}", *words[1:]])


def _quoted(text: str) -> str:
    return '"' + re.sub(r'([\\"$])', r"\\\1", text) + '"'

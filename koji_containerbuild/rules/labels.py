"""Labels: what a Dockerfile must say of its image, and what we add.

Names: the Container Application Generic Labels of Project Atomic, with their older spellings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
SCOPE = "distribution-scope"
SCOPES = ("private", "authoritative-source-only", "restricted", "public")  # ever more public
LONGEST_REPOSITORY = 255  # characters; the distribution project's limit
LONGEST_NAME = 255 - len("Dockerfile.original-")  # the image keeps files of that name
KEPT = (SCOPE, "com.redhat.license_terms")  # the Dockerfile's own value stays
ARCH = ("architecture", "Architecture")  # each arch puts its own name in their place
LONGEST_LINE = 65535  # bytes; at a longer one buildah 1.28 stops reading, and says nothing
_BAD = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


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
    missing = [key for key in REQUIRED if not of(labels, key)]
    for key in missing:
        if key in labels or OLD_SPELLINGS[key] in labels:
            raise BadRequest(
                f"{called(labels, key)} is empty.",
                do="Give it a value: a variable in it needs ENV, or ARG with a default, before it "
                "in the same stage.",
            )
    if missing:
        what = "label" if len(missing) == 1 else "labels"
        raise BadRequest(
            f"The Dockerfile lacks the {what} {' and '.join(missing)}.",
            do="Add, in its last stage: "
            + " ".join(["LABEL", *(f'{key}="{_EXAMPLE[key]}"' for key in missing)]),
        )
    component, name, version = REQUIRED
    release = of(labels, "release")
    return Identity(
        component=check_name(of(labels, component), called(labels, component)),
        name=_check_repository(of(labels, name), called(labels, name)),
        version=check_version(of(labels, version), called(labels, version)),
        release=check_release(release, called(labels, "release")) if release else "",
    )


REQUIRED = ("com.redhat.component", "name", "version")
OTHER_KINDS = {
    "com.redhat.delivery.operator.bundle": (
        "Operator bundles are not changed here, so no image in their manifests would be pinned.",
        "Remove the label, and commit the manifests as they are to be shipped.",
    ),
    "com.redhat.delivery.appregistry": (
        "Operators for an app registry are not built here: the format is no longer used.",
        "Remove the label; an operator can be shipped as a bundle.",
    ),
}
_EXAMPLE = {"com.redhat.component": "web-container", "name": "fedora/web", "version": "1.0"}


def of(labels: Mapping[str, str], key: str) -> str:
    """The label's value, in its new or else its old spelling; empty if there is none."""
    return labels.get(key) or labels.get(OLD_SPELLINGS.get(key, ""), "")


def called(labels: Mapping[str, str], key: str) -> str:
    """The label as the user wrote it, and where: how a text begins that is about it.

    >>> called(Written({"Name": "x"}, {"Name": 5}), "name")
    'The label Name in line 5 of the Dockerfile'
    """
    old = OLD_SPELLINGS.get(key, key)
    spelling = key if labels.get(key) or old not in labels else old
    lines = labels.lines if isinstance(labels, Written) else {}
    where = f" in line {lines[spelling]} of the Dockerfile" if spelling in lines else ""
    return f"The label {spelling}{where}"


def _check_repository(name: str, called: str) -> str:
    if len(name) > LONGEST_REPOSITORY:
        raise BadRequest(
            f"{called} has {len(name)} characters, and a registry takes {LONGEST_REPOSITORY}.",
            do="Shorten it.",
        )
    if not REPOSITORY.fullmatch(name) or "." in name.partition("/")[0]:
        raise BadRequest(
            f"{called} is '{name}', which is no path in a registry.",
            do="Write it like fedora/web: lower case, no registry, no tag, "
            "and no dot before the first slash.",
        )
    return name


@dataclass(frozen=True)
class SiteLabels:
    """What the site's configuration says of labels."""

    values: Mapping[str, str] = field(default_factory=dict)  # put on every image
    equal: Sequence[Sequence[str]] = ()  # groups of labels that should agree
    info_url: str = ""  # of the label `url`, with {name} and the like; empty: no such label
    vcs_url: bool = False  # whether to write the label vcs-url


@dataclass(frozen=True)
class Facts:
    """What is known of a build when its labels are made."""

    release: str
    commit: str
    url: str  # of the git repository
    created: int  # seconds since 1970


@dataclass(frozen=True)
class Added:
    """The labels that we put on the image, the same on every arch."""

    labels: Mapping[str, str]
    warnings: tuple[str, ...]


def to_add(
    site: SiteLabels, written: Mapping[str, str], inherited: Mapping[str, str], facts: Facts
) -> Added:
    """A label of the Dockerfile gives way, save those in KEPT. Raises BadRequest.

    `inherited`: of the image that the last stage stands on.
    """
    labels = {k: value for k, value in site.values.items() if not (k in KEPT and k in written)}
    labels |= _automatic(site, written, facts)
    _check_file_name(written, facts.release)
    warnings = [*_aliases(labels, written), *_equal(labels, written, site.equal)]
    labels |= dict(_inherited_aliases({**written, **labels}, inherited))
    if ARCH[1] in {**written, **inherited}:
        labels[ARCH[1]] = ""
    for key, value in labels.items():
        if _BAD.search(key + value):
            raise BadRequest(f"The label {key!r} holds a control character.", do="Remove it.")
        if _is_too_long(key, value):
            raise BadRequest(
                f"The label {key[:100]!r} has {len(value.encode())} bytes. It is put on a line of "
                f"its own, and a builder reads lines of {LONGEST_LINE} bytes, quotes and escapes "
                "with them.",
                do="Shorten it.",
            )
    return Added(labels, tuple(warnings))


def _is_too_long(key: str, value: str) -> bool:
    return len(instruction({key: value}).encode()) > LONGEST_LINE - len("   \\")


def _check_file_name(written: Mapping[str, str], release: str) -> None:
    name = "-".join((*(of(written, key) for key in ("name", "version")), release))
    if len(name) > LONGEST_NAME:
        raise BadRequest(
            f"The labels name, version and release have {len(name)} characters together. A file in "
            f"the image is named after them, and may have {LONGEST_NAME}.",
            do="Shorten the name.",
        )


def _automatic(site: SiteLabels, written: Mapping[str, str], facts: Facts) -> dict[str, str]:
    when = datetime.fromtimestamp(facts.created, timezone.utc)
    labels = {
        "build-date": when.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "release": facts.release,
        "vcs-ref": facts.commit,
        "vcs-type": "git",
    }
    if site.vcs_url:
        labels["vcs-url"] = facts.url
    if site.info_url:
        named = {key.rpartition(".")[2]: of(written, key) for key in REQUIRED}
        known = {**named, "release": facts.release}
        labels["url"] = re.sub(r"\{(\w+)\}", lambda m: known.get(m[1], m[0]), site.info_url)
    return labels


def _aliases(labels: dict[str, str], written: Mapping[str, str]) -> Iterator[str]:
    """An old spelling brings the new one along; where they differ, the old one gives way."""
    for key, old in OLD_SPELLINGS.items():
        if old not in written or key in ARCH:
            continue
        value = labels.get(key) or written.get(key)
        if not value:
            labels[key] = written[old]
        elif value != written[old]:
            labels[old] = value
            if written.get(key):
                yield (
                    f"{called(written, key)} is '{written[key]}', and its old spelling {old} is "
                    f"'{written[old]}'. Both are '{value}' in the image; remove {old}."
                )


def _inherited_aliases(
    ours: Mapping[str, str], inherited: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Old spellings of the parent image would tell of the parent: the same is done about them.

    Nobody is warned, and a value that no label of ours may have is let be: the user has not
    written it.
    """
    for key, old in OLD_SPELLINGS.items():
        if old not in inherited or old in ours or key in ARCH:
            continue
        new = ours.get(key) or inherited.get(key)
        label, value = (old, new) if new else (key, inherited[old])
        fits = not (_BAD.search(value) or _is_too_long(label, value))
        if value != inherited.get(label, "") and fits:
            yield label, value


def _equal(
    labels: dict[str, str], written: Mapping[str, str], groups: Sequence[Sequence[str]]
) -> Iterator[str]:
    """The first label of a group that is there gives its value to those that are not."""
    for group in groups:
        values = {key: labels.get(key) or written.get(key, "") for key in group}
        there = {key: value for key, value in values.items() if value}
        if not there:
            continue
        first = next(iter(there))
        labels |= {key: there[first] for key in group if key not in there}
        for key, value in there.items():
            if value != there[first]:
                yield (
                    f"The labels {first} and {key} should be equal, and are '{there[first]}' and "
                    f"'{value}'."
                )


def with_version(written: Written, version: str) -> Written:
    """The labels with that version, in each spelling that is there and in the new one.

    >>> with_version(Written({"Version": "1"}, {}), "2")
    {'Version': '2', 'version': '2'}
    """
    old = OLD_SPELLINGS["version"]
    both = {old: version, "version": version} if old in written else {"version": version}
    return Written({**written, **both}, written.lines)


def check_kind(written: Mapping[str, str]) -> None:
    """Refuse what the old system made another kind of image of. Raises BadRequest."""
    for key, (what, hint) in OTHER_KINDS.items():
        if written.get(key, "").strip().lower() not in ("", "false"):
            raise BadRequest(f"{called(written, key)} is '{written[key]}'. {what}", do=hint)


def check_scope(own: str, parent: str, image: str) -> None:
    """An image may not be more public than its parent. Empty: the label is not there.

    `image` is the parent's name. Raises BadRequest.
    """
    for value, whose in ((own, "of the image"), (parent, f"of the parent image {image}")):
        if own and value and value not in SCOPES:
            raise BadRequest(
                f"The label {SCOPE} {whose} is '{value}', which is none that we know.",
                do=f"From the least to the most public they are: {', '.join(SCOPES)}.",
            )
    if own and parent and SCOPES.index(own) > SCOPES.index(parent):
        raise BadRequest(
            f"The label {SCOPE} is '{own}', which is more public than the '{parent}' of the parent "
            f"image {image}.",
            do=f"Write LABEL {SCOPE}={parent}, or stand on another parent.",
        )


def instruction(labels: Mapping[str, str]) -> str:
    r"""The LABEL instruction, each value as it is: nothing in it is a variable or an escape.

    >>> instruction({"price": '5 $ "net"'})
    'LABEL "price"="5 \\$ \\"net\\""'
    """
    words = [f"{quoted(key)}={quoted(value)}" for key, value in sorted(labels.items())]
    return " \\\n      ".join([f"LABEL {words[0]}", *words[1:]])


def quoted(text: str) -> str:
    """A word of a LABEL or ENV instruction that stands for this very text."""
    return '"' + re.sub(r'([\\"$])', r"\\\1", text) + '"'

"""What will be built, everything resolved. The task writes it, the buildroot reads it.

The plan alone can build the image again. It holds no secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from koji_containerbuild.contract.codec import from_json, to_json
from koji_containerbuild.rules.levels import IGNORE
from koji_containerbuild.rules.nvr import NVR

VERSION = 1


@dataclass(frozen=True)
class Source:
    """One commit of a git repository."""

    url: str  # as git is given it
    commit: str  # 40 or 64 hex digits
    branch: str
    subfolder: str  # of the Dockerfile; empty: the top
    recorded: str  # as Koji's build record names it


@dataclass(frozen=True)
class ParentBuild:
    """The Koji build that an image was found to be."""

    id: int
    nvr: str


@dataclass(frozen=True)
class Parent:
    """One image that the Dockerfile stands on, resolved once for all arches."""

    written: str  # the words after FROM, variables resolved
    resolved: str  # registry/repository:tag that they meant
    pinned: str  # registry/repository@digest
    final: bool = False  # whether the last stage stands on it in the end
    build: Optional[ParentBuild] = None  # None: not known to Koji, or not asked


@dataclass(frozen=True)
class RepoFile:
    """A yum .repo file, or the CAs for one: there during the build and gone from the image."""

    name: str  # file name
    text: str
    url: str = ""  # where a user's file is from; empty: made by us


@dataclass(frozen=True)
class Download:
    """A file on a web server, known by its checksums."""

    url: str
    checksums: Mapping[str, str]  # algorithm → hex in lower case; at least one
    size: Optional[int] = None  # bytes, where it is known


@dataclass(frozen=True)
class KojiArchive:
    """A file of a Koji build, as Koji knows it."""

    id: int
    nvr: str
    filename: str


@dataclass(frozen=True)
class SourceFile:
    """A file that git does not hold: it comes into the checkout before the build."""

    path: str  # below the folder of the Dockerfile
    download: Download
    origin: str  # lookaside | url | koji
    archive: Optional[KojiArchive] = None  # of `koji`
    source: Optional[Download] = None  # of `url`: its source code, if that is declared


@dataclass(frozen=True)
class Destination:
    """Where the image goes. `floating` tags move only after the Koji build exists."""

    repository: str  # registry/repository
    unique_tag: str  # of this attempt
    primary_tag: str  # version-release; empty for scratch
    floating_tags: tuple[str, ...]

    def arch_tag(self, arch: str) -> str:
        """The unique tag of one arch's image."""
        return f"{self.unique_tag}-{arch}"


@dataclass(frozen=True)
class Limits:
    """What a build may use."""

    seconds: int  # from start to end of the buildroot program


@dataclass(frozen=True)
class Checks:
    """What the finished image must pass before anything is published."""

    tests: tuple[str, ...] = ()  # commands for /bin/sh -c in the image
    max_size: int = 0  # bytes of all layers, uncompressed; 0: any
    signatures: str = IGNORE  # a rules.levels.Level: what becomes of packages signed otherwise
    keys: tuple[str, ...] = ()  # ids that packages may be signed with, 8, 16 or 40 hex digits


@dataclass(frozen=True)
class Autorebuild:
    """When the image wants to be built again by itself; for the record, nothing does it yet."""

    enabled: bool = False  # of .osbs-repo-config
    from_latest: bool = False
    add_timestamp_to_release: bool = False
    ignore_isolated_builds: bool = False


@dataclass(frozen=True)
class KojiFacts:
    """What the plan knows of Koji, for the record; the buildroot does not read it."""

    task_id: int
    owner: str
    target: str
    destination_tag: str
    build_tag: str
    repo_id: int
    event: int
    triggered_after: Optional[int] = None  # task whose build was the reason for this one


@dataclass(frozen=True)
class BuildPlan:
    """One image, for one or more arches."""

    nvr: NVR
    scratch: bool
    isolated: bool
    source: Source
    arches: tuple[str, ...]  # Koji's names: x86_64, aarch64
    parents: tuple[Parent, ...]  # every image after FROM, in order, each once
    repos: tuple[RepoFile, ...]
    labels: Mapping[str, str]  # that we add, the same on every arch
    destination: Destination
    limits: Limits
    created: int  # seconds since 1970: the time that image and layer bear
    files: tuple[SourceFile, ...] = ()
    koji: Optional[KojiFacts] = None  # None: built without Koji
    userdata: Optional[Mapping[str, Any]] = None
    warnings: tuple[str, ...] = ()
    release_env: str = ""  # ENV that holds the release, in every stage; empty: none
    from_images: tuple[str, ...] = ()  # every FROM that names no stage, in order, as written
    checks: Checks = Checks()
    autorebuild: Autorebuild = Autorebuild()
    version: int = VERSION

    def to_json(self) -> str:
        """The text of plan.json."""
        return to_json(self)

    @classmethod
    def from_json(cls, text: str | bytes) -> BuildPlan:
        """Raises codec.NotThisRecord."""
        return from_json(cls, text)

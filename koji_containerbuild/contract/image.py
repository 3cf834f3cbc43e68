"""What one arch's build made: the report that lies beside the image in the registry."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from koji_containerbuild.contract.codec import from_json, to_json

LOG_FILE = "build.log"  # in the artifact: all that the buildroot said


def report_tag(arch_tag: str) -> str:
    """The tag of the report beside an arch's image."""
    return f"{arch_tag}-report"


def log_tag(arch_tag: str) -> str:
    """The tag of the log of an arch's build that failed."""
    return f"{arch_tag}-log"


@dataclass(frozen=True)
class Rpm:
    """A package in the image, as the image's own RPM database has it."""

    name: str
    version: str
    release: str
    epoch: Optional[int]
    arch: str
    sigmd5: str  # hex
    signature: Optional[str]  # key id, 8 or 16 hex digits, lower case; None: not signed

    @property
    def has_checksum(self) -> bool:
        """Keys in the database (gpg-pubkey) have none, and are no packages: Koji has no such."""
        return bool(re.fullmatch("[0-9a-f]{32}", self.sigmd5))

    @property
    def nvra(self) -> str:
        """name-version-release.arch"""
        return f"{self.name}-{self.version}-{self.release}.{self.arch}"


@dataclass(frozen=True)
class Tool:
    """A program that had a hand in the build."""

    name: str
    version: str


@dataclass(frozen=True)
class StageTime:
    """When one stage ran, and how long."""

    stage: str
    seconds: float
    began: float = 0.0  # seconds since 1970; 0: made by an older version, that did not tell


@dataclass(frozen=True)
class ImageIndex:
    """The manifest list or OCI index over the arches, as pushed."""

    digest: str
    media_type: str


@dataclass(frozen=True)
class Layer:
    """One layer, oldest first in a list."""

    diff_id: str
    size: int  # bytes, uncompressed where known, else as stored in the registry


@dataclass(frozen=True)
class Buildroot:
    """Where the image was built, truthfully."""

    host: str
    os: str
    arch: str
    container: str  # none, docker, ...
    tools: tuple[Tool, ...]
    rpms: tuple[Rpm, ...]  # of the buildroot, where it has an RPM database


@dataclass(frozen=True)
class ArchImage:
    """The image of one arch."""

    arch: str  # Koji's name
    digest: str  # of the manifest, as pushed
    media_type: str  # of the manifest
    size: int  # of the manifest, bytes
    config_digest: str
    config: Mapping[str, Any]  # the image's config blob
    parent_config_digest: Optional[str]  # None: FROM scratch
    layers: tuple[Layer, ...]
    rpms: tuple[Rpm, ...]
    help_file: Optional[str]  # name of the help page's source, if there was one
    buildroot: Buildroot
    build_log: tuple[int, ...]  # the builder's raw output in the log: first byte, byte after
    timeline: tuple[StageTime, ...]
    warnings: tuple[str, ...]
    has_rpm_database: bool = True

    def to_json(self) -> str:
        """The text of image.json."""
        return to_json(self)

    @classmethod
    def from_json(cls, text: str | bytes) -> ArchImage:
        """Raises codec.NotThisRecord."""
        return from_json(cls, text)

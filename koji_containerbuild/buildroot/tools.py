"""The outside world, as far as a stage may touch it. Handed in, never imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from koji_containerbuild.buildroot.console import Console
from koji_containerbuild.contract.image import Tool
from koji_containerbuild.registry.client import Registry
from koji_containerbuild.source.file_cache import FileCache


@dataclass(frozen=True)
class BuildJob:
    """One run of the image builder."""

    context: Path  # the folder that COPY copies from
    dockerfile: Path
    image: str  # local name of the result
    files: Mapping[str, Path]  # name for COPY --from → folder
    created: int  # seconds since 1970: the time that image and layer bear


class Container(Protocol):
    """A container of an image, for as long as it is needed: the image does not change."""

    @property
    def tree(self) -> Path:
        """Its files."""

    def run(self, words: Sequence[str], console: Console) -> tuple[int, str]:
        """Run a program in it, without a network; exit status and last lines of its output.

        As the image has it: its user, its environment, its folder.
        """


class Builder(Protocol):
    """Makes images of one arch in a store on this machine."""

    def with_files(self, parent: str, name: str, files: Path, folder: str) -> None:
        """Make the image `name`: `parent` and one layer more, with `files` in `folder`.

        Pulls the parent if need be; nothing is done if the image is there already.
        """

    def pull(self, image: str) -> None:
        """Have registry/repository@digest, of an image and no index, in the store."""

    def build(self, job: BuildJob, console: Console) -> None:
        """Build. Raises InstructionFailed."""

    def labels(self, image: str) -> Mapping[str, str]:
        """The labels of an image in the store, with those of its parent."""

    def layer_sizes(self, image: str) -> Sequence[int]:
        """Bytes of each layer, uncompressed, oldest first."""

    def container(self, image: str) -> AbstractContextManager[Container]:
        """A container of an image, thrown away afterwards."""

    def push(self, image: str, to: str, console: Console) -> None:
        """Push to registry/repository:tag, patiently. Pushing twice is not an error."""

    def remove(self, image: str) -> None:
        """Forget a local image; not there is not an error."""

    def tools(self) -> Sequence[Tool]:
        """The programs that build, with their versions."""


@dataclass(frozen=True)
class Tools:
    """What the recipe works with."""

    builder: Builder
    registry: Registry
    console: Console
    work: Path  # a folder of this build's own, gone afterwards
    files: FileCache

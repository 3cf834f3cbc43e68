"""Give the image exactly one layer of its own, with nothing in it of the layer with the repo files.

Takes:   the file tree of the image; its own layers as compressed tars
Gives:   whether a repo file came into the image; one layer in place of those
Touches: the work folder
Fails:   when a layer is no tar

Mostly there is nothing to do: the builder makes one layer, and the one with the repo files is left
out as a whole. But a last stage that stands on another stage has a layer for each. And a Dockerfile
may edit or remove every file in /etc/yum.repos.d, or copy all of /etc from one stage to another;
then a layer has a copy of a repo file, or a mark that it is gone.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import tarfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, cast

from koji_containerbuild.buildroot.programs import output
from koji_containerbuild.buildroot.rooted import inside
from koji_containerbuild.contract.image import Layer
from koji_containerbuild.contract.plan import RepoFile
from koji_containerbuild.rules.repos import FOLDER, PREFIX

REPO_LAYER_TIME = 0  # seconds since 1970: the time of the files in the layer that is left out
WHITEOUT = ".wh."  # in front of a name in a layer: it is gone (OCI image spec, layer)
OPAQUE = ".wh..wh..opq"  # in a folder: all that lower layers have there is gone


def has_traces(tree: Path, repos: Collection[RepoFile], repo_layer: bool) -> bool:
    """`repo_layer`: whether the image stands on that layer. If so its files are seen, untouched."""
    names = {repo.name for repo in repos}
    if not names:
        return False
    found = _found(tree, names)
    folder = inside(tree, FOLDER)
    expected = {folder / name for name in names} if folder and repo_layer else set()
    return found != expected or any(path.lstat().st_mtime != REPO_LAYER_TIME for path in found)


def without_repos(tree: Path, repos: Collection[RepoFile]) -> None:
    """Take the repo files out of a file tree, wherever they are."""
    for path in _found(tree, {repo.name for repo in repos}) if repos else ():
        path.unlink()


def _found(tree: Path, names: Collection[str]) -> set[Path]:
    command = ["find", str(tree), "-xdev", "-name", f"{PREFIX}*", "!", "-type", "d", "-print0"]
    paths = [Path(os.fsdecode(path)) for path in output(command).split(b"\0")]
    return {path for path in paths if path.name in names}


def one_layer(repos: Collection[RepoFile], layers: Sequence[Path], to: Path) -> Layer:
    """What the layers (oldest first) give together, less the repo files, wherever they are."""
    dropped = {f"{mark}{repo.name}" for repo in repos for mark in ("", WHITEOUT)}
    above = _Above()
    with gzip.GzipFile(to, "wb", compresslevel=6, mtime=0) as packed:
        out = _Hashed(cast("IO[bytes]", packed))
        writer = cast("IO[bytes]", out)
        with tarfile.open(fileobj=writer, mode="w|", format=tarfile.PAX_FORMAT) as new:
            for layer in reversed(layers):  # newest first: what hides stands before what is hidden
                with tarfile.open(layer, "r:gz") as old:
                    for entry in _kept(old, above, dropped):
                        new.addfile(entry, old.extractfile(entry) if entry.isreg() else None)
    return Layer(f"sha256:{out.digest.hexdigest()}", out.size)


@dataclass
class _Above:
    """What the layers above the one at hand have said, by path."""

    folders: set[str] = field(default_factory=set)
    others: set[str] = field(default_factory=set)  # files, links: nothing below shows
    gone: set[str] = field(default_factory=set)
    opaque: set[str] = field(default_factory=set)

    def hides(self, path: str) -> bool:
        """Whether an entry of a lower layer at this path is not seen."""
        named = path in self.folders or path in self.others or path in self.gone
        return named or self.hides_folder_of(path)

    def hides_folder_of(self, path: str) -> bool:
        """Whether nothing of a lower layer is seen where this path is."""
        parents = {str(parent) for parent in PurePosixPath(path).parents}
        return not (
            parents.isdisjoint(self.others)
            and parents.isdisjoint(self.gone)
            and parents.isdisjoint(self.opaque)
        )

    def empties(self, path: str) -> bool:
        """Whether a folder must be told to hide what lies below the thing whose place it took."""
        seen = path in self.folders and path not in self.opaque
        return seen and not self.hides_folder_of(path)


def _kept(
    old: tarfile.TarFile, above: _Above, dropped: Collection[str]
) -> Iterator[tarfile.TarInfo]:
    """The entries of a layer that are seen through those above; `above` is told of this one."""
    here = _Above()
    for entry in old:
        path = _path(entry.name)
        name = path.rpartition("/")[2]
        if name in dropped:
            continue
        if name.startswith(WHITEOUT):
            seen = _is_needed(entry, path, above, here)
        else:
            seen = not above.hides(path)
            (here.folders if entry.isdir() else here.others).add(path)
            if not entry.isdir() and above.empties(path):
                here.opaque.add(path)
                entry, seen = tarfile.TarInfo(f"{path}/{OPAQUE}"), True
        if seen:
            if entry.islnk() and above.hides(_path(entry.linkname)):
                _unlink(old, entry)
            yield entry
    for mine, theirs in zip(vars(above).values(), vars(here).values()):
        mine |= theirs


def _is_needed(entry: tarfile.TarInfo, path: str, above: _Above, here: _Above) -> bool:
    """Whether a mark that something is gone still has something to hide; notes what it hides."""
    folder, _, name = path.rpartition("/")
    if name == OPAQUE:
        here.opaque.add(folder or ".")
        return not above.hides(path)
    target = f"{folder}/{name[len(WHITEOUT) :]}".lstrip("/")
    here.gone.add(target)
    if above.empties(target):
        here.opaque.add(target)
        entry.name = f"{target}/{OPAQUE}"  # it is there again: only what was in it is gone
        return True
    return not above.hides(path) and target not in above.folders | above.others | above.gone


def _unlink(old: tarfile.TarFile, entry: tarfile.TarInfo) -> None:
    """A hard link to a file that a layer above has replaced becomes that file."""
    target = old.getmember(entry.linkname)
    entry.type, entry.size, entry.linkname = tarfile.REGTYPE, target.size, ""
    entry.offset_data = target.offset_data


def _path(name: str) -> str:
    return name.removeprefix("./").strip("/") or "."


class _Hashed:
    """Writes on, and takes note."""

    def __init__(self, to: IO[bytes]) -> None:
        self._to = to
        self.digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self.size += len(data)
        return self._to.write(data)

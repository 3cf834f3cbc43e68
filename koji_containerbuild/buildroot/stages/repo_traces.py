"""Find and remove what a build took over from the layer with the repo files.

Takes:   the file tree of the image; a layer as a compressed tar
Gives:   whether a file of that layer came into the image; the layer without it
Touches: the work folder
Fails:   never

Mostly there is nothing: the layer with the repo files is left out of the image as a whole. But a
Dockerfile may edit or remove every file in /etc/yum.repos.d, or copy all of /etc from one stage to
another, and then its own layer has a copy, or a mark that it is gone.
"""

from __future__ import annotations

import gzip
import hashlib
import tarfile
from collections.abc import Collection
from pathlib import Path
from typing import IO, cast

from koji_containerbuild.buildroot.rooted import inside
from koji_containerbuild.contract.plan import RepoFile

FOLDER = "etc/yum.repos.d"
REPO_LAYER_TIME = 0  # seconds since 1970: the time of the files in the layer that is left out
WHITEOUT = ".wh."  # in front of a name in a layer: gone (OCI image spec, layer)


def has_traces(tree: Path, repos: Collection[RepoFile], repo_layer: bool) -> bool:
    """`repo_layer`: whether the image stands on that layer. If so its files are seen, untouched."""
    if not repos:
        return False
    folder = inside(tree, FOLDER)
    untouched = []
    for repo in repos:
        file = folder / repo.name if folder else None
        here = bool(file and file.is_file() and not file.is_symlink())
        ours = here and cast(Path, file).lstat().st_mtime == REPO_LAYER_TIME
        untouched.append(ours if repo_layer else not here)
    return not all(untouched)


def without_traces(repos: Collection[RepoFile], layer: Path, to: Path) -> str:
    """The same layer, entry for entry, less those of the repo files; returns its diff_id."""
    names = {f"{FOLDER}/{mark}{repo.name}" for repo in repos for mark in ("", WHITEOUT)}
    with gzip.GzipFile(to, "wb", compresslevel=6, mtime=0) as packed:
        out = _Hashed(cast("IO[bytes]", packed))
        with (
            tarfile.open(layer, "r|gz") as old,
            tarfile.open(
                fileobj=cast("IO[bytes]", out), mode="w|", format=tarfile.PAX_FORMAT
            ) as new,
        ):
            for entry in old:
                if entry.name.removeprefix("./").lstrip("/") not in names:
                    new.addfile(entry, old.extractfile(entry) if entry.isreg() else None)
    return f"sha256:{out.digest.hexdigest()}"


class _Hashed:
    """Writes on, and takes note."""

    def __init__(self, to: IO[bytes]) -> None:
        self._to = to
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self._to.write(data)

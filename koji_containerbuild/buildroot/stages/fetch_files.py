"""Bring the files that git does not hold into the checkout.

Takes:   the files of the plan; the folder of the Dockerfile; the cache of this machine
Gives:   nothing
Touches: that folder; the cache; the servers that have the files, unless the cache has them
Fails:   for a file that cannot be had, has another checksum, or is in the commit with other content
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from koji_containerbuild.contract.plan import SourceFile
from koji_containerbuild.errors import BadRequest
from koji_containerbuild.rules.downloads import path_inside
from koji_containerbuild.source.fetch import checksums
from koji_containerbuild.source.file_cache import FileCache


def fetch_files(files: Sequence[SourceFile], folder: Path, cache: FileCache) -> None:
    """Raises BadRequest and ServiceError, naming the file."""
    try:
        for file in files:
            target = _target(file.path, folder)
            if not _is_committed(file, target):
                with target.open("xb") as out:
                    cache.copy(file.path, file.download, out)
    finally:  # a build whose last file cannot be had has filled the cache as well
        if files:
            cache.prune()


def _target(path: str, folder: Path) -> Path:
    """Where it goes; the folders above it are made. What git brought may be a trap."""
    *parents, name = path_inside(path).split("/")
    for parent in parents:
        folder = folder / parent
        try:
            folder.mkdir()
        except FileExistsError as error:
            if not stat.S_ISDIR(folder.lstat().st_mode):
                raise BadRequest(
                    f"{path} cannot be put into {parent}, which is no folder in the commit.",
                    do="Give the file another target, or remove the link.",
                ) from error
    return folder / name


def _is_committed(file: SourceFile, target: Path) -> bool:
    if not os.path.lexists(target):
        return False
    if stat.S_ISREG(target.lstat().st_mode):
        with target.open("rb") as committed:
            if checksums(committed, file.download.checksums) == dict(file.download.checksums):
                return True
    raise BadRequest(
        f"{file.path} is to be fetched from {file.download.url}, and in the commit is "
        "something else of that name.",
        do="Remove the one or the other.",
    )

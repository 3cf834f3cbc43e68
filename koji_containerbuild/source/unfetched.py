"""What a checkout does not hold, though it looks as if: submodules and files in Git LFS.

Neither Koji nor dist-git fetches them, and both would need hosts that no policy has looked at.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from koji_containerbuild.errors import BadRequest
from koji_containerbuild.source.checkout import Checkout

MODULES = ".gitmodules"
POINTER = b"version https://git-lfs.github.com/spec/v1\n"
SHOWN = 100  # characters of a folder in a warning
LARGEST_POINTER = 1024  # bytes, by the specification of Git LFS


def warn_of_submodules(checkout: Checkout) -> tuple[str, ...]:
    """A warning that names the folders which stay empty."""
    text = checkout.read("", MODULES)
    if text is None:
        return ()
    settings = (line.partition("=") for line in text.split("\n"))
    paths = [value.strip()[:SHOWN] for key, _, value in settings if key.strip() == "path"]
    paths = [path for path in paths if path]
    named = f": {', '.join(ascii(path)[1:-1] for path in paths[:5])}" if paths else ""
    more = f" and {len(paths) - 5} more" if len(paths) > 5 else ""
    return (f"Git submodules are not fetched, their folders are empty{named}{more}.",)


def refuse_lfs_pointers(checkout: Checkout, subfolder: str) -> None:
    """Raises BadRequest: they would come into the image in place of the files."""
    folder = checkout.folder(subfolder)
    found = sorted(path.relative_to(folder).as_posix() for path in _pointers(folder))
    if found:
        more = f" and {len(found) - 1} more are" if len(found) > 1 else " is"
        raise BadRequest(
            f"{found[0]}{more} in Git LFS, which is not fetched.",
            do="Upload large files to the lookaside cache: fedpkg new-sources FILE.",
        )


def _pointers(folder: Path) -> Iterator[Path]:
    for name, folders, files in os.walk(folder):
        if ".git" in folders:
            folders.remove(".git")
        for path in (Path(name) / file for file in files):
            about = path.lstat()
            if path.is_symlink() or not len(POINTER) <= about.st_size <= LARGEST_POINTER:
                continue
            with path.open("rb") as file:
                if file.read(len(POINTER)) == POINTER:
                    yield path

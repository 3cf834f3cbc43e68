"""Whether overlays can be made in a folder: they cannot lie on an overlay.

The disk of a container is one.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from koji_containerbuild.devstack.process import run_program
from koji_containerbuild.errors import ServiceError


def works_in(folder: Path) -> bool:
    """Tried, in a mount namespace that goes with the program: nothing is left to be unmounted."""
    with tempfile.TemporaryDirectory(dir=folder.resolve()) as scratch:
        names = ("lower", "upper", "work", "merged")
        lower, upper, work, merged = (Path(scratch) / name for name in names)
        for made in (lower, upper, work, merged):
            made.mkdir()
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        mount = ["mount", "-t", "overlay", "-o", options, "overlay", str(merged)]
        try:
            run_program(["unshare", "--mount", *mount])
        except ServiceError:
            return False
    return True

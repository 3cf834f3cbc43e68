"""Which arches' programs this machine can emulate: what Linux's binfmt_misc has registered.

Source: Documentation/admin-guide/binfmt-misc.rst of Linux. The names are those that Debian, Fedora
and the usual container images give: qemu-aarch64.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

FOLDER = Path("/proc/sys/fs/binfmt_misc")  # empty where it is not mounted
KOJI_ARCH = {"arm": "armv7hl", "i386": "i686"}  # qemu's name to Koji's, where they differ


def emulated(folder: Path = FOLDER) -> Collection[str]:
    """Koji's names of the arches with a handler that is enabled and works in a container.

    That takes the flag F: the interpreter was opened when it was registered, since in the
    container's file tree there is none.
    """
    if "enabled" not in _lines(folder / "status"):
        return ()
    found = []
    for handler in folder.glob("qemu-*"):
        lines = _lines(handler)
        flags = next((line for line in lines if line.startswith("flags:")), "")
        if "enabled" in lines and "F" in flags.partition(":")[2]:
            name = handler.name.partition("-")[2].removesuffix("-static")
            found.append(KOJI_ARCH.get(name, name))
    return found


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:  # not mounted, or gone meanwhile
        return []

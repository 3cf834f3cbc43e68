"""Packages in an RPM database, without their files."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory


def install(database: Path, packages: Sequence[Path]) -> None:
    """Into the database alone."""
    options = ["--dbpath", str(database), "--justdb", "--nodeps", "--ignoreos", "--force-debian"]
    command = ["rpm", *options, "-i", *map(str, packages)]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        command.remove("--force-debian")
        subprocess.run(command, capture_output=True, check=True)


@cache
def no_packages() -> Mapping[str, bytes]:
    """The files of an image whose RPM database is empty."""
    with TemporaryDirectory() as folder:
        subprocess.run(["rpmdb", "--dbpath", folder, "--initdb"], check=True)
        return {"usr/lib/sysimage/rpm/rpmdb.sqlite": Path(folder, "rpmdb.sqlite").read_bytes()}

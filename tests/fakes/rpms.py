"""Packages in an RPM database, without their files."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path


def install(database: Path, packages: Sequence[Path]) -> None:
    """Into the database alone."""
    options = ["--dbpath", str(database), "--justdb", "--nodeps", "--ignoreos", "--force-debian"]
    command = ["rpm", *options, "-i", *map(str, packages)]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        command.remove("--force-debian")
        subprocess.run(command, capture_output=True, check=True)

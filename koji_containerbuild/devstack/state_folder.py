"""A state folder: whose it is, and that only one command at a time changes it."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from koji_containerbuild.errors import ConfigError


@contextmanager
def alone(state: Path, mark: str) -> Iterator[None]:
    """One `up`, `down` or `reset` at a time; a second one waits. Makes the folder.

    `mark` is the file that says whose folder it is: one without it is never changed or deleted.
    """
    if state.exists() and any(state.iterdir()) and not (state / mark).exists():
        raise ConfigError(
            f"{state} holds something else than a devstack.",
            do="Choose an empty folder with --state.",
        )
    while True:
        state.mkdir(parents=True, exist_ok=True)
        with open(state / mark, "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if _is_still(state / mark, lock.fileno()):
                yield
                return


def _is_still(path: Path, descriptor: int) -> bool:
    """A `reset` that was waited for has deleted the folder, and the file that was locked."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def require_ours(state: Path, mark: str) -> None:
    """ConfigError if the folder is there, and not ours."""
    if state.exists() and not (state / mark).exists():
        raise ConfigError(f"{state} is not a devstack's state folder.", do="Check --state.")


def delete(state: Path) -> None:
    """With all that is in it."""
    if state.exists():
        shutil.rmtree(state)

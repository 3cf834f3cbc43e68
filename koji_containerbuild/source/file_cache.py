"""Files from web servers, kept on this machine by checksum for the next build.

Each is named after its strongest checksum. Beside it lies, while it is fetched, what is there so
far: who comes next goes on from there, also after a crash. The lock is on that part.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Optional

from koji_containerbuild.contract.plan import Download
from koji_containerbuild.errors import ServiceError
from koji_containerbuild.rules.downloads import strongest
from koji_containerbuild.source.fetch import MIB, Fetching, FetchLimits, checksums, mib

PART_AGE = 7 * 86400  # seconds; then nobody goes on with a part


class FileCache:
    """Files by checksum in a folder of this machine, safe for several builds at once."""

    def __init__(
        self,
        folder: Path,
        limits: FetchLimits,
        say: Callable[[str], None],
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`say` is given a line for people about each file, and more of them about a long one."""
        self._folder = folder
        self._limits = limits
        self._say = say
        self._sleep = sleep
        self._clock = clock

    def copy(self, name: str, download: Download, to: BinaryIO) -> None:
        """Write the file to `to`, verified. `name` is for messages.

        Raises BadRequest: it is not there, too large, or another one; ServiceError: not to be had.
        A copy and no link: a build that may write to its context must not reach the cache.
        """
        for _ in range(2):
            with self._open(name, download) as kept:
                if checksums(kept, download.checksums, to) == dict(download.checksums):
                    os.utime(kept.fileno())
                    return
            self._path(download).unlink(missing_ok=True)  # the disk has damaged it
            to.seek(0)
            to.truncate()
        raise ServiceError(
            f"{name} was right when it came, and is not in {self._folder}.",
            do="An admin should look at the disk of the builder.",
        )

    def prune(self) -> None:
        """Make room: what was not used for the longest time goes."""
        found = []
        for path in self._folder.glob("*"):
            with suppress(FileNotFoundError):  # another build is doing the same
                about = path.stat()
                found.append((about.st_mtime, about.st_size, path))
        kept = 0
        for used, size, path in sorted(found, reverse=True):
            kept += size
            if path.suffix == ".part" and used < time.time() - PART_AGE:
                _drop_part(path)
            elif path.suffix != ".part" and kept > self._limits.cache_mib * MIB:
                path.unlink(missing_ok=True)

    def _path(self, download: Download) -> Path:
        algorithm = strongest(download.checksums)
        return self._folder / f"{algorithm}-{download.checksums[algorithm]}"

    def _open(self, name: str, download: Download) -> BinaryIO:
        path = self._path(download)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        begun, how = self._clock(), "kept from an earlier build"
        while True:
            with suppress(FileNotFoundError):
                kept = path.open("rb")
                self._say(f"{name}: {mib(os.fstat(kept.fileno()).st_size)}, {how}")
                return kept
            part = path.with_name(f"{path.name}.part")
            with self._locked(name, part) as file:
                if file is not None and not path.exists():
                    Fetching(name, download, file, self._limits, self._say, self._clock).run(
                        self._sleep
                    )
                    part.rename(path)
                    how = f"from {download.url} in {self._clock() - begun:.1f} s"

    @contextmanager
    def _locked(self, name: str, part: Path) -> Iterator[Optional[BinaryIO]]:
        """What is there so far, ours alone; None when another build has finished it meanwhile."""
        with part.open("a+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._say(f"{name}: another build fetches it, waiting")
                fcntl.flock(file, fcntl.LOCK_EX)
            try:
                ours = os.path.samestat(os.fstat(file.fileno()), part.stat())
            except FileNotFoundError:
                ours = False
            yield file if ours else None


def _drop_part(part: Path) -> None:
    """Unless somebody is at it."""
    with suppress(OSError), part.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        part.unlink()

"""One file from a web server, known by its checksums, through whatever the network does to it."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Optional
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError

from koji_containerbuild.contract.plan import Download
from koji_containerbuild.errors import BadRequest, ServiceError
from koji_containerbuild.rules.downloads import is_allowed
from koji_containerbuild.source import http

BLOCK = 256 * 1024  # bytes
MIB = 1024 * 1024
ATTEMPTS = 5  # in a row that bring nothing
BEAT = 10.0  # seconds between two words about one file
_TRY_AGAIN = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class FetchLimits:
    """What one file, and all that is kept of files, may need."""

    file_mib: int
    file_seconds: float
    cache_mib: int
    places: Sequence[str] = ()  # HOST[:PORT][/PATH] that a server may redirect to, beside itself


class _BrokenOff(Exception):
    """It may go better the next time."""


class Fetching:
    """One file on its way into the cache."""

    def __init__(
        self,
        name: str,
        download: Download,
        part: BinaryIO,
        limits: FetchLimits,
        say: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self._name = name
        self._wanted = download
        self._part = part
        self._limits = limits
        self._say = say
        self._clock = clock
        self._end = clock() + limits.file_seconds
        self._spoken = clock()

    def run(self, sleep: Callable[[float], None]) -> None:
        """Until the part is the whole and right. A wrong file is fetched once more from new.

        A part that an earlier build has left is one chance more: it may be of another file.
        """
        chances = 3 if self._size() else 2
        failures = 0
        while True:
            before = self._size()
            try:
                self._read()
            except http.Refused as error:
                raise BadRequest(
                    f"Cannot fetch {self._name} from {self._wanted.url}: {error}.",
                    do="Name the place where it is, if this site allows it.",
                ) from error
            except http.TooSlow as error:
                raise self._too_slow() from error
            except (_BrokenOff, requests.RequestException, HTTPError, UnicodeError) as error:
                failures = 1 if self._size() > before else failures + 1
                reason = f"{_reason(error)}, with {mib(self._size())} there"
                if failures == ATTEMPTS:
                    raise ServiceError(
                        f"Cannot fetch {self._name} from {self._wanted.url}: {reason}.",
                        do="Look whether the server is up, and build again.",
                    ) from error
                self._say(f"{self._name}: {reason}; trying again")
                sleep(2.0 ** (failures - 1))
                continue
            self._part.seek(0)
            found = checksums(self._part, self._wanted.checksums)
            if found == dict(self._wanted.checksums):
                return
            chances -= 1
            if not chances:
                raise self._wrong(found)
            self._say(f"{self._name}: the checksum is wrong; fetching it once more")
            self._part.truncate(0)

    def _read(self) -> None:
        """What is missing of the part, or all of it where the server does not know of ranges."""
        have = self._size()
        if have and have == self._wanted.size:
            return
        headers = {"Range": f"bytes={have}-"} if have else {}
        way = http.Way(self._may_ask, time.monotonic() + self._end - self._clock())
        with http.get(self._wanted.url, way, headers) as answer:
            if answer.status_code == 416 and have:
                return  # there is no more of it; the checksum tells whether that is all
            self._check_status(answer)
            if not _goes_on(answer, have):
                self._part.truncate(0)
                have = 0
            length = answer.headers.get("Content-Length", "")
            total = have + int(length) if re.fullmatch("[0-9]{1,18}", length) else None
            self._check_size(total or 0)
            for block in http.blocks(answer):
                have += len(block)
                self._check_size(have)
                self._part.write(block)
                self._look_at_the_clock(have, total)
        if total is not None and have < total:
            raise _BrokenOff("the connection broke off")

    def _may_ask(self, url: str) -> bool:
        """Below the site's places; where the site itself has named a server, also at this one."""
        places, wanted = self._limits.places, self._wanted.url
        if is_allowed(url, places):
            return True
        same = urlsplit(url).hostname == urlsplit(wanted).hostname
        return same and not is_allowed(wanted, places)

    def _check_status(self, answer: requests.Response) -> None:
        status = answer.status_code
        if status in _TRY_AGAIN:
            raise _BrokenOff(f"the server answered {status}")
        if status not in (200, 206):
            raise BadRequest(
                f"Cannot fetch {self._name}: {self._wanted.url} answered {status}.",
                do="Is the file there? `fedpkg new-sources` uploads one to a lookaside cache.",
            )

    def _check_size(self, size: int) -> None:
        if size > self._limits.file_mib * MIB:
            raise BadRequest(
                f"{self._name} from {self._wanted.url} is larger than "
                f"{self._limits.file_mib} MiB, the limit of this site.",
                do="Use a smaller file, or ask an admin about max_file_mib.",
            )

    def _look_at_the_clock(self, have: int, total: Optional[int]) -> None:
        now = self._clock()
        if now > self._end:
            raise self._too_slow()
        if now >= self._spoken + BEAT:
            self._spoken = now
            of = f" of {mib(total)}" if total else ""
            self._say(f"{self._name}: {mib(have)}{of} so far")

    def _too_slow(self) -> ServiceError:
        return ServiceError(
            f"{self._name} from {self._wanted.url} took more than "
            f"{self._limits.file_seconds:.0f} s; {mib(self._size())} are there.",
            do="Build again: it goes on from there.",
        )

    def _wrong(self, found: Mapping[str, str]) -> BadRequest:
        differs = next(n for n, value in self._wanted.checksums.items() if found[n] != value)
        size = self._size()
        self._part.truncate(0)
        return BadRequest(
            f"{self._name} from {self._wanted.url} is not the file that the source names: its "
            f"{differs} is {found[differs]} ({size} bytes), "
            f"and should be {self._wanted.checksums[differs]}.",
            do="Correct the checksum, or upload the right file.",
        )

    def _size(self) -> int:
        self._part.flush()
        return os.fstat(self._part.fileno()).st_size


def checksums(
    file: BinaryIO, algorithms: Mapping[str, str], to: Optional[BinaryIO] = None
) -> dict[str, str]:
    """Of the file from where it stands to its end, which is copied to `to`."""
    sums = {name: hashlib.new(name, usedforsecurity=False) for name in algorithms}
    while block := file.read(BLOCK):
        for each in sums.values():
            each.update(block)
        if to:
            to.write(block)
    return {name: each.hexdigest() for name, each in sums.items()}


def _goes_on(answer: requests.Response, have: int) -> bool:
    """Whether the answer begins where we were, and not at the first byte."""
    if answer.status_code != 206:
        return False
    if not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
        raise _BrokenOff("the server sent another part than the one that was asked for")
    return True


def _reason(error: BaseException) -> str:
    """The system's words for it, from the bottom of the chain; requests' own are three lines."""
    words = "the connection broke off" if isinstance(error, HTTPError) else str(error)
    at: Optional[BaseException] = error
    while at is not None:
        if isinstance(at, OSError) and at.strerror:
            words = at.strerror
        at = at.__cause__ or at.__context__
    return words[:300]


def mib(size: int) -> str:
    """For people."""
    return f"{size / MIB:.1f} MiB" if size >= MIB / 10 else f"{size} bytes"

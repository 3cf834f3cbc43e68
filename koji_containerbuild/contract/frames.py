r"""A log on its way through a pod's standard output: lines that say which part of it they are.

    SECONDS OFFSET PAYLOAD SIGN     (no blank between payload and sign)

    6920a53c 0 STEP 1/2: FROM fedora+
    6920a53c 16 .~
    6920a53d 17 one\ntwo\nthree*
    6920a53d 24 =

SECONDS: when it was written, by the pod's clock, since 1970; OFFSET: of the payload's first byte in
the log; both in hex. SIGN: `+` a newline follows in the log, `~` none (cut here, or the log ended),
`*` the payload is several lines, with `\n` for a newline and `\b` for a backslash, `=` the log is
complete: OFFSET is its size, and there is no payload.

A container runtime stores lines, cuts long ones, and may take `\r\n` for a newline; so a frame has
less than 16 KiB, and the sign stands behind the payload. Lines that come together are one frame,
since each line costs runtime, kubelet, apiserver and reader more than its bytes. A reader knows
what it has, what it lacks, and when it has all, however often the connection broke; why:
docs/adr/0009-framed-logs.md.
"""

from __future__ import annotations

import re
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

MOST = 7_500  # bytes of log in a frame: escaped it may be twice as long, and is cut at 16 KiB
LONGEST = 64 * 1024  # bytes of a line that is no frame; it is cut there

_FRAME = re.compile(rb"([0-9a-f]{8}) ([0-9a-f]{1,15}) (.*)([+~*=])", re.DOTALL)
_HALF = re.compile(rb"[0-9a-f]{0,8}(?: [0-9a-f]{0,15}(?: .*)?)?", re.DOTALL)


class Framer:
    """Writes a log as frames."""

    def __init__(self, offset: int = 0, clock: Callable[[], float] = time.time) -> None:
        """`offset`: of the first byte that comes, in the log."""
        self._offset = offset
        self._clock = clock

    def frame(self, data: bytes) -> bytes:
        """The frames of the log's next bytes, all of them: nothing is kept back."""
        when = b"%08x" % int(self._clock())
        frames = []
        for start in range(0, len(data), MOST):
            payload, sign = _packed(data[start : start + MOST])
            frames.append(b"%b %x %b%b\n" % (when, self._offset + start, payload, sign))
        self._offset += len(data)
        return b"".join(frames)

    def end(self) -> bytes:
        """The last frame: there is no more."""
        return b"%08x %x =\n" % (int(self._clock()), self._offset)


def _packed(data: bytes) -> tuple[bytes, bytes]:
    """Payload and sign."""
    line, newline, more = data.partition(b"\n")
    if not newline:
        return data, b"~"
    if not more:
        return line, b"+"
    return data.replace(b"\\", b"\\b").replace(b"\n", b"\\n"), b"*"


@dataclass(frozen=True)
class Piece:
    """Bytes of the log."""

    offset: int  # of the first one
    data: bytes


@dataclass(frozen=True)
class Read:
    """What some bytes of frames told."""

    pieces: tuple[Piece, ...]  # only what was not known; between two of them something is lost
    foreign: tuple[bytes, ...] = ()  # lines that are no frames, without newline


class Unframer:
    """Reads frames, over any number of connections, and gives each byte of the log once."""

    def __init__(self, offset: int = 0) -> None:
        """`offset`: of the first byte that is not known yet."""
        self.offset = offset
        self.seconds = 0  # of the last frame, since 1970; 0: there was none
        self.lost = 0  # bytes of the log that will not come
        self.complete = False  # the log's end was seen; nothing comes after it
        self._rest = b""  # of a line, without its end

    def feed(self, data: bytes) -> Read:
        """The next bytes of the connection, cut anywhere."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > LONGEST:  # no frame is so long
            lines.append(self._rest)
            self._rest = b""
        return self._read(lines)

    def close(self) -> Read:
        """The connection has ended, perhaps within a line: half a frame is nothing, and comes
        again with the next connection; half a foreign line is all that there is of it.
        """
        rest, self._rest = self._rest, b""
        return Read(()) if _HALF.fullmatch(rest) else Read((), (rest,))

    def _read(self, lines: list[bytes]) -> Read:
        pieces: list[Piece] = []
        foreign: list[bytes] = []
        part: list[bytes] = []  # of the log, from `start` to `known`
        start = known = self.offset
        when = sign = b""
        fullmatch = _FRAME.fullmatch
        for line in lines:
            match = fullmatch(line)
            if match is None:
                foreign.append(line)
                continue
            when, at, payload, sign = match.groups()
            if sign == b"+":
                payload += b"\n"
            elif sign == b"*":
                payload = payload.replace(b"\\n", b"\n").replace(b"\\b", b"\\")
            offset = int(at, 16)
            if offset > known:
                pieces.append(Piece(start, b"".join(part)))
                part = []
                self.lost += offset - known
                start = known = offset
            elif offset < known:  # it came before, or some of it
                payload = payload[known - offset :]
            part.append(payload)
            known += len(payload)
        pieces.append(Piece(start, b"".join(part)))
        self.offset = known
        self.complete = self.complete or sign == b"="
        self.seconds = int(when, 16) if when else self.seconds
        return Read(tuple(piece for piece in pieces if piece.data), tuple(foreign))


class Foreign:
    """Lines of a log that are no frames: which of them are new, as each connection begins with
    what the one before it may have brought.
    """

    def __init__(self) -> None:
        self._told: deque[tuple[int, float]] = deque(maxlen=1000)  # hash, and not written after
        self._again: Counter[int] = Counter()

    def come_again(self, begin: float) -> None:
        """A connection brings what was written from `begin` on, in seconds since 1970."""
        self._again = Counter(line for line, when in self._told if when >= begin)

    def new(self, lines: Sequence[bytes], seconds: float, framed: bool) -> tuple[bytes, ...]:
        """Those that were not told. `seconds`: of the last frame, `framed`: it came with them."""
        if framed:  # and with it an end to what is older
            self._told = deque(
                [(line, min(when, seconds)) for line, when in self._told], self._told.maxlen
            )
        new = []
        for line in lines:
            key = hash(line)
            if self._again[key]:
                self._again[key] -= 1
            else:
                new.append(line)
                self._told.append((key, inf))
        if framed:  # of what came before, nothing comes any more
            self._again.clear()
        return tuple(new)

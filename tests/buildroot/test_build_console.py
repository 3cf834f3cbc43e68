"""What a build says arrives byte for byte, whoever reads it."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koji_containerbuild.buildroot.console import TAIL, Console
from koji_containerbuild.contract.events import Event
from koji_containerbuild.contract.frames import Piece, Unframer


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def console(log: Path) -> Iterator[Console]:
    console = Console(log, "x86_64")
    yield console
    console.close()


def copied(console: Console, pieces: list[bytes]) -> bytes:
    """What `copy` returns of a program that writes these pieces."""
    source, sink = os.pipe()

    def write() -> None:
        for piece in pieces:
            view = memoryview(piece)
            while view:
                view = view[os.write(sink, view) :]
        os.close(sink)

    writer = threading.Thread(target=write)
    writer.start()
    tail = console.copy(source)
    writer.join()
    os.close(source)
    return tail


@given(pieces=st.lists(st.binary(max_size=20) | st.integers(0, 300_000).map(bytes), max_size=5))
def test_all_bytes_are_in_the_log_and_the_last_come_back(pieces, tmp_path_factory):
    log = tmp_path_factory.mktemp("console") / "log"
    console = Console(log, "x86_64")
    try:
        tail = copied(console, pieces)
    finally:
        console.close()
    whole = b"".join(pieces)
    assert log.read_bytes() == whole
    assert tail == whole[-TAIL:]
    assert console.size == len(whole)


def test_an_event_stands_on_a_line_of_its_own(console: Console, log: Path):
    console.event("one", "started")
    copied(console, [b"no newline"])
    console.event("two", "done", 1.5)
    lines = log.read_text().splitlines()
    assert lines[1] == "no newline"
    assert [Event.parse(line) is not None for line in lines] == [True, False, True]


def test_the_log_goes_on_where_another_has_ended(log: Path):
    log.write_bytes(b"before\n")
    console = Console(log, "x86_64")
    console.say("after \ud800")
    console.close()
    assert log.read_bytes() == b"before\nafter ?\n"
    assert console.size == len(log.read_bytes())


def test_a_reader_that_goes_away_stops_nothing(log: Path):
    source, sink = os.pipe()
    console = Console(log, "x86_64", echo=sink)
    console.say("one")
    assert os.read(source, 100) == b"one\n"
    os.close(source)
    console.say("two")
    console.say("three")
    console.close()
    os.close(sink)
    assert log.read_bytes() == b"one\ntwo\nthree\n"


def test_frames_are_the_log_and_say_when_it_ends(log: Path):
    log.write_bytes(b"before\n")
    source, sink = os.pipe()
    console = Console(log, "x86_64", echo=sink, framed=True)
    unframer = Unframer(7)
    console.write(b"a\xffb\r\nno newline")
    first = unframer.feed(os.read(source, 65536))
    assert (first.pieces, unframer.complete) == ((Piece(7, b"a\xffb\r\nno newline"),), False)
    console.say(".")
    console.end()
    console.end()
    last = unframer.feed(os.read(source, 65536))
    assert (last.pieces, unframer.complete) == ((Piece(22, b".\n"),), True)
    console.close()
    os.close(sink)
    assert os.read(source, 1) == b""
    assert log.read_bytes() == b"before\na\xffb\r\nno newline.\n"


def test_a_full_disk_is_an_error():
    console = Console(Path("/dev/full"), "x86_64")
    with pytest.raises(OSError, match="No space left"):
        console.say("x")
    console.close()


def test_stages_beside_each_other_are_in_one_order_for_all(log: Path, tmp_path: Path):
    echo = os.open(tmp_path / "frames", os.O_WRONLY | os.O_CREAT)
    console = Console(log, "x86_64", echo, framed=True)

    def speak(name: str) -> None:
        for _ in range(500):
            console.event(name, "started")

    speakers = [threading.Thread(target=speak, args=(name,)) for name in ("one", "two", "three")]
    for speaker in speakers:
        speaker.start()
    for speaker in speakers:
        speaker.join()
    console.end()
    console.close()
    os.close(echo)
    unframer = Unframer()
    read = unframer.feed((tmp_path / "frames").read_bytes())
    assert b"".join(piece.data for piece in read.pieces) == log.read_bytes()
    assert (unframer.lost, unframer.complete) == (0, True)


class Ended(BaseException):
    pass


@pytest.mark.parametrize("milliseconds", range(20, 60, 4))
def test_a_signal_in_the_middle_of_writing_leaves_log_and_frames_whole(
    log: Path, milliseconds: int
):
    source, sink = os.pipe()
    console = Console(log, "x86_64", sink, framed=True)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.extend(slowly(source)))
    reader.start()
    before = signal.signal(signal.SIGALRM, lambda number, frame: console.interrupt(Ended()))
    signal.setitimer(signal.ITIMER_REAL, milliseconds / 1000)
    try:
        with pytest.raises(Ended):
            for number in itertools.count():
                console.write(b"".join(b"%d: line %d\n" % (number, line) for line in range(400)))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    console.say("Stage 'build' failed: it took too long.")
    console.end()
    console.close()
    os.close(sink)
    reader.join()
    unframer = Unframer()
    told = unframer.feed(b"".join(read))
    assert b"".join(piece.data for piece in told.pieces) == log.read_bytes()
    assert (told.foreign, unframer.lost, unframer.complete) == ((), 0, True)


def slowly(source: int) -> Iterator[bytes]:
    """So that whoever writes is waiting, most of the time."""
    while block := os.read(source, 8192):
        yield block
        time.sleep(0.001)
    os.close(source)


def test_a_signal_while_nothing_is_written_is_obeyed_at_once(console: Console):
    console.say("x")
    with pytest.raises(Ended):
        console.interrupt(Ended())

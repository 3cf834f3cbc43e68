"""Frames: every byte of a log, in order and once, whatever is cut and however often."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koji_containerbuild.contract.frames import (
    LONGEST,
    MOST,
    Foreign,
    Framer,
    Piece,
    Read,
    Unframer,
)

# What a runtime, a shell or a terminal might take for something else.
BITS = st.sampled_from(
    [
        b"\n",
        b"\r\n",
        b"\r",
        b"\0",
        b"\xff\xfe",
        b" ",
        b"+",
        b"~",
        b"=",
        b"*",
        b"\\",
        b"\\n",
        b"\\b",
        b"\\bn",
        b"6920a53c 0 =\n",
        b"a b c+",
    ]
)
LOGS = st.lists(
    BITS | st.binary(max_size=30) | st.integers(MOST - 3, 3 * MOST).map(lambda n: b"x" * n),
    max_size=12,
).map(b"".join)


def cut(data: bytes, at: list[int]) -> list[bytes]:
    places = sorted({min(n, len(data)) for n in at} | {0, len(data)})
    return [data[a:b] for a, b in zip(places, places[1:])]


CUTS = st.lists(st.integers(0, 60_000) | st.integers(0, 200), max_size=12)


def framed(pieces: list[bytes], clock=lambda: 0x6920A53C) -> bytes:
    framer = Framer(clock=clock)
    return b"".join([*map(framer.frame, pieces), framer.end()])


def lines(frames: bytes) -> list[bytes]:
    return [line + b"\n" for line in frames.split(b"\n")[:-1]]


def joined(*reads: Read) -> bytes:
    return b"".join(piece.data for read in reads for piece in read.pieces)


@given(LOGS, CUTS, CUTS)
def test_every_byte_of_a_log_arrives_in_order_and_once(log, written, arriving):
    unframer = Unframer()
    got = [unframer.feed(piece) for piece in cut(framed(cut(log, written)), arriving)]
    assert joined(*got) == log
    assert (unframer.offset, unframer.lost, unframer.complete) == (len(log), 0, True)
    assert not any(read.foreign for read in got)


@given(
    LOGS, CUTS, st.lists(st.tuples(st.integers(0, 40), st.integers(0, 60_000), CUTS), max_size=5)
)
def test_connections_that_break_and_overlap_make_no_difference(log, written, connections):
    """Each begins with a line that was seen or is the next, and ends anywhere."""
    stream = lines(framed(cut(log, written)))
    unframer = Unframer()
    got = []
    seen = 0  # lines that came whole
    for back, length, arriving in connections:
        first = max(seen - back, 0)
        came = b"".join(stream[first:])[:length]
        got += [unframer.feed(piece) for piece in cut(came, arriving)]
        got.append(unframer.close())
        seen = max(seen, first + came.count(b"\n"))
    got.append(unframer.feed(b"".join(stream[seen:])))
    assert joined(*got) == log
    assert (unframer.lost, unframer.complete) == (0, True)
    assert not any(read.foreign for read in got)


@given(LOGS)
def test_no_frame_is_cut_or_changed_by_a_runtime(log):
    """They cut lines at 16 KiB, and containerd's takes the CR before a newline away."""
    for line in framed([log]).split(b"\n"):
        assert len(line) < 16 * 1024
        assert not line.endswith(b"\r")


@given(st.binary())
def test_no_bytes_are_too_much(data):
    unframer = Unframer()
    unframer.feed(data)
    unframer.close()


def test_a_piece_without_its_newline_is_not_kept_back():
    framer, unframer = Framer(), Unframer()
    assert joined(unframer.feed(framer.frame(b"Working ."))) == b"Working ."
    assert joined(unframer.feed(framer.frame(b".\n"))) == b".\n"
    assert not unframer.complete


def test_a_frame_reads_as_the_documentation_says():
    assert framed([b"STEP 1/2: FROM fedora\n", b".", b"\n", b"one\n\\"]) == (
        b"6920a53c 0 STEP 1/2: FROM fedora+\n6920a53c 16 .~\n6920a53c 17 +\n"
        b"6920a53c 18 one\\n\\b*\n6920a53c 1d =\n"
    )


def test_what_is_lost_is_known_and_the_rest_keeps_its_place():
    one, _, three, end = lines(framed([b"one\n", b"two\n", b"three\n"]))
    unframer = Unframer()
    read = unframer.feed(one + three + end)
    assert read.pieces == (Piece(0, b"one\n"), Piece(8, b"three\n"))
    assert (unframer.lost, unframer.offset, unframer.complete) == (4, 14, True)


def test_an_end_that_was_lost_is_no_end():
    unframer = Unframer()
    unframer.feed(Framer().frame(b"one\n"))
    unframer.close()
    assert not unframer.complete


def test_the_end_says_what_is_lost_before_it():
    unframer = Unframer()
    unframer.feed(b"6920a53c 10 =\n")
    assert (unframer.lost, unframer.complete) == (16, True)


def test_a_reader_that_starts_again_says_from_where():
    unframer = Unframer(offset=4)
    assert unframer.feed(framed([b"one\ntwo\n"])).pieces == (Piece(4, b"two\n"),)


def test_the_time_of_the_last_frame_is_known():
    now = iter([1000.9, 2000.2, 2000.2])
    data = framed([b"one\n", b"two\n"], clock=lambda: next(now))
    unframer = Unframer()
    unframer.feed(data[:-1])
    assert unframer.seconds == 2000


@pytest.mark.parametrize(
    "line",
    [
        b"/usr/bin/python3: No module named koji_containerbuild",
        b"",
        b"6920a53c 0 no sign",
        b"6920A53C 0 x+",
        b"6920a53c  0 x+",
        b"6920a53c 0",
        b"6920a53c fffffffffffffffff x+",
        b"  6920a53c 0 x+",
        b"\xff\0\r",
    ],
)
def test_a_line_that_is_no_frame_is_given_as_it_is(line: bytes):
    unframer = Unframer()
    read = unframer.feed(line + b"\n" + framed([b"one\n"]))
    assert (read.foreign, joined(read)) == ((line,), b"one\n")


def test_the_last_words_of_a_runtime_need_no_newline():
    unframer = Unframer()
    unframer.feed(b"exec: python3: not fou")
    assert unframer.feed(b"nd") == Read(())
    assert unframer.close().foreign == (b"exec: python3: not found",)
    assert unframer.close() == Read(())


def test_a_foreign_line_without_end_does_not_fill_the_memory():
    unframer = Unframer()
    got = [unframer.feed(b"x" * 10_000) for _ in range(20)]
    foreign = [line for read in got for line in read.foreign] + list(unframer.close().foreign)
    assert b"".join(foreign) == b"x" * 200_000
    assert max(map(len, foreign)) < LONGEST + 10_001


def test_many_lines_cost_little():
    """200,000 of 100 bytes: 0.4 s each way where nothing else runs."""
    log = (b"x" * 99 + b"\n") * 200_000
    framer, unframer = Framer(), Unframer()
    begin = time.process_time()
    frames = [framer.frame(log[n : n + 65536]) for n in range(0, len(log), 65536)]
    between = time.process_time()
    got = joined(*map(unframer.feed, frames))
    end = time.process_time()
    assert got == log
    assert between - begin < 1.5 and end - between < 1.5


def test_lines_past_the_log_are_told_once_over_connections():
    foreign = Foreign()
    foreign.come_again(-1)
    assert foreign.new([b"a", b"b", b"b"], 0, False) == (b"a", b"b", b"b")
    foreign.come_again(-1)  # from the start
    assert foreign.new([b"a", b"b"], 0, False) == ()
    assert foreign.new([b"b", b"b", b"c"], 100, True) == (b"b", b"c")
    foreign.come_again(99)
    assert foreign.new([b"b", b"c"], 110, True) == ()
    foreign.come_again(109)  # not b any more; c was written at 110 or before
    assert foreign.new([b"c"], 120, True) == ()
    assert foreign.new([b"c"], 121, True) == (b"c",)
    foreign.come_again(200)
    assert foreign.new([b"c"], 201, True) == ()
    foreign.come_again(300)
    assert foreign.new([b"c"], 301, True) == (b"c",)

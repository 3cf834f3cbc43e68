"""Lines of progress: written for people, read by programs, and never a reason to fail."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koji_containerbuild.contract.events import TASK, Event

STAGES = st.from_regex(r"[^:\n\s][^:\n]{0,38}[^:\n\s]", fullmatch=True)
EVENTS = st.builds(
    Event,
    time=st.integers(0, 4_000_000_000_000).map(lambda ms: ms / 1000),
    arch=st.sampled_from(["x86_64", "aarch64", TASK]),
    stage=STAGES,
    state=st.sampled_from(["started", "failed", "note", "done"]),
    text=st.text(st.characters(exclude_categories=("Cs",))).map(
        lambda text: " ".join(text.split())
    ),
)


@given(EVENTS)
def test_an_event_that_was_written_is_read_again(event: Event):
    read = Event.parse(event.line())
    assert read is not None
    assert (read.arch, read.stage, read.state, read.text) == (
        event.arch, event.stage, event.state, event.text,
    )  # fmt: skip
    assert abs(read.time - event.time) < 0.002


@given(EVENTS, st.text(st.characters(exclude_categories=("Cs",))))
def test_an_event_is_one_line_whatever_it_says(event: Event, text: str):
    line = Event(event.time, event.arch, event.stage, "note", text=text).line()
    assert "\n" not in line
    assert Event.parse(line + "\r\n") is not None


@given(st.binary())
def test_no_bytes_that_a_tool_prints_are_too_much(data: bytes):
    for line in data.split(b"\n"):
        Event.parse(line.decode(errors="replace"))


@pytest.mark.parametrize(
    "time", ["9999-99-99T99:99:99.999Z", "2026-02-30T00:00:00.000Z", "0000-01-01T00:00:00.000Z"]
)
def test_a_time_that_is_none_is_no_event(time: str):
    assert Event.parse(f"{time} x86_64 build: started") is None


@pytest.mark.parametrize(
    "line",
    [
        "",
        "2026-11-20T23:59:54.123Z",
        "2026-11-20T23:59:54.123Z x86_64 build: began",
        "2026-11-20T23:59:54.123Z x86_64 build: done",
        "2026-11-20T23:59:54.123Z X86 build: started",
        " 2026-11-20T23:59:54.123Z x86_64 build: started",
        "2026-11-20T23:59:54.123Z x86_64 build: started by hand",
    ],
)
def test_what_only_looks_like_an_event_is_none(line: str):
    assert Event.parse(line) is None


def test_the_time_a_stage_took_is_read_again():
    event = Event.parse(Event(1.5, "x86_64", "push", "done", 3.284).line())
    assert event == Event(1.5, "x86_64", "push", "done", 3.28)

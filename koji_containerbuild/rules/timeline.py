"""When each stage of a build ran: a chart of 80 columns, ASCII."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

BAR = 28  # characters
NAME = 18  # characters of a stage's name


@dataclass(frozen=True)
class Span:
    """One stage of the task, or of an arch."""

    who: str  # task, or the arch
    stage: str
    began: float  # seconds since 1970
    seconds: float


def in_order(spans: Sequence[Span]) -> list[Span]:
    """As they began."""
    return sorted(spans, key=lambda span: (span.began, span.began + span.seconds))


def render(spans: Sequence[Span]) -> str:
    """One line a stage: who, what, when it began, how long it took, and that as a bar.

    >>> print(render([Span("task", "source", 10, 1), Span("x86_64", "build", 11, 3)]), end="")
    task      source                0.00 s    1.00 s  |#######                     |
    x86_64    build                 1.00 s    3.00 s  |       #####################|
    """
    if not spans:
        return ""
    first = min(span.began for span in spans)
    whole = max(span.began + span.seconds for span in spans) - first
    return "".join(_line(span, first, whole or 1.0) for span in in_order(spans))


def _line(span: Span, first: float, whole: float) -> str:
    begin = round((span.began - first) / whole * BAR)
    end = round((span.began - first + span.seconds) / whole * BAR)
    begin = min(begin, BAR - 1)
    bar = " " * begin + "#" * max(end - begin, 1)
    times = f"{span.began - first:8.2f} s {span.seconds:7.2f} s"
    return f"{span.who:9} {span.stage[:NAME]:{NAME}}{times}  |{bar:{BAR}}|\n"

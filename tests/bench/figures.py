"""A figure, its baseline and its aim; and the table that they are printed in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Optional

HEAD = ("figure", "ours", "±", "raw/old", "ratio", "aim", "")


@dataclass(frozen=True)
class Aim:
    """Below what a figure should be."""

    limit: float
    of_ratio: bool = False  # else: of the figure itself


@dataclass(frozen=True)
class Figure:
    """One row. The ratio of what ran side by side is the median of the pairs' ratios."""

    name: str
    ours: float
    unit: str = "s"
    other: Optional[float] = None
    other_is: str = ""  # raw | old | what else it is
    ratio: Optional[float] = None
    spread: Optional[float] = None  # of ours: half the middle half, as a part of the median
    aim: Optional[Aim] = None

    @property
    def met(self) -> Optional[bool]:
        """None: there is no aim."""
        if self.aim is None:
            return None
        value = self.ratio if self.aim.of_ratio else self.ours
        return value is not None and value <= self.aim.limit

    def row(self) -> tuple[str, ...]:
        """As it is printed."""
        aim, met = "", {None: "", True: "met", False: "MISSED"}[self.met]
        if self.aim:
            unit = "x" if self.aim.of_ratio else f" {self.unit}"
            aim = f"≤ {self.aim.limit:g}{unit}"
        return (
            self.name,
            f"{_number(self.ours)} {self.unit}".rstrip(),
            "" if self.spread is None else f"{self.spread:.0%}",
            "" if self.other is None else f"{_number(self.other)} {self.other_is}",
            "" if self.ratio is None else f"{self.ratio:.2f}x",
            aim,
            met,
        )


def alone(name: str, values: Sequence[float], unit: str = "s", aim: Aim | None = None) -> Figure:
    """A figure that nothing stands beside."""
    return Figure(name, median(values), unit, spread=spread(values), aim=aim)


def beside(
    name: str,
    ours: Sequence[float],
    raw: Sequence[float],
    aim: Aim | None = None,
    what: str = "raw",
) -> Figure:
    """A figure and its baseline, in pairs that ran one after the other."""
    ratio = median(mine / base for mine, base in zip(ours, raw))
    return Figure(name, median(ours), "s", median(raw), what, ratio, spread(ours), aim)


def against_old(
    name: str, values: Sequence[float], unit: str, old: float, aim: Aim | None = None
) -> Figure:
    """A figure beside what the old system had, on another day."""
    ours = median(values)
    return Figure(name, ours, unit, old, "old", ours / old, spread(values), aim)


def spread(values: Sequence[float]) -> float | None:
    """How far the middle half of the values lies around the median; None: too few to say."""
    if len(values) < 3 or not median(values):
        return None
    return (part(values, 0.75) - part(values, 0.25)) / 2 / median(values)


def part(values: Sequence[float], share: float) -> float:
    """The value below which this share of them is: 0.95 for p95."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def table(title: str, figures: Iterable[Figure]) -> str:
    """Aligned columns below a title."""
    rows = [(title, *HEAD[1:]), *(figure.row() for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)) for row in rows]
    lines.insert(1, "-" * (sum(widths) + 2 * len(widths) - 2))
    return "\n".join(line.rstrip() for line in lines)


def _number(value: float) -> str:
    if value >= 100 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"

"""The bench itself is run by hand; what it says of its figures is tested here."""

from __future__ import annotations

import pytest

from tests.bench.__main__ import Found
from tests.bench.figures import Aim, Figure

SLOW = Figure("slow", 2.0, aim=Aim(1.0))
QUICK = Figure("quick", 0.5, aim=Aim(1.0))
BESIDE = Figure("of no aim", 9.0)


@pytest.mark.parametrize(
    ("figures", "strict", "code", "said"),
    [
        ([SLOW, QUICK], False, 0, "1 of 2 aims met. Missed: slow."),
        ([SLOW, QUICK], True, 1, "1 of 2 aims met. Missed: slow."),
        ([QUICK, BESIDE], True, 0, "1 of 1 aims met."),
    ],
)
def test_a_missed_aim_is_said_and_is_an_error_for_who_is_strict(
    figures: list[Figure],
    strict: bool,
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
):
    assert Found([1.0], [("a table", figures)], []).told(None, strict) == code
    assert capsys.readouterr().out.splitlines()[1] == said

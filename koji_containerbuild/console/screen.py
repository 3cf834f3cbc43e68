"""Where progress is shown: lines that stay, and in a terminal a few lines that are updated."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TextIO

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def harmless(text: str) -> str:
    """Text without what would move the cursor or colour the terminal: a build chose the words.

    >>> harmless("done\\x1b[2J\\r\\n")
    'done[2J\\n'
    """
    return _CONTROL.sub("", text)


class Screen:
    """Write to `out`. `columns` gives the width of the terminal, or 0 where there is none."""

    def __init__(self, out: TextIO, columns: Callable[[], int], quiet: bool = False) -> None:
        self._out = out
        self._columns = columns
        self._quiet = quiet
        self._shown: list[str] = []  # the lines that are updated

    @property
    def live(self) -> bool:
        """Whether `show` shows anything."""
        return not self._quiet and self._columns() > 0

    def say(self, text: str) -> None:
        """A line that stays, above those that are updated. Nothing when quiet."""
        if self._quiet:
            return
        self._write(self._erased() + harmless(text) + "\n" + self._block(self._shown))

    def show(self, lines: Sequence[str]) -> None:
        """Put `lines` in the place of those shown before, if there is a terminal."""
        if not self.live:
            return
        width = self._columns() - 1
        fitting = [harmless(line).replace("\n", " ")[:width] for line in lines]
        if fitting != self._shown:
            self._write(self._erased() + self._block(fitting))
            self._shown = fitting

    def result(self, lines: Sequence[str]) -> None:
        """What it was all for; also said when quiet."""
        self.leave()
        self._write("".join(f"{harmless(line)}\n" for line in lines))

    def leave(self) -> None:
        """What is shown stays, and later lines come below it."""
        self._shown = []

    def _erased(self) -> str:
        return f"\x1b[{len(self._shown)}A\x1b[J" if self._shown else ""

    def _block(self, lines: Sequence[str]) -> str:
        return "".join(f"{line}\n" for line in lines)

    def _write(self, text: str) -> None:
        encoding = self._out.encoding or "utf-8"
        self._out.write(text.encode(encoding, "replace").decode(encoding))
        self._out.flush()

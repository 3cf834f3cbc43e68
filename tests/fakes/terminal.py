"""A terminal, as far as our display uses one: it knows newline, cursor up and clear below."""

from __future__ import annotations

import re

_PARTS = re.compile(r"\x1b\[(\d+)A|\x1b\[(J)|(\n)|([^\x1b\n]+)")


class FakeTerminal:
    encoding = "utf-8"

    def __init__(self, columns: int = 80):
        self.columns = columns
        self.lines: list[str] = [""]
        self.row = 0

    def write(self, text: str) -> None:
        for up, clear, newline, words in _PARTS.findall(text):
            if up:
                self.row -= int(up)
                assert self.row >= 0, "above the top"
            elif clear:
                del self.lines[self.row + 1 :]
                self.lines[self.row] = ""
            elif newline:
                self.row += 1
                if self.row == len(self.lines):
                    self.lines.append("")
            else:
                assert len(words) < self.columns, "the line would be wrapped"
                self.lines[self.row] = words

    def flush(self) -> None:
        pass

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

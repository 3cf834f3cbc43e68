"""How Docker and buildah read the words of a LABEL instruction.

Source: `shell_parser.go` and `line_parsers.go` of Docker's Dockerfile parser: between double quotes a
backslash escapes a double quote, a dollar and itself; a dollar begins a variable.
"""

from __future__ import annotations

import re

_CONTINUED = re.compile(r"\\[ \t]*\n")


def read_labels(instruction: str) -> dict[str, str]:
    """The labels of one instruction made of `"key"="value"` words. No variable is set."""
    keyword, _, rest = _CONTINUED.sub("", instruction).partition(" ")
    assert keyword == "LABEL" and "\n" not in rest
    found = {}
    at = 0
    while at < len(rest):
        if rest[at] == " ":
            at += 1
            continue
        key, at = _quoted(rest, at)
        assert rest[at] == "="
        found[key], at = _quoted(rest, at + 1)
    return found


def _quoted(text: str, at: int) -> tuple[str, int]:
    """The value of the quoted word that begins there, and where it ends."""
    assert text[at] == '"'
    value = ""
    at += 1
    while text[at] != '"':
        if text[at] == "\\" and text[at + 1] in '"$\\':
            at += 1
        else:
            assert text[at] != "$", "a variable"
        value += text[at]
        at += 1
    return value, at + 1

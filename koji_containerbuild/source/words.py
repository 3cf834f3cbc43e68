"""The words of a LABEL, ENV or ARG instruction, read as buildah reads them.

Sources: `line_parsers.go` and `shell_parser.go` of openshift/imagebuilder, which is buildah's
reader; tests/source/test_labels_as_buildah.py compares with it. dockerfile-parse, which finds the
instructions, differs within words: it knows no `${X:-y}`, and other escapes. Text comes in without
control characters that some readers take for blanks. Errors are ValueErrors that say what is wrong
in a few words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

DEEPEST = 20  # ${A:-${B:-…}}
LONGEST = 1 << 18  # characters of a value; `ENV A=$A$A`, often enough, would fill any memory


def split(text: str) -> list[str]:
    r"""Words between blanks, quotes and escapes still in them.

    >>> split(r'a="b c" d=e\ f')
    ['a="b c"', 'd=e\\ f']
    """
    words, word, quote, at = [], "", "", 0
    while at < len(text):
        char = text[at]
        at += 1
        if not quote and char.isspace():
            words += [word] if word else []
            word = ""
            continue
        word += char
        if char == "\\" and quote != "'":
            word += text[at : at + 1]
            at += 1
        elif char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
    return [*words, word] if word else words


def pairs(text: str) -> list[tuple[str, str]]:
    """Name and value of each word of a LABEL or ENV, not yet expanded.

    >>> pairs("a=b c=d"), pairs("a  b c")
    ([('a', 'b'), ('c', 'd')], [('a', 'b c')])
    """
    words = split(text)
    if not words:
        raise ValueError("it is empty")
    if "=" not in words[0]:  # the old form: one name, and the rest is its value
        name, *value = re.split(r"[\t\v\f\r ]+", text.strip(), maxsplit=1)
        if not value:
            raise ValueError(f"{name} has no value")
        return [(name, value[0])]
    for word in words:
        if "=" not in word:
            raise ValueError(f"{word} has no =")
    return [(name, value) for name, _, value in (word.partition("=") for word in words)]


def expand(word: str, variables: Mapping[str, str]) -> str:
    r"""Variables filled in, quotes and escapes gone. A variable that is not set is empty.

    >>> expand(r'"$A"-${B:-b}-\$A-$C', {"A": "1"})
    '1-b-$A-'
    """
    return _Word(word, variables).until("")


class _Word:
    def __init__(self, text: str, variables: Mapping[str, str]) -> None:
        self._text, self._at, self._depth, self._filled = text, 0, 0, 0
        self._variables = variables

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _next(self) -> str:
        self._at += 1
        return self._text[self._at - 1 : self._at]

    def until(self, stop: str) -> str:
        """Up to the end, or past the character `stop`."""
        result = ""
        while char := self._next():
            if char == stop:
                return result
            if char == "'":
                result += self._single()
            elif char == '"':
                result += self._double()
            elif char == "$":
                result += self._variable()
            else:
                result += self._next() if char == "\\" else char
        if stop:
            raise ValueError("a ${ has no }")
        return result

    def _single(self) -> str:
        end = self._text.find("'", self._at)
        if end < 0:
            raise ValueError("a ' has no second one")
        inside, self._at = self._text[self._at : end], end + 1
        return inside

    def _double(self) -> str:
        result = ""
        while char := self._next():
            if char == '"':
                return result
            if char == "$":
                result += self._variable()
            elif char == "\\" and self._peek() in ('"', "$", "\\"):
                result += self._next()
            else:
                result += char
        raise ValueError('a " has no second one')

    def _variable(self) -> str:
        if self._peek() != "{":
            name = self._name()
            return self._value(name) if name else "$"
        self._next()
        name = self._name()
        sign = self._next()
        if sign == "}":
            return self._value(name)
        kind = self._next() if sign == ":" else ""
        if kind not in ("-", "+") or not kind:
            raise ValueError(f"of ${{{name}…}} only ${{{name}}}, :- and :+ are known")
        self._depth += 1
        if self._depth > DEEPEST:
            raise ValueError(f"more than {DEEPEST} ${{ are within each other")
        other = self.until("}")
        self._depth -= 1
        value = self._value(name)
        return (other if value else "") if kind == "+" else (value or other)

    def _value(self, name: str) -> str:
        value = self._variables.get(name, "")
        self._filled += len(value)
        if self._filled > LONGEST:
            raise ValueError(f"it has more than {LONGEST} characters")
        return value

    def _name(self) -> str:
        begin = self._at
        while (char := self._peek()) and (char.isalpha() or char.isdecimal() or char == "_"):
            self._at += 1
            if char.isdecimal() and self._at == begin + 1:
                break
        return self._text[begin : self._at]

"""A YAML text as plain values that remember their lines.

Only what JSON could say is read: maps with texts as keys, lists, texts, finite numbers, booleans
and null. The text is not trusted, so its size, its depth and what its aliases stand for are
limited, and no tag makes an object.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Union

import yaml

from koji_containerbuild.errors import BadRequest

MAX_TEXT = 64 * 1024  # characters
MAX_DEPTH = 20
MAX_VALUES = 10_000  # each alias counts as all that it stands for
MAX_DIGITS = 15  # of a number
SHOWN = 100  # characters of a value in a message
BASE = "tag:yaml.org,2002:"
HALF = re.compile("[\ud800-\udfff]")
WHOLE = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
BOOLEANS = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}
QUOTES = "Put the text in quotes."
# What to do about a syntax error, by what is in PyYAML's words or in the line.
HINTS = (
    (r"'\\t'", "Indent with blanks, not with tabs."),
    (r"quoted scalar", "Close the quote."),
    (r"single document", "Keep one document: remove the line with '---'."),
    (r"undefined alias|scanning an alias", "Put a text that begins with * in quotes."),
    (r"scanning an anchor", "Put a text that begins with & in quotes."),
    (r"\{", "Put a text with { } in quotes, such as '{version}'."),
    (r"mapping values are not allowed", "Put a text with ': ' in quotes, and check the indent."),
    (r"cannot start any token|special characters|block scalar|directive", QUOTES),
    (r"flow (sequence|mapping|node)", "Close each [ and {, with commas between the entries."),
)

Path = tuple[Union[str, int], ...]  # keys, and places in lists from 0


@dataclass(frozen=True)
class Document:
    """A file that was read."""

    file: str
    value: Any
    lines: Mapping[Path, int]  # from 1; of the key, or of the entry of a list
    written: Mapping[Path, str]  # scalars as they stand in the file

    def error(self, path: Path, what: str, do: str) -> BadRequest:
        """The error that names file and line."""
        return refusal(self.file, self.line(path), what, do)

    def line(self, path: Path) -> int:
        """The line of that value, or of what it is in."""
        while path not in self.lines:
            path = path[:-1]
        return self.lines[path]


def refusal(file: str, line: int, what: str, do: str) -> BadRequest:
    """An error in one line of a file."""
    return BadRequest(f"{file}, line {line}: {what}", do=do)


def shown(text: object) -> str:
    """A value for a message: of one line, not long, without control characters."""
    words = "".join(c if c.isprintable() else "?" for c in str(text))
    return words if len(words) <= SHOWN else f"{words[:SHOWN]}…"


def place(path: Path) -> str:
    """How messages name a value.

    >>> place(("compose", "packages", 1))
    "'compose.packages', entry 2"
    """
    keys = ".".join(shown(step) for step in path if isinstance(step, str))
    entries = "".join(f", entry {step + 1}" for step in path if isinstance(step, int))
    return f"'{keys}'{entries}"


def load(text: str, file: str) -> Document:
    """Raises BadRequest, naming the line. An empty text is null."""
    if len(text) > MAX_TEXT:
        raise BadRequest(f"{file} is longer than {MAX_TEXT} characters.", do="Make it shorter.")
    try:
        loader = _Composer(text, file)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        what = f"the character U+{error.character:04X} cannot stand in YAML."
        raise refusal(file, line, what, "Remove it.") from error
    try:
        root = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _syntax(text, file, mark.line if mark else 0, error) from error
    except (ValueError, LookupError, OverflowError) as error:  # PyYAML's, for "\UFFFFFFFF"
        what = f"this is not YAML: {shown(error)}."
        raise refusal(file, loader.line + 1, what, QUOTES) from error
    return _Reading(file).document(root)


def _syntax(text: str, file: str, line: int, error: yaml.MarkedYAMLError) -> BadRequest:
    lines = text.split("\n")
    line = min(line, len(lines) - 1)
    words = f"{error.context or ''} {error.problem or ''}".strip()
    near = f"{words} {lines[line]}"
    do = next((hint for cause, hint in HINTS if re.search(cause, near)), "Check the indent.")
    if re.search("^(<<<<<<<|>>>>>>>)", text, re.MULTILINE):
        do = "Resolve the merge conflict."
    return refusal(file, line + 1, f"this is not YAML: {shown(words)}.", do)


class _Composer(yaml.SafeLoader):
    """Stops before a text that is nested without end exhausts the stack."""

    def __init__(self, text: str, file: str) -> None:
        super().__init__(text)
        self._file = file
        self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _too_deep(self._file, self.line + 1)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _too_deep(file: str, line: int) -> BadRequest:
    return refusal(file, line, f"this has more than {MAX_DEPTH} levels.", "Nest less deeply.")


class _Reading:
    """From nodes to values."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._lines: dict[Path, int] = {(): 1}
        self._written: dict[Path, str] = {}
        self._count = 0

    def document(self, root: Any) -> Document:
        value = None if root is None else self._value(root, ())
        return Document(self._file, value, self._lines, self._written)

    def _refused(self, node: Any, what: str, do: str) -> BadRequest:
        return refusal(self._file, _line(node), what, do)

    def _value(self, node: Any, path: Path) -> Any:
        self._count += 1
        self._lines.setdefault(path, _line(node))
        if len(path) > MAX_DEPTH:  # an alias within what it stands for
            raise _too_deep(self._file, self._lines[path])
        if self._count > MAX_VALUES:
            raise self._refused(
                node, f"this is more than {MAX_VALUES} values.", "Use fewer aliases."
            )
        if isinstance(node, yaml.MappingNode) and node.tag == f"{BASE}map":
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{BASE}seq":
            return [self._value(item, (*path, n)) for n, item in enumerate(node.value)]
        if not isinstance(node, yaml.ScalarNode):
            raise self._tagged(node)
        self._written[path] = node.value
        return self._scalar(node)

    def _mapping(self, node: Any, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node)
            if key in result:
                first = self._lines[(*path, key)]
                what = f"the key {place((*path, key))} is given twice, first in line {first}."
                raise self._refused(key_node, what, "Keep one of the two.")
            self._lines[(*path, key)] = _line(key_node)
            result[key] = self._value(value_node, (*path, key))
        return result

    def _key(self, node: Any) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise self._refused(node, "a key is not a text.", "Write 'key: value'.")
        if node.tag == f"{BASE}merge":
            raise self._refused(node, "'<<' is not read here.", "Write the keys out.")
        return self._text(node)

    def _text(self, node: Any) -> str:
        """Nothing could write half of a character down again: PyYAML makes one of "\\ud800"."""
        text = str(node.value)
        if HALF.search(text):
            raise self._refused(node, "the text holds half of a surrogate pair.", "Remove it.")
        return text

    def _scalar(self, node: Any) -> Union[str, int, float, bool, None]:
        kind, text = node.tag.removeprefix(BASE), node.value
        if kind == "str":
            return self._text(node)
        if kind == "null" and text.lower() in ("", "~", "null"):
            return None
        if kind == "bool" and text.lower() in BOOLEANS:
            return BOOLEANS[text.lower()]
        if kind in ("int", "float"):
            return self._number(node, kind)
        if kind == "timestamp":
            raise self._refused(node, f"YAML reads {shown(text)} as a date.", "Put it in quotes.")
        raise self._tagged(node)

    def _number(self, node: Any, kind: str) -> Union[int, float]:
        text = node.value
        what = f"the number {shown(text)} is not read here."
        do = f"Write at most {MAX_DIGITS} plain digits, or put it in quotes if it is a text."
        if len(text) > MAX_DIGITS or not (kind == "float" or WHOLE.fullmatch(text)):
            raise self._refused(node, what, do)
        try:
            number = int(text) if kind == "int" else float(text)
        except ValueError as error:
            raise self._refused(node, what, do) from error
        if not math.isfinite(number):
            raise self._refused(node, what, do)
        return number

    def _tagged(self, node: Any) -> BadRequest:
        tag = node.tag.replace(BASE, "!!")
        do = "Remove the tag, or put the text in quotes."
        return self._refused(node, f"the YAML tag '{shown(tag)}' is not read here.", do)


def _line(node: Any) -> int:
    return int(node.start_mark.line) + 1

"""Frozen records to JSON and back, by their type hints.

Knows: str, int, float, bool, Optional, tuple[X, ...], Mapping[str, X], Any, and records of these.
Reading is strict: an unknown or missing field, or a value of another type, is an error.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

Record = TypeVar("Record")


class NotThisRecord(ValueError):
    """The JSON text is not a record of this type; says where it differs."""


def to_json(record: Any) -> str:
    """One line, keys sorted: equal records give equal text."""
    return json.dumps(dataclasses.asdict(record), sort_keys=True, ensure_ascii=False)


def from_json(kind: type[Record], text: str | bytes) -> Record:
    """The record in `text`. Raises NotThisRecord."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotThisRecord(f"not JSON: {error}") from error
    result: Record = _record(kind, value, kind.__name__)
    return result


def _read(hint: Any, value: Any, where: str) -> Any:
    if hint is Any:
        return value
    if dataclasses.is_dataclass(hint):
        return _record(hint, value, where)
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Union:  # Optional
        return None if value is None else _read(inner[0], value, where)
    if origin is tuple:
        _expect(isinstance(value, list), "a list", where)
        return tuple(_read(inner[0], item, f"{where}[{n}]") for n, item in enumerate(value))
    if origin is Mapping:
        _expect(isinstance(value, dict), "an object", where)
        return {key: _read(inner[1], item, f"{where}.{key}") for key, item in value.items()}
    return _plain(hint, value, where)


def _plain(hint: Any, value: Any, where: str) -> Any:
    if hint is float and type(value) is int:
        return float(value)
    _expect(type(value) is hint, getattr(hint, "__name__", str(hint)), where)
    return value


def _record(kind: Any, value: Any, where: str) -> Any:
    _expect(isinstance(value, dict), "an object", where)
    hints = _hints(kind)
    known = {field.name: field for field in dataclasses.fields(kind)}
    for name in value.keys() - known.keys():
        raise NotThisRecord(f"{where} has an unknown field {name}")
    given = {name: _read(hints[name], item, f"{where}.{name}") for name, item in value.items()}
    try:
        return kind(**given)
    except TypeError as error:
        raise NotThisRecord(f"{where}: {error}") from error


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _expect(right: bool, what: str, where: str) -> None:
    if not right:
        raise NotThisRecord(f"{where} is not {what}")

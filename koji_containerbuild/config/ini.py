"""Sections of an INI file to frozen records, by their type hints.

Knows: str, bool, int, float, Path, Literal, tuple[str, ...] (a list), and Annotated[int, LEAST].
"""

from __future__ import annotations

import configparser
import difflib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from koji_containerbuild.errors import ConfigError

Positive = Annotated[int, 1]  # with the least that makes sense; of a plain number that is 0


def sections(path: Path, missing: str) -> dict[str, dict[str, str]]:
    """The text of each key by section. Raises ConfigError; `missing`: what to do without a file."""
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",), default_section="\0")
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # labels have upper case
    try:
        with path.open(encoding="utf-8") as file:
            parser.read_file(file)
    except OSError as error:
        raise ConfigError(
            f"Cannot read the configuration {path}: {error.strerror}.", do=missing
        ) from error
    except (configparser.Error, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not an INI file: {error}.") from error
    return {name: dict(parser.items(name)) for name in parser.sections()}


def section(kind: Any, given: Mapping[str, str], path: Path, section: str) -> Any:
    """The section of that name as a record of the type `kind`. Raises ConfigError."""
    hints = get_type_hints(kind, include_extras=True)
    values = {}
    for key, text in given.items():
        if key not in hints:
            raise ConfigError(
                f"{path}: unknown key '{key}' in [{section}].", do=nearest(key, hints)
            )
        try:
            values[key] = _read(hints[key], text.strip())
        except ValueError as error:
            raise ConfigError(f"{path}: {key} in [{section}] is '{text}': {error}.") from error
    return kind(**values)


def _read(hint: Any, text: str) -> Any:
    if hint is bool:
        try:
            return configparser.ConfigParser.BOOLEAN_STATES[text.lower()]
        except KeyError as error:
            raise ValueError("write true or false") from error
    if hint in (int, float):
        return _number(hint, text, 0)
    if get_origin(hint) is Annotated:
        return _number(hint.__origin__, text, hint.__metadata__[0])
    if get_origin(hint) is Literal:
        if text not in get_args(hint):
            close = difflib.get_close_matches(text.lower(), get_args(hint), 1)
            meant = f"; did you mean '{close[0]}'" if close else ""
            raise ValueError(f"write {', '.join(get_args(hint))}{meant}")
        return text
    if hint is Path or hint is str:
        return hint(text)
    return tuple(text.replace(",", " ").split())


def _number(kind: Any, text: str, least: int) -> Any:
    try:
        number = kind(text)
    except ValueError as error:
        raise ValueError("write a number") from error
    if not math.isfinite(number) or number < least:
        raise ValueError(f"write a number from {least} on")
    return number


def nearest(name: str, known: Mapping[str, Any]) -> str:
    """What to do about a name that is not known."""
    close = difflib.get_close_matches(name, list(known), 1)
    return f"Did you mean '{close[0]}'?" if close else f"Known are: {', '.join(known)}."

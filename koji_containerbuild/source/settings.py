"""The settings of an image: container.yaml beside the Dockerfile.

Which keys there are, what they hold and what becomes of them is in container.schema.json; so are
the words of the messages. Beside JSON Schema's own words it has

    x-form      what a value must be, in words
    x-default   what counts without the key, in words
    x-refused   why the key is refused: leaving it out would build something else
    x-ignored   why the key has no effect
    x-do        what to do about a key that is refused or has no effect
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

from koji_containerbuild.contract.plan import Autorebuild
from koji_containerbuild.errors import BadRequest
from koji_containerbuild.rules import tags as tag_rules
from koji_containerbuild.rules.arches import canonical
from koji_containerbuild.source import yaml_text
from koji_containerbuild.source.yaml_text import Document, Path, place, shown

FILE = "container.yaml"
KINDS = {
    "string": "a text",
    "array": "a list",
    "object": "a map",
    "integer": "a whole number",
    "boolean": "true or false",
}


@dataclass(frozen=True)
class Settings:
    """What container.yaml says; the defaults are those of an empty file."""

    tags: tuple[str, ...] = tag_rules.DEFAULT  # floating tags, `{label}` not yet filled in
    has_tags: bool = False  # whether the tags are written in the file
    only: tuple[str, ...] = ()  # arches to keep, by Koji's names; empty: all
    exclude: tuple[str, ...] = ()  # arches to drop
    build_seconds: int = 0  # 0: the site's default
    release_env: str = ""  # ENV that gets the release in every stage; empty: none
    version_from_rpm: str = ""  # name of the RPM whose version the image has; empty: none
    tests: tuple[str, ...] = ()  # commands for /bin/sh -c in the finished image
    autorebuild: Autorebuild = Autorebuild()
    warnings: tuple[str, ...] = ()


def read(text: str) -> Settings:
    """Raises BadRequest, naming line and key."""
    document = yaml_text.load(text, FILE)
    _check(document)
    value = {key: item for key, item in (document.value or {}).items() if item is not None}
    _check_refused(document, value)
    platforms = value.get("platforms", {})
    version = value.get("version")
    rebuild = value.get("autorebuild", {})
    return Settings(
        tags=_texts(value["tags"]) if "tags" in value else tag_rules.DEFAULT,
        has_tags="tags" in value,
        only=_arches(platforms.get("only")),
        exclude=_arches(platforms.get("not")),
        build_seconds=int(value.get("buildtime_limit", 0)),
        release_env=value.get("set_release_env", ""),
        version_from_rpm=version["from_rpm"] if isinstance(version, dict) else "",
        tests=_listed(value.get("test")),
        autorebuild=Autorebuild(**{key: bool(item) for key, item in rebuild.items()}),
        warnings=tuple(_warnings(document, value)),
    )


@lru_cache(maxsize=1)
def schema() -> Mapping[str, Any]:
    """What container.yaml may hold."""
    text = resources.files(__package__).joinpath("container.schema.json").read_text("utf-8")
    result: Mapping[str, Any] = json.loads(text)
    return result


@lru_cache(maxsize=1)
def validator() -> Any:
    """The schema, compiled: called when kojid starts, so that no task does it again."""
    import fastjsonschema

    return fastjsonschema.compile(dict(schema()))


def known_keys(part: Mapping[str, Any], above: Path = ()) -> Iterator[tuple[Path, Any]]:
    """All keys below a part of the schema, with what the schema says of each."""
    for key, below in part.get("properties", {}).items():
        yield (*above, key), below
        yield from known_keys(below, (*above, key))


def _check(document: Document) -> None:
    import fastjsonschema

    try:
        validator()(document.value)
    except fastjsonschema.JsonSchemaValueException as error:
        raise _wrong(document, _path(document, error.path), error) from error


def _path(document: Document, names: list[str]) -> Path:
    """Where the validator found something, from its words; they say 'data' for the file."""
    path: Path = ()
    for name in names[1:]:
        step = next((s for s in (name, _number(name)) if (*path, s) in document.lines), None)
        if step is None:  # a key with a dot in it: what it is in must do
            break
        path = (*path, step)
    return path


def _number(name: str) -> int:
    return int(name) if name.isdecimal() else -1


def _wrong(document: Document, path: Path, error: Any) -> BadRequest:
    rules, value = error.definition, error.value
    unknown = (
        [key for key in value if key not in rules["properties"]] if _closed(rules, value) else []
    )
    if unknown:
        return _unknown(document, path, rules, unknown[0])
    if error.rule == "required":
        lacking = next(key for key in rules["required"] if key not in value)
        what = f"{place(path)} lacks the key '{lacking}'."
        return document.error(path, what, _example(path, rules))
    if error.rule == "maxItems":
        what = f"{place(path)} has {len(value)} entries, and the most is {rules['maxItems']}."
        return document.error(path, what, "Write fewer.")
    described = _described(value, document.written.get(path, ""))
    if not path:
        return document.error(path, f"this is {described}.", "Write 'key: value' lines.")
    what = f"{place(path)} is {described}, and must be {_form(rules)}."
    return document.error(path, what, _remedy(path, rules, value, document.written.get(path, "")))


def _closed(rules: Mapping[str, Any], value: Any) -> bool:
    """Whether it is a map that takes certain keys only."""
    return isinstance(value, dict) and rules.get("additionalProperties") is False


def _unknown(document: Document, path: Path, rules: Mapping[str, Any], key: str) -> BadRequest:
    known = rules["properties"]
    close = difflib.get_close_matches(key, known, 1)
    elsewhere = [p for p, _ in known_keys(schema()) if key in (p[-1], ".".join(map(str, p)))]
    if elsewhere and len(elsewhere[0]) > 1:
        do = f"Write '{elsewhere[0][-1]}:' below '{elsewhere[0][-2]}:', with more indent."
    elif elsewhere:
        do = f"Write '{key}:' without indent: it is no part of {place(path)}."
    elif close:
        do = f"Did you mean {place((*path, close[0]))}?"
    else:
        offered = [k for k, of in known.items() if "type" in of and "x-refused" not in of]
        do = f"The keys here are: {', '.join(offered)}."
    return document.error((*path, key), f"unknown key {place((*path, key))}.", do)


def _described(value: Any, written: str) -> str:
    if value is None or value == "":
        return "empty"
    if isinstance(value, (dict, list)):
        return "a map" if isinstance(value, dict) else "a list"
    if isinstance(value, bool):
        return str(value).lower()
    return (
        f"'{shown(value)}'" if isinstance(value, str) else f"the number {shown(written or value)}"
    )


def _form(rules: Mapping[str, Any]) -> str:
    types = rules["type"] if isinstance(rules["type"], list) else [rules["type"]]
    words = " or ".join(KINDS[name] for name in types if name != "null")
    return str(rules.get("x-form", words))


def _remedy(path: Path, rules: Mapping[str, Any], value: Any, written: str) -> str:
    takes_texts = "string" in rules["type"]
    if takes_texts and isinstance(value, (bool, int, float)):
        return f"Put it in quotes: '{shown(written)}'."
    if takes_texts and isinstance(value, dict) and list(value.values()) == [None]:
        return f"Put it in quotes: '{{{shown(next(iter(value)))}}}'."
    return _example(path, rules)


def _example(path: Path, rules: Mapping[str, Any]) -> str:
    if "examples" not in rules:
        return "Correct it." if isinstance(path[-1], str) else "Correct the entry."
    return f"For example: {path[-1]}: {json.dumps(rules['examples'][0])}"


def _check_refused(document: Document, value: Mapping[str, Any]) -> None:
    for key, item in value.items():
        rules = schema()["properties"][key]
        # An empty compose asks for nothing.
        if "x-refused" in rules and (item or key != "compose"):
            what = f"'{key}' is not supported: {rules['x-refused']}."
            raise document.error((key,), what, rules["x-do"])


def _warnings(document: Document, value: Mapping[str, Any]) -> Iterator[str]:
    for key, item in value.items():
        rules = schema()["properties"][key]
        if "x-ignored" in rules and not (key == "version" and isinstance(item, dict)):
            line = document.line((key,))
            why = f"'{key}' has no effect: {rules['x-ignored']}."
            yield f"{FILE}, line {line}: {why} {rules['x-do']}"


def _listed(value: Any) -> tuple[str, ...]:
    return () if value is None else (value,) if isinstance(value, str) else tuple(value)


def _texts(value: Any) -> tuple[str, ...]:
    """A text or a list of texts, each once."""
    return tuple(dict.fromkeys(_listed(value)))


def _arches(value: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(canonical(arch) for arch in _listed(value)))

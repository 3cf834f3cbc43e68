"""The page on container.yaml has the keys, the reasons and the files that the code has."""

from __future__ import annotations

import re
from typing import Any

import pytest

from koji_containerbuild.source import beside, settings, yaml_text
from tests.docs.test_docs import DOCS, rows, sections

PAGE = (DOCS / "container-yaml.md").read_text()
KEYS = [(".".join(map(str, path)), of) for path, of in settings.known_keys(settings.schema())]
WORDS = {"string": "text", "integer": "whole number", "boolean": "true or false", "object": "map"}


def type_of(rules: Any) -> str:
    """As the page writes it."""
    types = [rules["type"]] if isinstance(rules["type"], str) else rules["type"]
    words = {**WORDS, "array": f"list of {WORDS[rules.get('items', {}).get('type', 'string')]}s"}
    if isinstance(rules.get("additionalProperties"), dict):
        words["object"] = "map of lists"
    return " or ".join(words[name] for name in types if name != "null")


def plain(text: str) -> str:
    return text.replace("`", "")


@pytest.mark.parametrize(
    "key, rules", [row for row in KEYS if "type" in row[1]], ids=lambda r: str(r)[:30]
)
def test_each_key_has_its_type_its_default_and_its_meaning(key: str, rules: Any):
    if "x-refused" not in rules:
        row = [key, type_of(rules), rules.get("x-default", ""), plain(rules["description"])]
        assert row in rows(PAGE)


@pytest.mark.parametrize("key, rules", KEYS, ids=lambda r: str(r)[:30])
def test_each_key_that_is_refused_or_without_effect_has_its_reason(key: str, rules: Any):
    why = rules.get("x-refused") or rules.get("x-ignored")
    if why and key not in ("version", "autorebuild"):  # these have words of their own
        assert [key, rules["description"], why, rules["x-do"]] in rows(PAGE)


def test_there_are_no_other_keys_on_the_page():
    found = sections(PAGE, "##")
    parts = (found[name] for name in ("Keys", "Refused", "Without effect"))
    named = {row[0].split()[0] for part in parts for row in rows(part)} - {"key"}
    assert {name for name in named if set(name) != {"-"}} == {key for key, _ in KEYS}


def test_the_examples_on_the_page_can_be_read():
    examples = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert examples
    for text in examples:
        assert not settings.read(text).warnings


def test_the_limits_on_the_page_are_those_of_the_code():
    keys = dict(KEYS)
    assert f"at most {keys['test']['maxItems']} commands" in PAGE
    assert f"At most {keys['tags']['maxItems']}." in PAGE
    assert f"{yaml_text.MAX_TEXT // 1024} KiB and {yaml_text.MAX_DEPTH} levels" in PAGE


@pytest.mark.parametrize(
    "name", [*beside.CONTENT_SETS, *beside.PNC, beside.ADDITIONAL_TAGS, beside.REPO_CONFIG]
)
def test_each_file_beside_it_is_on_the_page(name: str):
    assert f"`{name}`" in sections(PAGE, "##")["Files beside it"]

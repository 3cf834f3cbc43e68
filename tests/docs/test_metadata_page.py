"""The page on metadata has each field of the schema, and no other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from typing import Any

from tests.docs.test_docs import DOCS, rows

SCHEMA = json.loads(
    resources.files("koji_containerbuild.koji_api").joinpath("metadata.schema.json").read_text()
)


def fields(node: dict[str, Any], path: str = "") -> Iterator[str]:
    """The path of each value that is no object of known fields; `[]` stands for a list's items."""
    if "$ref" in node:
        node = SCHEMA["definitions"][node["$ref"].rpartition("/")[2]]
    choices = [one for kind in ("oneOf", "anyOf", "allOf") for one in node.get(kind, ())]
    for one in choices:
        if set(one) != {"required"}:
            yield from fields(one, path)
    if isinstance(node.get("items"), dict):
        yield from fields(node["items"], f"{path}[]")
    elif node.get("properties"):
        for name, inner in node["properties"].items():
            yield from fields(inner, f"{path}.{name}" if path else name)
    elif path and not choices:
        yield path


def test_the_page_has_each_field_of_the_schema():
    table = rows((DOCS / "koji-metadata.md").read_text())
    told = [row[0] for row in table if row[0] not in ("path", "---")]
    assert sorted(told) == sorted(set(fields(SCHEMA)))

"""OpenShift's published schema of the objects that we send and read (data/openshift-build-v1.json)."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastjsonschema

FILE = Path(__file__).parent / "data" / "openshift-build-v1.json"


def check(found: dict[str, Any]) -> dict[str, Any]:
    """The object, if it is valid for its kind. Raises fastjsonschema.JsonSchemaException."""
    _validator(found["kind"])(found)
    return found


@functools.cache
def _validator(kind: str) -> Callable[[Any], Any]:
    document = json.loads(FILE.read_text())
    name = f"com.github.openshift.api.build.v1.{kind}"
    return fastjsonschema.compile(
        {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "$ref": f"#/definitions/{name}",
            "definitions": document["definitions"],
        }
    )

"""What a packager may have kept with a build: a JSON object that database and XML can hold."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from koji_containerbuild.errors import BadRequest

LARGEST = 64 * 1024  # characters, as JSON
DEEPEST = 20  # levels
# Koji answers in XML. In metadata of other origin these are made visible (`metadata.clean`).
NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


def check_userdata(value: Mapping[str, Any]) -> None:
    """Raises BadRequest, naming the key."""
    for where, item in _items(value, "userdata"):
        if not isinstance(item, (str, int, float, type(None))):
            raise BadRequest(f"{where} is nothing that JSON has a word for.", do=_TEXT)
        if isinstance(item, str) and NOT_IN_XML.search(item):
            raise BadRequest(f"{where} holds a character that XML cannot hold.", do="Remove it.")
        if isinstance(item, float) and not math.isfinite(item):
            raise BadRequest(f"{where} is {item}, which JSON has no word for.", do=_TEXT)
        if isinstance(item, int) and not -(2**63) <= item < 2**63:
            raise BadRequest(f"{where} is a number of more than 64 bits.", do=_TEXT)
    if len(json.dumps(value)) > LARGEST:
        raise BadRequest(
            f"userdata has more than {LARGEST} characters.", do="Keep it elsewhere, and link it."
        )


_TEXT = "Write it as a text."


def _items(value: Any, where: str, level: int = 0) -> Iterator[tuple[str, Any]]:
    """All that is not a map or a list, and the path to it."""
    if level > DEEPEST:
        raise BadRequest(f"userdata has more than {DEEPEST} levels.", do="Make it flatter.")
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str) or NOT_IN_XML.search(key):
                raise BadRequest(f"A key of {where} is one that XML cannot hold.", do=_TEXT)
            yield from _items(item, f"{where}.{key:.80}", level + 1)
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from _items(item, f"{where}[{number}]", level + 1)
    else:
        yield where, value

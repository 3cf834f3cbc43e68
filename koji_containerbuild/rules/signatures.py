"""Which keys a target's packages may be signed with."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Optional


def keys_of(target: str, keys: Mapping[str, str]) -> tuple[str, ...]:
    """The key ids for a target, lower case; none when no line is for it.

    `keys` maps patterns, as of a shell, to key ids. A line with the very name counts; else the
    first whose pattern fits. Raises ValueError with a word that is no key id.

    >>> keys_of("f43", {"f4*": "a1b2c3d4", "f43": "0xDEADBEEFA1B2C3D4, 829b6066"})
    ('deadbeefa1b2c3d4', '829b6066')
    """
    fitting = [name for name in keys if fnmatchcase(target, name)]
    name = target if target in keys else next(iter(fitting), None)
    words = keys[name].replace(",", " ").split() if name is not None else []
    ids = tuple(word.lower().removeprefix("0x") for word in words)
    for word, key in zip(words, ids):
        if not re.fullmatch(r"[0-9a-f]{8}|[0-9a-f]{16}", key):
            raise ValueError(word)
    return ids


def is_allowed(signature: Optional[str], keys: Sequence[str]) -> bool:
    """Whether one of the keys made the signature: a short id is the end of a long one.

    >>> is_allowed("829b606631645531", ["31645531"]), is_allowed(None, ["31645531"])
    (True, False)
    """
    return bool(signature) and any(
        str(signature).endswith(key) or key.endswith(str(signature)) for key in keys
    )

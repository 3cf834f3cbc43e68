"""Which keys a target's packages may be signed with."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Optional


def key_ids(text: str) -> tuple[str, ...]:
    """Ids of keys, lower case: the last 8 or 16 digits of a fingerprint, or all 40.

    Raises ValueError with a word that is none.

    >>> key_ids("0xDEADBEEFA1B2C3D4, 829b6066")
    ('deadbeefa1b2c3d4', '829b6066')
    """
    words = text.replace(",", " ").split()
    ids = tuple(word.lower().removeprefix("0x") for word in words)
    for word, key in zip(words, ids):
        if len(key) not in (8, 16, 40) or not re.fullmatch("[0-9a-f]+", key):
            raise ValueError(word)
    return ids


def keys_of(target: str, keys: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The key ids for a target; none when no line is for it.

    `keys` has them by pattern, as of a shell. A line with the very name counts; else the first
    whose pattern fits.

    >>> keys_of("f43", {"f4*": ["a1b2c3d4"], "f43": ["829b6066"]})
    ('829b6066',)
    """
    fitting = [name for name in keys if fnmatchcase(target, name)]
    name = target if target in keys else next(iter(fitting), None)
    return tuple(keys[name]) if name is not None else ()


def signed_with(signature: Optional[str], keys: Sequence[str]) -> bool:
    """Whether one of the keys made the signature: a short id is the end of a long one.

    >>> signed_with("829b606631645531", ["31645531"]), signed_with(None, ["31645531"])
    (True, False)
    """
    return bool(signature) and any(
        str(signature).endswith(key) or key.endswith(str(signature)) for key in keys
    )

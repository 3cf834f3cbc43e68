"""Paths in a file tree that is not ours: an image may hold links that lead anywhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Optional

MAX_LINKS = 20
MAX_NAME = 255  # bytes; Linux has no longer ones


def inside(tree: Path, path: str) -> Optional[Path]:
    """`path` in a file tree that is not ours: its links are followed within the tree only.

    Returns None for what is not there or leads in a circle.
    """
    todo, done, links = path.strip("/").split("/"), [""], 0
    while todo:
        part = todo.pop(0)
        if part in ("", "."):
            continue
        if part == "..":
            done = done[:-1] or [""]
            continue
        here = tree.joinpath(*done, part)
        if len(os.fsencode(part)) > MAX_NAME:
            return None
        if here.is_symlink():
            links += 1
            target = os.readlink(here)
            done = [""] if target.startswith("/") else done
            todo = [*target.split("/"), *todo]
            if links > MAX_LINKS:
                return None
        elif here.exists():
            done = [*done, part]
        else:
            return None
    return tree.joinpath(*done)

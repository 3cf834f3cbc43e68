"""The help page of an image, as its repository has it."""

from __future__ import annotations

from typing import Optional

from koji_containerbuild.errors import BadRequest
from koji_containerbuild.source.checkout import Checkout

HELP = "help.md"


def read_help(checkout: Checkout, subfolder: str) -> Optional[str]:
    """The text of the help page; None: there is none. Raises BadRequest for an empty one."""
    text = checkout.read(subfolder, HELP)
    if text is not None and not text.strip():
        raise BadRequest(f"{HELP} is empty.", do="Write something in it, or remove it.")
    return text

"""Refuse an image that is larger than the site allows.

Takes:   the bytes of the parent's layers and of the image's own, uncompressed; the limit
Gives:   nothing
Touches: nothing
Fails:   when both together are more than the limit
"""

from __future__ import annotations

from koji_containerbuild.errors import BuildFailed

MIB = 1024 * 1024


def check_size(of_parent: int, own: int, limit: int) -> None:
    """Raises BuildFailed with all numbers."""
    if of_parent + own <= limit:
        return
    raise BuildFailed(
        f"The image has {_mib(of_parent + own)} uncompressed, and the limit of the site is "
        f"{_mib(limit)}. {_mib(of_parent)} are the parent's, {_mib(own)} the image's own.",
        do="Take a smaller parent, or install less and clean up in the same RUN."
        if of_parent <= limit
        else "The parent alone is too large: take a smaller one.",
    )


def _mib(size: int) -> str:
    return f"{size / MIB:.1f} MiB"

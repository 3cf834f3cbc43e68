"""Let every FROM name the image that is meant: pinned, or a local one that stands on it.

Takes:   the Dockerfile; a map from image as written to image to use; instructions to add
Gives:   the text of the Dockerfile
Touches: nothing
Fails:   when a FROM was never looked up
"""

from __future__ import annotations

from collections.abc import Mapping

from koji_containerbuild.errors import BuildFailed
from koji_containerbuild.source.dockerfile import Dockerfile, Stage


def rewrite_from(dockerfile: Dockerfile, images: Mapping[str, str], added: str) -> str:
    """Only FROM lines change; stages that stand on stages or on scratch stay as they are.

    What is added stands at the end, so it belongs to the last stage.
    """
    lines = dockerfile.text.split("\n")  # and at nothing else: a form feed ends no line
    for stage in reversed(dockerfile.stages):
        if stage.parent is None:
            continue
        if stage.parent not in images:
            raise BuildFailed(f"The parent image {stage.parent} was never looked up.")
        lines[stage.first_line : stage.last_line + 1] = [_from(stage, images[stage.parent])]
    return "\n".join(lines).rstrip() + f"\n{added}\n"


def _from(stage: Stage, image: str) -> str:
    words = ["FROM", *stage.flags, image, *(["AS", stage.as_written] if stage.name else [])]
    return " ".join(words)

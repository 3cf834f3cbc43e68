"""Let every FROM name the image that is meant: pinned, or a local one that stands on it.

Takes:   the Dockerfile; a map from image as written to image to use; instructions to add, at the
         beginning of each stage and at the end of the last
Gives:   the text of the Dockerfile
Touches: nothing
Fails:   when a FROM was never looked up
"""

from __future__ import annotations

from collections.abc import Mapping

from koji_containerbuild.contract.plan import BuildPlan
from koji_containerbuild.errors import BuildFailed
from koji_containerbuild.rules.labels import quoted
from koji_containerbuild.source.dockerfile import SCRATCH, Dockerfile, Stage


def release_env(plan: BuildPlan) -> str:
    """The instruction that tells the image its release, or nothing."""
    return f"ENV {plan.release_env}={quoted(plan.nvr.release)}" if plan.release_env else ""


def rewrite_from(
    dockerfile: Dockerfile, images: Mapping[str, str], added: str, begin: str = ""
) -> str:
    """Only FROM lines change. One that names a stage names it as the stage is written, since the
    builder would take an image for it where a letter is of another case.

    What is `added` stands at the end, so it belongs to the last stage; `begin` is put after each
    FROM.
    """
    lines = dockerfile.text.split("\n")  # and at nothing else: a form feed ends no line
    for stage in reversed(dockerfile.stages):
        image = _below(dockerfile, stage, images)
        words = ["FROM", image, *(["AS", stage.as_written] if stage.name else [])]
        lines[stage.first_line : stage.last_line + 1] = [" ".join(words), *([begin] * bool(begin))]
    return "\n".join(lines).rstrip() + f"\n{added}\n"


def _below(dockerfile: Dockerfile, stage: Stage, images: Mapping[str, str]) -> str:
    if stage.on_stage is not None:
        return dockerfile.stages[stage.on_stage].as_written
    if stage.parent is None:
        return SCRATCH
    if stage.parent not in images:
        raise BuildFailed(f"The parent image {stage.parent} was never looked up.")
    return images[stage.parent]

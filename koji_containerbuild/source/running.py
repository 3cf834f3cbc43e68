"""Does building an image run programs of the image? Then its arch must be able to run somewhere."""

from __future__ import annotations

from typing import Optional

from koji_containerbuild.source.dockerfile import Dockerfile, Instruction, Stage


def first_run(dockerfile: Dockerfile) -> Optional[Instruction]:
    """The first instruction that runs a program, if any; parents may have triggers that do, too."""
    for stage in needed(dockerfile):
        below = None if stage.on_stage is None else dockerfile.stages[stage.on_stage]
        if found := (below and below.runs_later) or stage.runs:
            return found
    return None


def needed(dockerfile: Dockerfile) -> tuple[Stage, ...]:
    """The stages that are built: buildah (tried: 1.28) leaves out what the last does not need."""
    numbers: set[int] = set()
    todo = [len(dockerfile.stages) - 1]
    while todo:
        stage = dockerfile.stages[todo.pop()]
        if stage.number not in numbers:
            numbers.add(stage.number)
            todo += stage.takes_from
            todo += [] if stage.on_stage is None else [stage.on_stage]
    return tuple(dockerfile.stages[number] for number in sorted(numbers))


def needed_parents(dockerfile: Dockerfile) -> frozenset[str]:
    """The images that these stages stand on, as written."""
    return frozenset(stage.parent for stage in needed(dockerfile) if stage.parent)

"""Add our labels: instructions at the end of the Dockerfile, where they win.

Takes:   the labels of the plan; the arch
Gives:   the instruction
Touches: nothing
Fails:   never
"""

from __future__ import annotations

from koji_containerbuild.contract.plan import BuildPlan
from koji_containerbuild.rules.labels import ARCH, instruction


def inject_labels(plan: BuildPlan, arch: str) -> str:
    """`architecture` is Koji's name of the arch: the one label that differs between arches.

    Its old spelling is in the plan where the image would have it anyhow.
    """
    new, old = ARCH
    spellings = (new, old) if old in plan.labels else (new,)
    return instruction({**plan.labels, **dict.fromkeys(spellings, arch)})

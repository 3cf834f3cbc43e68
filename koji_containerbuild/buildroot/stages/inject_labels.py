"""Add our labels: instructions at the end of the Dockerfile, where they win.

Takes:   the labels of the plan; the arch
Gives:   the instruction
Touches: nothing
Fails:   never
"""

from __future__ import annotations

from koji_containerbuild.contract.plan import BuildPlan
from koji_containerbuild.rules.labels import OLD_SPELLINGS, instruction


def inject_labels(plan: BuildPlan, arch: str) -> str:
    """`architecture` is Koji's name of the arch: the one label that differs between arches."""
    return instruction({**plan.labels, "architecture": arch, **_old(plan, arch)})


def _old(plan: BuildPlan, arch: str) -> dict[str, str]:
    old = OLD_SPELLINGS["architecture"]
    return {old: arch} if old in plan.labels else {}

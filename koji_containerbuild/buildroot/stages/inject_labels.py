"""Add our labels at the end of the Dockerfile, where they win.

Takes:   the text of the Dockerfile; the labels of the plan; the arch
Gives:   the text of the Dockerfile
Touches: nothing
Fails:   never
"""

from __future__ import annotations

from koji_containerbuild.contract.plan import BuildPlan
from koji_containerbuild.rules.labels import instruction


def inject_labels(text: str, plan: BuildPlan, arch: str) -> str:
    """`architecture` is Koji's name of the arch: the one label that differs between arches."""
    labels = {**plan.labels, "architecture": arch}
    return f"{text.rstrip()}\n{instruction(labels)}\n"

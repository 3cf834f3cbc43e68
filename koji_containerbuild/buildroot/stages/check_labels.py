"""Check that the image says of itself what the plan says of it.

Takes:   the plan; the labels of the image that was built
Gives:   nothing
Touches: nothing
Fails:   when component, name, version or release is another one

The plan is made before the build, of labels that we evaluate ourselves; the builder does it again.
Should the two ever differ, nothing is pushed: Koji would hold the image under another name than it
bears.
"""

from __future__ import annotations

from collections.abc import Mapping

from koji_containerbuild.contract.plan import BuildPlan
from koji_containerbuild.errors import BuildFailed
from koji_containerbuild.rules import labels as label_rules
from koji_containerbuild.rules.pullspec import Pullspec


def check_labels(plan: BuildPlan, labels: Mapping[str, str]) -> None:
    """Raises BuildFailed, naming each label that differs and both values."""
    planned = {
        "com.redhat.component": plan.nvr.name,
        "name": Pullspec.parse(plan.destination.repository).repository,
        "version": plan.nvr.version,
        "release": plan.nvr.release,
    }
    built = {key: label_rules.of(labels, key) for key in planned}
    differing = [
        f"The label {key} of the image is '{built[key]}', and the build is planned with "
        f"'{planned[key]}'."
        for key in planned
        if built[key] != planned[key]
    ]
    if differing:
        raise BuildFailed(
            " ".join(differing),
            do="Write the value of the label out, without variables. "
            "An ONBUILD of the parent image may set it, too.",
        )

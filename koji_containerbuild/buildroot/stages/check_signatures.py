"""Compare the signature of every package in the image with the keys that the target allows.

Takes:   the packages, or that nothing is known of them; the policy and the keys
Gives:   warnings
Touches: nothing
Fails:   with the policy `fail`, when a package is not signed with one of the keys

It believes what the image's RPM database says of itself: docs/security.md has what that is worth.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from koji_containerbuild.contract.image import Rpm
from koji_containerbuild.contract.plan import Checks
from koji_containerbuild.errors import BuildFailed
from koji_containerbuild.rules.levels import FAIL
from koji_containerbuild.rules.signatures import signed_with

SHOWN = 20  # packages that are named; the log of a task's error is no place for thousands


def check_signatures(
    rpms: Optional[Sequence[Rpm]], from_scratch: bool, checks: Checks
) -> tuple[str, ...]:
    """`rpms`: None if the image has no RPM database, which is fine for one `from_scratch`."""
    if rpms is None:
        if from_scratch:
            return ()
        return _told("The image has no RPM database, so nothing is known of signatures.", checks)
    foreign = [rpm for rpm in rpms if not signed_with(rpm.signature, checks.keys)]
    if not foreign:
        return ()
    named = [f"{rpm.nvra} ({_signed(rpm)})" for rpm in foreign[:SHOWN]]
    more = [f"and {len(foreign) - SHOWN} more"] if len(foreign) > SHOWN else []
    return _told(
        f"{len(foreign)} of {len(rpms)} packages in the image are not signed with a key of the "
        f"target: {', '.join(named + more)}.",
        checks,
    )


def _told(what: str, checks: Checks) -> tuple[str, ...]:
    if checks.signatures == FAIL:
        keys = ", ".join(checks.keys)
        raise BuildFailed(what, do=f"Use packages and parents that are signed with: {keys}.")
    return (what,)


def _signed(rpm: Rpm) -> str:
    return f"key {rpm.signature}" if rpm.signature else "not signed"

"""Whether Koji lets us build from a place: its own rules, by its own code."""

from __future__ import annotations

from typing import Any

import koji
from koji.daemon import SCM

from koji_containerbuild.errors import BadRequest
from koji_containerbuild.koji_api.lookups import Submitter
from koji_containerbuild.koji_api.session import Session


def check_allowed(
    url: str, kojid: Any, session: Session, submitter: Submitter, scratch: bool
) -> dict[str, Any]:
    """kojid's `allowed_scms` and the hub's policy `build_from_scm`, as kojid is configured.

    `kojid`: its options. Returns what Koji knows of the source, for callbacks. Raises BadRequest.
    """
    try:
        scm = SCM(url)
        scm.assert_allowed(
            allowed=kojid.allowed_scms,
            session=session,
            by_config=getattr(kojid, "allowed_scms_use_config", True),
            by_policy=getattr(kojid, "allowed_scms_use_policy", False),
            policy_data={
                "user_id": submitter.id,
                "channel": submitter.channel,
                "scratch": scratch,
            },
        )
    except koji.GenericError as error:
        raise BadRequest(
            f"This builder may not build from {url}: {error}.",
            do="Use a source that the site allows, or ask the admin (allowed_scms).",
        ) from error
    info: dict[str, Any] = scm.get_info()
    return info

"""What an account may do in a cluster, asked of the cluster itself: nothing is tried out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from koji_containerbuild.engines.api import Api
from koji_containerbuild.engines.permissions import Permission

GROUP = "authorization.k8s.io"
PATIENCE = 15.0  # seconds for an answer


def rights(
    api: Api, namespace: str, permissions: Sequence[Permission], user: str = ""
) -> list[str]:
    """Those of them that we have, or `user` has, each as `get pods`. Raises ApiError."""
    return [
        f"{verb} {permission.resource}"
        for permission in permissions
        for verb in permission.verbs
        if _may(api, namespace, user, permission, verb)
    ]


def _may(api: Api, namespace: str, user: str, permission: Permission, verb: str) -> bool:
    resource, _, subresource = permission.resource.partition("/")
    spec: dict[str, Any] = {
        "resourceAttributes": {
            "namespace": namespace,
            "verb": verb,
            "group": permission.group,
            "resource": resource,
            "subresource": subresource,
        }
    }
    kind = "SelfSubjectAccessReview"
    if user:
        accounts = "system:serviceaccounts"
        groups = [accounts, f"{accounts}:{namespace}", "system:authenticated"]
        spec |= {"user": user, "groups": groups}
        kind = "SubjectAccessReview"
    body = {"apiVersion": f"{GROUP}/v1", "kind": kind, "spec": spec}
    answer = api.call("POST", f"/apis/{GROUP}/v1/{kind.lower()}s", body, patience=PATIENCE)
    return (answer.get("status") or {}).get("allowed") is True

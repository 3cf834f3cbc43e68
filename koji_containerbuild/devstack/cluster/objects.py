"""`kubectl apply`, for the kinds of objects that fedora-infra has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from koji_containerbuild.devstack.cluster.rest import Refused, Rest

RESOURCES: Mapping[str, str] = {
    "BuildConfig": "buildconfigs",
    "ConfigMap": "configmaps",
    "LimitRange": "limitranges",
    "Namespace": "namespaces",
    "NetworkPolicy": "networkpolicies",
    "ResourceQuota": "resourcequotas",
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "Secret": "secrets",
    "ServiceAccount": "serviceaccounts",
}


def apply(api: Rest, found: Mapping[str, Any]) -> None:
    """Server-side apply; what does not know that (the emulation) is asked to create it anew."""
    folder, name = _folder(found), found["metadata"]["name"]
    if found["kind"] == "BuildConfig":
        try:
            api.call("DELETE", f"{folder}/{name}")
        except Refused as error:
            if error.code != 404:
                raise
        api.call("POST", folder, found)
        return
    api.call(
        "PATCH",
        f"{folder}/{name}",
        found,
        params={"fieldManager": "admin", "force": "true"},
        content_type="application/apply-patch+yaml",
    )


def _folder(found: Mapping[str, Any]) -> str:
    """Where the API has it.

    >>> _folder({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "builds"}})
    '/api/v1/namespaces'
    >>> place = {"name": "one", "namespace": "builds"}
    >>> _folder({"kind": "Role", "apiVersion": "rbac.authorization.k8s.io/v1", "metadata": place})
    '/apis/rbac.authorization.k8s.io/v1/namespaces/builds/roles'
    """
    group, resource = found["apiVersion"], RESOURCES[found["kind"]]
    root = "/api/v1" if group == "v1" else f"/apis/{group}"
    if resource == "namespaces":
        return f"{root}/{resource}"
    return f"{root}/namespaces/{found['metadata']['namespace']}/{resource}"

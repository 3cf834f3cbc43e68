"""What an account may do in a cluster, asked of the cluster itself: nothing is tried out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from koji_containerbuild.check.section import PATIENCE
from koji_containerbuild.engines.api import Api
from koji_containerbuild.engines.permissions import TOO_MUCH, Permission

GROUP = "authorization.k8s.io"
# What reads nothing of builds and changes nothing is not looked at: clusters let everybody see
# this and that of their own.
_HARMLESS = ("get", "list", "watch", "use")
_BUILDS = ("", "batch", "rbac.authorization.k8s.io", "build.openshift.io", "*")
# What every account has: Kubernetes' system:basic-user; of OpenShift (bootstrap policy) basic-user,
# system:webhook, system:oauth-token-deleter, system:scope-impersonation, system:image-puller, and
# those system:build-strategy-… that are for everybody.
_EVERYBODY = {
    "create selfsubjectaccessreviews", "create selfsubjectrulesreviews",
    "create selfsubjectreviews",
    "get users ~", "list projectrequests", "list projects", "watch projects",
    "get clusterroles", "list clusterroles", "watch clusterroles",
    "get buildconfigs/webhooks", "create buildconfigs/webhooks",
    "delete oauthaccesstokens", "delete oauthauthorizetokens", "delete useroauthaccesstokens",
    "impersonate userextras/scopes.authorization.openshift.io", "get imagestreams/layers",
    "create builds/docker", "create builds/optimizeddocker", "create builds/source",
    "create builds/jenkinspipeline",
}  # fmt: skip
# With it the check itself sees more.
_OF_THE_CHECK = {
    "list nodes", "get serviceaccounts", "get configmaps", "create subjectaccessreviews",
}  # fmt: skip


@dataclass(frozen=True)
class Account:
    """Ours, in one namespace."""

    api: Api
    namespace: str
    rules: Sequence[Mapping[str, Any]]  # ResourceRule: verbs, apiGroups, resources, resourceNames
    incomplete: bool  # another than RBAC decides, too: the cluster does not know all of them

    def may(self, permission: Permission, verb: str) -> bool:
        """Raises ApiError."""
        wanted = (permission.group, permission.resource, verb)
        if any(_covers(rule, *wanted) for rule in self.rules):
            return True
        return self.incomplete and _may(self.api, self.namespace, "", permission, verb)

    def spare(self, needed: Sequence[Permission]) -> list[str]:
        """What it may do besides, as far as that does harm. Raises ApiError."""
        known = {
            (permission.group, permission.resource, verb)
            for permission in needed
            for verb in permission.verbs
        }
        found = [
            name
            for rule in self.rules
            for right, name in _rights_of(rule)
            if right not in known and _harms(right, name)
        ]
        if self.incomplete:
            found += rights(self.api, self.namespace, TOO_MUCH)
        return list(dict.fromkeys(found))


def ours(api: Api, namespace: str) -> Account:
    """All at once. Raises ApiError."""
    kind = "SelfSubjectRulesReview"
    status = _review(api, kind, {"namespace": namespace})
    return Account(
        api, namespace, status.get("resourceRules") or (), status.get("incomplete") is True
    )


def _covers(rule: Mapping[str, Any], group: str, resource: str, verb: str) -> bool:
    """A rule for objects of certain names is not enough.

    >>> rule = {"apiGroups": ["*"], "resources": ["*/log"], "verbs": ["get"]}
    >>> _covers(rule, "", "pods/log", "get"), _covers(rule, "", "pods", "get")
    (True, False)
    """
    _, slash, subresource = resource.partition("/")
    resources = (resource, "*", f"*/{subresource}") if slash else (resource, "*")
    return (
        not rule.get("resourceNames")
        and any(each in rule.get("apiGroups", ()) for each in (group, "*"))
        and any(each in rule.get("resources", ()) for each in resources)
        and any(each in rule["verbs"] for each in (verb, "*"))
    )


def _rights_of(rule: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str, str], str]]:
    """Group, resource and verb; and the same as it is told: `get secrets NAME`."""
    names = " ".join(("", *(rule.get("resourceNames") or ())))
    of = (rule.get("apiGroups") or ("",), rule.get("resources") or (), rule["verbs"])
    for group, resource, verb in product(*of):
        yield (group, resource, verb), f"{verb} {resource}{names}"


def _harms(right: tuple[str, str, str], name: str) -> bool:
    group, _, verb = right
    return name not in _EVERYBODY | _OF_THE_CHECK and (verb not in _HARMLESS or group in _BUILDS)


def rights(
    api: Api, namespace: str, permissions: Sequence[Permission], user: str = ""
) -> list[str]:
    """Those of them that we have, or `user` has, each as `get pods`. Raises ApiError.

    One by one: a cluster tells nobody all that another may do.
    """
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
    return _review(api, kind, spec).get("allowed") is True


def _review(api: Api, kind: str, spec: Mapping[str, Any]) -> Mapping[str, Any]:
    body = {"apiVersion": f"{GROUP}/v1", "kind": kind, "spec": spec}
    answer = api.call("POST", f"/apis/{GROUP}/v1/{kind.lower()}s", body, patience=PATIENCE)
    return answer.get("status") or {}

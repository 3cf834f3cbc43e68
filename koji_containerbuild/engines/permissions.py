"""What the builders' account needs in a cluster: the Roles of fedora-infra, said once.

Who may make Jobs or Builds that run privileged is root on the nodes that run them, whatever else is
not allowed; so this is about mistakes, and about what is in the namespace besides.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Permission:
    """A rule of a Role."""

    group: str  # of the API; empty: Kubernetes' first
    resource: str  # with a subresource behind /
    verbs: tuple[str, ...]
    what_for: str

    def __str__(self) -> str:
        """
        >>> str(Permission("batch", "jobs", ("get", "list"), ""))
        'get, list jobs.batch'
        """
        name = f"{self.resource}.{self.group}" if self.group else self.resource
        return f"{', '.join(self.verbs)} {name}"


_FOLLOWING = (
    Permission("", "pods", ("list", "watch"), "see how a build comes along, and how it ended"),
    Permission("", "pods/log", ("get",), "follow its log"),
    Permission("", "events", ("list", "watch"), "tell why a build does not start"),
)
KUBERNETES = (
    Permission(
        "batch", "jobs", ("create", "get", "list", "patch", "delete"),
        "begin a build, find it again, cancel it, clear it away",
    ),
    Permission("", "secrets", ("create",), "hand over the plan; none is ever read"),
    *_FOLLOWING,
)  # fmt: skip
OPENSHIFT = (
    Permission("build.openshift.io", "buildconfigs", ("get",), "check what builds are made from"),
    Permission("build.openshift.io", "buildconfigs/instantiate", ("create",), "begin a build"),
    Permission("build.openshift.io", "builds/custom", ("create",), "OpenShift asks for it"),
    Permission(
        "build.openshift.io", "builds", ("get", "list", "patch", "delete"),
        "find a build again, cancel it, clear it away",
    ),
    *_FOLLOWING,
)  # fmt: skip
OF_ENGINE = {"kubernetes": KUBERNETES, "openshift": OPENSHIFT}
# What the account would do harm with, and has no use for.
TOO_MUCH = (
    Permission("", "secrets", ("get", "list"), "passwords of the registry"),
    Permission("", "pods", ("create",), "what is in any Secret of the namespace"),
    Permission("", "pods/exec", ("create",), "what is in a running build"),
    Permission("", "serviceaccounts/token", ("create",), "the tokens of others"),
    Permission("rbac.authorization.k8s.io", "rolebindings", ("create",), "more permissions"),
    Permission("build.openshift.io", "builds", ("create",), "builds that no BuildConfig has set"),
    Permission("build.openshift.io", "buildconfigs", ("patch",), "other images, other Secrets"),
)

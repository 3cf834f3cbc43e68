"""The objects that a build is in Kubernetes: a Job with its pod, and a Secret with its plan. Pure.

This is the only place that writes them, so it is the one to read for what a pod of ours may do.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from koji_containerbuild.config.cluster import ClusterConfig
from koji_containerbuild.contract.plan import BuildPlan
from koji_containerbuild.errors import BadRequest

OURS = "koji-containerbuild"
MANAGED = "app.kubernetes.io/managed-by"  # label: koji-containerbuild
JOB = "koji-containerbuild/job"  # label: name of the job, of hub and task
ARCH = "koji-containerbuild/arch"  # label: Koji's name
ATTEMPT = "koji-containerbuild/attempt"  # label: 1, and more after the cluster has lost it
PLAN = "koji-containerbuild/plan"  # annotation: sha256 of plan.json
CANCELLED = "koji-containerbuild/cancelled"  # annotation: whoever comes sees that it was

CONTAINER = "buildroot"
PROGRAM = ("python3", "-m", "koji_containerbuild.buildroot")
RUN = "/run/koji-containerbuild"  # plan/plan.json, registry/auth.json, ca/ca.crt
CONFIG = "/etc/koji-containerbuild"
LARGEST_PLAN = 1024 * 1024  # bytes: Kubernetes takes no larger Secret
GRACE = 5  # seconds to clean up when it is told to end
KEPT = 24 * 3600  # seconds that an ended Job stays if nobody removes it
SLACK = 60  # seconds: the program's own time limit speaks first
GO_ARCH = {
    "x86_64": "amd64", "i686": "amd64", "aarch64": "arm64", "armv7hl": "arm",
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One arch of a job, for the first time or again."""

    job: str
    arch: str
    attempt: int = 1

    @property
    def name(self) -> str:
        """Of the objects: lower case letters, digits and `-`, at most 63 characters.

        >>> Run("kcb-12ab34cd-77", "x86_64").name
        'kcb-12ab34cd-77-x86-64'
        """
        again = f"-{self.attempt}" if self.attempt > 1 else ""
        return f"{self.job}-{self.arch.replace('_', '-')}{again}"

    @property
    def labels(self) -> dict[str, str]:
        """Of everything that belongs to it."""
        return {MANAGED: OURS, JOB: self.job, ARCH: self.arch, ATTEMPT: str(self.attempt)}


def plan_hash(plan: str) -> str:
    """Of plan.json: equal plans are one build."""
    return hashlib.sha256(plan.encode()).hexdigest()


def job(
    run: Run,
    plan: BuildPlan,
    secret_name: str,
    cluster: ClusterConfig,
    program: Sequence[str] = PROGRAM,
) -> dict[str, Any]:
    """The Job. Its pod waits for the Secret, which must be made after it: it belongs to it.

    Raises BadRequest when the plan is too large for that.
    """
    text = plan.to_json()
    if len(text.encode()) > LARGEST_PLAN:
        raise BadRequest(
            f"The plan of this build has {len(text.encode())} bytes; Kubernetes takes "
            f"{LARGEST_PLAN}.",
            do="Use fewer source files, or shorter .repo files.",
        )
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": run.name,
            "labels": run.labels,
            "annotations": {PLAN: plan_hash(text)},
        },
        "spec": {
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            "activeDeadlineSeconds": plan.limits.seconds + cluster.start_seconds + SLACK,
            "ttlSecondsAfterFinished": KEPT,
            "template": {
                "metadata": {"labels": run.labels},
                "spec": _pod(run, secret_name, cluster, program),
            },
        },
    }


def secret(run: Run, plan: BuildPlan, job: Mapping[str, Any]) -> dict[str, Any]:
    """The plan. `job`: as the cluster has it, with which it goes."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "immutable": True,
        "metadata": {
            "name": secret_of(job),
            "labels": run.labels,
            "ownerReferences": [
                {
                    "apiVersion": "batch/v1",
                    "kind": "Job",
                    "name": run.name,
                    "uid": job["metadata"]["uid"],
                }
            ],
        },
        "data": {"plan.json": base64.b64encode(plan.to_json().encode()).decode()},
    }


def secret_of(job: Mapping[str, Any]) -> str:
    """Name of the Secret that the Job's pod waits for."""
    volumes = job["spec"]["template"]["spec"]["volumes"]
    return next(str(each["secret"]["secretName"]) for each in volumes if each["name"] == "plan")


def cancelled() -> dict[str, Any]:
    """The patch that ends a Job: its pods are deleted, and it stays to tell."""
    return {"metadata": {"annotations": {CANCELLED: "true"}}, "spec": {"parallelism": 0}}


def _pod(
    run: Run, secret_name: str, cluster: ClusterConfig, program: Sequence[str]
) -> dict[str, Any]:
    volumes = _volumes(secret_name, cluster)
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "nodeSelector": {
            **dict(each.split("=", 1) for each in cluster.node_selector),
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": GO_ARCH.get(run.arch, run.arch),
        },
        "tolerations": [_toleration(each) for each in cluster.tolerations],
        "containers": [_container(run, cluster, program, volumes)],
        "volumes": [{"name": name, **source} for name, (source, _) in volumes.items()],
    }
    if cluster.service_account:
        spec["serviceAccountName"] = cluster.service_account
    if cluster.registry_secret:
        spec["imagePullSecrets"] = [{"name": cluster.registry_secret}]
    return spec


def _container(
    run: Run,
    cluster: ClusterConfig,
    program: Sequence[str],
    volumes: Mapping[str, tuple[dict[str, Any], dict[str, Any]]],
) -> dict[str, Any]:
    config = ["--config", f"{CONFIG}/builder.conf"] if cluster.config_map else []
    requests = {"cpu": cluster.cpu, "memory": cluster.memory}
    return {
        "name": CONTAINER,
        "image": cluster.image,
        "imagePullPolicy": cluster.pull_policy,
        "command": [
            *program, "--plan", f"{RUN}/plan/plan.json", "--arch", run.arch,
            "--outcome", "/dev/termination-log", "--log", "/var/tmp/kcb.log",  # noqa: S108
            "--framed", *config,
        ],
        # buildah mounts, and makes namespaces (docs/security.md).
        "securityContext": {"privileged": True, "runAsUser": 0},
        "resources": {
            "requests": {name: value for name, value in requests.items() if value},
            "limits": {"memory": cluster.memory_limit} if cluster.memory_limit else {},
        },
        "env": [{"name": "SSL_CERT_DIR", "value": f"{RUN}/ca"}] if cluster.ca_config_map else [],
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "volumeMounts": [{"name": name, **mount} for name, (_, mount) in volumes.items()],
    }  # fmt: skip


def _volumes(
    secret_name: str, cluster: ClusterConfig
) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """By name: where it is from, and where it is mounted."""

    def read_only(path: str) -> dict[str, Any]:
        return {"mountPath": path, "readOnly": True}

    volumes: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "plan": (
            {"secret": {"secretName": secret_name, "defaultMode": 0o400}}, read_only(f"{RUN}/plan")
        ),
        "containers": ({"emptyDir": {}}, {"mountPath": "/var/lib/containers"}),
        "tmp": ({"emptyDir": {}}, {"mountPath": "/var/tmp"}),  # noqa: S108
    }  # fmt: skip
    if cluster.registry_secret:
        items = [{"key": ".dockerconfigjson", "path": "auth.json"}]
        source = {"secretName": cluster.registry_secret, "items": items, "defaultMode": 0o400}
        volumes["registry"] = ({"secret": source}, read_only(f"{RUN}/registry"))
    if cluster.config_map:
        volumes["config"] = ({"configMap": {"name": cluster.config_map}}, read_only(CONFIG))
    if cluster.ca_config_map:
        volumes["ca"] = ({"configMap": {"name": cluster.ca_config_map}}, read_only(f"{RUN}/ca"))
    return volumes


def _toleration(text: str) -> dict[str, str]:
    """
    >>> _toleration("builds=only:NoSchedule")
    {'key': 'builds', 'operator': 'Equal', 'value': 'only', 'effect': 'NoSchedule'}
    >>> _toleration("builds")
    {'key': 'builds', 'operator': 'Exists'}
    """
    rest, _, effect = text.partition(":")
    key, equal, value = rest.partition("=")
    found = {"key": key, "operator": "Equal" if equal else "Exists"}
    return {
        **found,
        **({"value": value} if equal else {}),
        **({"effect": effect} if effect else {}),
    }

"""EMULATION of OpenShift: the objects that its build API and its build controller make.

Functions without side effects. The facts are those of `build.openshift.io/v1` with the custom
strategy: names, labels, annotations, environment and mounts of the build pod, phases and reasons.
Left out: image streams, secrets found by service account, the ConfigMaps with registries and CAs
that OpenShift mounts besides, other strategies than Custom.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

GROUP = "build.openshift.io/v1"
API_SERVICE = "v1.build.openshift.io"  # what the apiserver calls it
ENDED = ("Complete", "Failed", "Error", "Cancelled")
WEEK = 604800  # seconds: a build without a deadline of its own
SNIPPET = 5  # lines of log in the status of a failed build
DELETED = "The pod for this build was deleted before the build completed."
Object = dict[str, Any]


class Refused(Exception):
    """A request that OpenShift answers with a Status of this code."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason = code, reason


def new_config(given: Object) -> Object:
    """A BuildConfig as it is stored: with the defaults that OpenShift fills in."""
    config = copy.deepcopy(given)
    spec = config.setdefault("spec", {})
    if "customStrategy" not in spec.get("strategy", {}):
        raise Refused(422, "Invalid", "This emulation knows the custom strategy only.")
    spec["strategy"]["type"] = "Custom"
    spec.setdefault("runPolicy", "Serial")
    spec.setdefault("successfulBuildsHistoryLimit", 5)
    spec.setdefault("failedBuildsHistoryLimit", 5)
    config["status"] = {"lastVersion": 0}
    return config


def instantiate(config: Object, request: Object, now: str) -> Object:
    """The next Build of a BuildConfig, whose `lastVersion` is counted up."""
    name, namespace = config["metadata"]["name"], config["metadata"]["namespace"]
    if request.get("metadata", {}).get("name") != name:
        raise Refused(400, "BadRequest", f"the request names another BuildConfig than {name}")
    if config["metadata"].get("annotations", {}).get("openshift.io/build-config.paused") == "true":
        raise Refused(
            400,
            "BadRequest",
            f"can't instantiate from BuildConfig {namespace}/{name}: BuildConfig is paused",
        )
    last = config["status"]["lastVersion"]
    wanted = request.get("lastVersion", last)
    if wanted != last:
        raise Refused(
            400,
            "BadRequest",
            f"the LastVersion({last}) on build config {namespace}/{name} does not match the build "
            f"request LastVersion({wanted})",
        )
    config["status"]["lastVersion"] = last + 1
    return _build(config, request, now)


def _build(config: Object, request: Object, now: str) -> Object:
    meta, number = config["metadata"], config["status"]["lastVersion"]
    given = request.get("metadata", {})
    spec = copy.deepcopy(config["spec"])
    for key in ("runPolicy", "successfulBuildsHistoryLimit", "failedBuildsHistoryLimit"):
        spec.pop(key, None)
    spec.pop("triggers", None)
    spec.setdefault("serviceAccount", "builder")
    spec.setdefault("source", {})["type"] = "None"
    spec["triggeredBy"] = request.get("triggeredBy") or [{"message": "Manually triggered"}]
    custom = spec["strategy"]["customStrategy"]
    custom["env"] = _environment(custom, request.get("env", []))
    return {
        "apiVersion": GROUP,
        "kind": "Build",
        "metadata": {
            "name": f"{meta['name']}-{number}",
            "namespace": meta["namespace"],
            "labels": {
                **given.get("labels", {}),
                **meta.get("labels", {}),
                "buildconfig": meta["name"][:63],
                "openshift.io/build-config.name": meta["name"][:63],
                "openshift.io/build.start-policy": config["spec"]["runPolicy"],
            },
            "annotations": {
                **given.get("annotations", {}),
                "openshift.io/build-config.name": meta["name"],
                "openshift.io/build.number": str(number),
            },
            "ownerReferences": [_owner("BuildConfig", config)],
        },
        "spec": spec,
        "status": {
            "phase": "New",
            "config": {"kind": "BuildConfig", "name": meta["name"], "namespace": meta["namespace"]},
            "conditions": [
                {"type": "New", "status": "True", "lastUpdateTime": now, "lastTransitionTime": now}
            ],
            "output": {},
        },
    }


def _environment(custom: Object, given: list[Object]) -> list[Object]:
    """What the request names replaces what the BuildConfig says."""
    named = {each["name"] for each in given} | {"OPENSHIFT_CUSTOM_BUILD_BASE_IMAGE"}
    kept = [each for each in custom.get("env", []) if each["name"] not in named]
    image = {"name": "OPENSHIFT_CUSTOM_BUILD_BASE_IMAGE", "value": custom["from"]["name"]}
    return [*kept, image, *given]


def _owner(kind: str, of: Object) -> Object:
    meta = of["metadata"]
    return {
        "apiVersion": GROUP, "kind": kind, "name": meta["name"], "uid": meta["uid"],
        "controller": True,
    }  # fmt: skip


def pod_name(build: Object) -> str:
    return f"{build['metadata']['name']}-build"


def pod_of(build: Object) -> Object:
    """The pod that runs a Build: the image's own command, the Build itself as JSON in BUILD."""
    meta, spec = build["metadata"], build["spec"]
    custom = spec["strategy"]["customStrategy"]
    container: Object = {
        "name": "custom-build",
        "image": custom["from"]["name"],
        "imagePullPolicy": "Always" if custom.get("forcePull") else "IfNotPresent",
        "env": [
            {"name": "BUILD", "value": json.dumps(build, separators=(",", ":"))},
            {"name": "LANG", "value": "en_US.utf8"},
            *custom.get("env", []),
        ],
        "resources": spec.get("resources", {}),
        "securityContext": {"privileged": True},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "container-storage-root", "mountPath": "/var/lib/containers"},
            {"name": "container-storage-run", "mountPath": "/var/run/containers"},
        ],
    }
    pod: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod_name(build),
            "namespace": meta["namespace"],
            "labels": {"openshift.io/build.name": meta["name"][:63]},
            "ownerReferences": [_owner("Build", build)],
        },
        "spec": {
            "serviceAccountName": spec["serviceAccount"],
            "restartPolicy": "Never",
            "activeDeadlineSeconds": spec.get("completionDeadlineSeconds", WEEK),
            "nodeSelector": spec.get("nodeSelector") or {},
            "containers": [container],
            "volumes": [
                {"name": "container-storage-root", "emptyDir": {}},
                {"name": "container-storage-run", "emptyDir": {}},
            ],
        },
    }
    _mount_secrets(pod, container, spec)
    return pod


def _mount_secrets(pod: Object, container: Object, spec: Object) -> None:
    custom = spec["strategy"]["customStrategy"]
    mounts = [
        (each["secretSource"]["name"], each["mountPath"], "secret")
        for each in custom.get("secrets", [])
    ]
    for use, secret in (
        ("push", spec.get("output", {}).get("pushSecret")),
        ("pull", custom.get("pullSecret")),
    ):
        if secret:
            path = f"/var/run/secrets/openshift.io/{use}"
            mounts.append((secret["name"], path, use))
            container["env"].append({"name": f"{use.upper()}_DOCKERCFG_PATH", "value": path})
    for name, path, use in mounts:
        volume = f"{name}-{use}".replace(".", "-")[:63]
        source = {"secretName": name, "defaultMode": 0o600}
        if volume not in [each["name"] for each in pod["spec"]["volumes"]]:
            pod["spec"]["volumes"].append({"name": volume, "secret": source})
        container["volumeMounts"].append({"name": volume, "mountPath": path, "readOnly": True})


def progress(build: Object, pod: Mapping[str, Any] | None) -> tuple[str, str, str]:
    """Phase, reason and message of a Build that has a pod; None: the pod is not there any more."""
    if pod is None:
        return "Error", "BuildPodDeleted", DELETED
    status = pod.get("status", {})
    phase = status.get("phase", "Pending")
    if phase == "Pending":
        return build["status"]["phase"], "", ""
    if phase == "Running":
        return "Running", "", ""
    if phase == "Succeeded":
        if not status.get("containerStatuses"):
            return "Error", "NoBuildContainerStatus", "The pod for this build has no container " \
                "statuses indicating success or failure."  # fmt: skip
        return "Complete", "", ""
    return _failure(pod)


def _failure(pod: Mapping[str, Any]) -> tuple[str, str, str]:
    status = pod["status"]
    if status.get("reason") == "OOMKilled" or any(
        ended.get("reason") == "OOMKilled" for ended in _terminated(pod)
    ):
        message = "The build pod was killed due to an out of memory condition."
        return "Failed", "OutOfMemoryKilled", message
    if status.get("reason") == "Evicted":
        return "Failed", "BuildPodEvicted", status.get("message", "")
    if pod["metadata"].get("deletionTimestamp"):
        return "Error", "BuildPodDeleted", DELETED
    message = "Generic Build failure - check logs for details."
    return "Failed", "GenericBuildFailed", message


def _terminated(pod: Mapping[str, Any]) -> list[Object]:
    states = [each.get("state", {}) for each in pod["status"].get("containerStatuses", [])]
    return [state["terminated"] for state in states if state.get("terminated")]


def set_phase(build: Object, news: tuple[str, str, str], now: str) -> None:
    """The status with a phase, its reason and message; earlier phases stay as conditions."""
    phase, reason, message = news
    status = build["status"]
    status.update(phase=phase, reason=reason, message=message)
    found = False
    for condition in status["conditions"]:
        condition["status"] = "True" if condition["type"] == phase else "False"
        found = found or condition["type"] == phase
    if not found:
        status["conditions"].append(
            {
                "type": phase, "status": "True", "reason": reason, "message": message,
                "lastUpdateTime": now, "lastTransitionTime": now,
            }
        )  # fmt: skip
    if phase == "Running":
        status.setdefault("startTimestamp", now)
    if phase in ENDED:
        status.setdefault("completionTimestamp", now)


def log_snippet(pod: Mapping[str, Any] | None) -> str:
    """The last lines of what a failed container left as its message."""
    messages = [ended.get("message", "") for ended in _terminated(pod)] if pod else []
    return "\n".join("".join(messages[:1]).rstrip("\n").split("\n")[-SNIPPET:])

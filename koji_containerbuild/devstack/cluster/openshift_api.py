"""EMULATION of OpenShift: the REST side of `build.openshift.io/v1`, without a network.

Who may do what is decided before (by the apiserver in front), but for the one question that
OpenShift asks itself: whether the user may `create` `builds/custom`.

`watch` works, though it is not announced: the garbage collector of the cluster would watch these
kinds, and one that it cannot decode halts it for all. So the pods of a deleted Build are deleted
here, as the collector would do.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from koji_containerbuild.devstack.cluster.openshift_objects import (
    ENDED,
    GROUP,
    Object,
    Refused,
    instantiate,
    new_config,
)
from koji_containerbuild.devstack.cluster.openshift_store import KINDS, Key, Store, merged, now

ROOT = f"/apis/{GROUP}"
VERBS = ["create", "delete", "get", "list", "patch", "update"]
MERGES = ("application/merge-patch+json", "application/strategic-merge-patch+json")


@dataclass(frozen=True)
class Call:
    """One request, as the apiserver in front passes it on."""

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: Object = field(default_factory=dict)
    content_type: str = "application/json"
    user: str = ""
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """`lines`: in place of a body, what comes in time."""

    code: int
    body: Object = field(default_factory=dict)
    lines: Iterator[bytes] | None = None


class BuildApi:
    """What may be done with the objects of a store. Safe to call from several threads."""

    def __init__(
        self,
        store: Store,
        may_custom: Callable[[Call, str, str], bool] = lambda call, namespace, name: True,
        logs: Callable[[Object, Mapping[str, str]], Iterator[bytes]] | None = None,
    ) -> None:
        """`may_custom`: whether a user may use the custom strategy, in a namespace, by the name of
        the object; `logs`: the log of a Build's pod."""
        self._store, self._may_custom, self._logs = store, may_custom, logs

    def answer(self, call: Call) -> Answer:
        """What OpenShift would say; refusals are Status objects, as everywhere in Kubernetes."""
        try:
            return self._answer(call)
        except Refused as error:
            status = {
                "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": error.code,
                "reason": error.reason, "message": str(error),
            }  # fmt: skip
            return Answer(error.code, status)

    def _answer(self, call: Call) -> Answer:
        words = [unquote(word) for word in call.path.removeprefix(ROOT).split("/") if word]
        if not words:
            return Answer(200, _discovery())
        namespace = ""
        if words[0] == "namespaces" and len(words) >= 3:
            namespace, words = words[1], words[2:]
        resource, name, sub = (*words, "", "")[:3]
        if resource not in KINDS:
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        if sub:
            return self._subresource(call, resource, (namespace, name), sub)
        if name:
            return self._one(call, resource, (namespace, name))
        if call.method == "POST":
            return Answer(201, self._create(call, resource, namespace))
        if call.params.get("watch") in ("1", "true"):
            return Answer(200, lines=self._store.watch(resource, namespace, call.params))
        selector = call.params.get("labelSelector", "")
        return Answer(200, self._store.list(resource, namespace, selector))

    def _one(self, call: Call, resource: str, key: Key) -> Answer:
        found = self._store.get(resource, key)
        if call.method == "GET":
            return Answer(200, found)
        if call.method == "DELETE":
            with self._store.changed:
                self._store.remove(resource, self._store.get(resource, key))
            return Answer(200, {"kind": "Status", "apiVersion": "v1", "status": "Success"})
        if call.method not in ("PATCH", "PUT"):
            raise Refused(405, "MethodNotAllowed", "the server does not allow this method")
        self._check_strategy(call, *key)
        with self._store.changed:
            return Answer(200, self._change(call, resource, self._store.get(resource, key)))

    def _change(self, call: Call, resource: str, found: Object) -> Object:
        if call.method == "PUT":
            wanted = copy.deepcopy(call.body)
            if wanted["metadata"].get("resourceVersion") != found["metadata"]["resourceVersion"]:
                raise Refused(409, "Conflict", "the object has been modified")
        elif call.content_type.split(";")[0] in MERGES:
            wanted = merged(found, call.body)
        else:
            raise Refused(415, "UnsupportedMediaType", f"use one of {', '.join(MERGES)}")
        if resource == "builds":
            if wanted["spec"] != found["spec"]:
                raise Refused(422, "Invalid", "spec: Invalid value: spec is immutable")
            ended = found["status"]["phase"]
            if ended in ENDED and wanted["status"]["phase"] != ended:
                message = "phase cannot be updated from a terminal state"
                raise Refused(422, "Invalid", f"status.phase: Invalid value: {message}")
        return self._store.put(resource, wanted)

    def _create(self, call: Call, resource: str, namespace: str) -> Object:
        given = copy.deepcopy(call.body)
        name = given.get("metadata", {}).get("name", "")
        if not name or given.get("kind", KINDS[resource]) != KINDS[resource]:
            raise Refused(422, "Invalid", "metadata.name and the kind are needed")
        self._check_strategy(call, namespace, name)
        if resource == "buildconfigs":
            given = new_config(given)
        else:
            given.setdefault("spec", {}).setdefault("serviceAccount", "builder")
            given["status"] = {"phase": "New", "conditions": [], "output": {}}
        given["metadata"]["namespace"] = namespace
        return self._store.add(resource, {**given, "apiVersion": GROUP, "kind": KINDS[resource]})

    def _subresource(self, call: Call, resource: str, key: Key, sub: str) -> Answer:
        found = self._store.get(resource, key)
        if (resource, sub, call.method) == ("buildconfigs", "instantiate", "POST"):
            self._check_strategy(call, *key)
            with self._store.changed:
                config = self._store.get(resource, key)
                build = instantiate(config, call.body, now())
                self._store.put(resource, config)
                return Answer(201, self._store.add("builds", build))
        if (resource, sub, call.method) == ("builds", "log", "GET") and self._logs:
            return Answer(200, lines=self._logs(found, call.params))
        raise Refused(404, "NotFound", "the server could not find the requested resource")

    def _check_strategy(self, call: Call, namespace: str, name: str) -> None:
        if not self._may_custom(call, namespace, name):
            text = f'"{name}" is forbidden: build strategy Custom is not allowed'
            raise Refused(403, "Forbidden", text)


def _discovery() -> Object:
    def resource(name: str, kind: str, verbs: list[str]) -> Object:
        return {"name": name, "singularName": "", "namespaced": True, "kind": kind, "verbs": verbs}

    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": GROUP,
        "resources": [
            resource("builds", "Build", VERBS),
            resource("builds/log", "BuildLog", ["get"]),
            resource("buildconfigs", "BuildConfig", VERBS),
            resource("buildconfigs/instantiate", "BuildRequest", ["create"]),
        ],
    }

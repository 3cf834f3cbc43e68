"""EMULATION of OpenShift: where its objects are kept, with versions and a history to watch."""

from __future__ import annotations

import copy
import json
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from koji_containerbuild.devstack.cluster.openshift_objects import GROUP, Object, Refused

KINDS = {"builds": "Build", "buildconfigs": "BuildConfig"}
KEPT_EVENTS = 10000  # who asks for older ones is told to list again
Key = tuple[str, str]  # namespace and name


class Store:
    """Builds and BuildConfigs in memory and, if a file is named, in that.

    Safe to call from several threads; hold `changed` for what must not be interrupted.
    """

    def __init__(self, file: Path | None = None) -> None:
        self.changed = threading.Condition()  # with a lock that its holder may take again
        self.deleted: list[Object] = []  # Builds whose pods are to go
        self._file = file
        self._version = 1
        self._objects: dict[str, dict[Key, Object]] = {kind: {} for kind in KINDS}
        self._events: list[tuple[int, str, str, Object]] = []
        if file and file.exists():
            self._read(json.loads(file.read_text()))

    def all(self, resource: str) -> list[Object]:
        """Copies, in the order in which they were made."""
        with self.changed:
            return copy.deepcopy(list(self._objects[resource].values()))

    def get(self, resource: str, key: Key) -> Object:
        """A copy. Raises Refused."""
        with self.changed:
            if key not in self._objects[resource]:
                group = GROUP.partition("/")[0]
                raise Refused(404, "NotFound", f'{resource}.{group} "{key[1]}" not found')
            return copy.deepcopy(self._objects[resource][key])

    def add(self, resource: str, given: Object) -> Object:
        """As it is kept. Raises Refused: there is one of that name."""
        meta = given["metadata"]
        with self.changed:
            if (meta["namespace"], meta["name"]) in self._objects[resource]:
                raise Refused(409, "AlreadyExists", f'"{meta["name"]}" already exists')
            meta.update(uid=str(uuid.uuid4()), creationTimestamp=now(), generation=1)
            return self.put(resource, given, "ADDED")

    def put(self, resource: str, given: Object, event: str = "MODIFIED") -> Object:
        """As it is kept: with a new version."""
        with self.changed:
            self._version += 1
            given["metadata"]["resourceVersion"] = str(self._version)
            key = given["metadata"]["namespace"], given["metadata"]["name"]
            self._objects[resource][key] = given
            self._tell(resource, given, event)
            return copy.deepcopy(given)

    def remove(self, resource: str, found: Object) -> None:
        """With the Builds of a BuildConfig, as the cluster's garbage collector would do."""
        with self.changed:
            uid = found["metadata"]["uid"]
            for build in self.all("builds") if resource == "buildconfigs" else ():
                owners = build["metadata"].get("ownerReferences", ())
                if any(owner["uid"] == uid for owner in owners):
                    self.remove("builds", build)
            self._version += 1
            del self._objects[resource][found["metadata"]["namespace"], found["metadata"]["name"]]
            if resource == "builds":
                self.deleted.append(found)
            self._tell(resource, found, "DELETED")

    def list(self, resource: str, namespace: str, selector: str) -> Object:
        """The list object; no namespace: of all."""
        with self.changed:
            items = [each for each in self.all(resource) if _wanted(each, namespace, selector)]
            meta = {"resourceVersion": str(self._version)}
        kind = f"{KINDS[resource]}List"
        return {"kind": kind, "apiVersion": GROUP, "metadata": meta, "items": items}

    def watch(self, resource: str, namespace: str, params: Mapping[str, str]) -> Iterator[bytes]:
        """Lines of JSON, one event each, for some time: what is there, or came after a version."""
        since = int(params.get("resourceVersion") or 0)
        if not since:
            there = self.list(resource, namespace, params.get("labelSelector", ""))
            since = int(there["metadata"]["resourceVersion"])
            for each in there["items"]:
                yield json.dumps({"type": "ADDED", "object": each}).encode() + b"\n"
        deadline = time.monotonic() + float(params.get("timeoutSeconds") or 300)
        while time.monotonic() < deadline:
            with self.changed:
                if self._events and since and since < self._events[0][0] - 1:
                    gone = {"kind": "Status", "code": 410, "reason": "Expired", "status": "Failure"}
                    yield json.dumps({"type": "ERROR", "object": gone}).encode() + b"\n"
                    return
                fresh = [event for event in self._events if event[0] > since]
                if not fresh:
                    self.changed.wait(min(1.0, max(0.0, deadline - time.monotonic())))
            for version, which, event, each in fresh:
                since = version
                if which == resource and _wanted(each, namespace, params.get("labelSelector", "")):
                    yield json.dumps({"type": event, "object": each}).encode() + b"\n"

    def _tell(self, resource: str, given: Object, event: str) -> None:
        self._events.append((self._version, resource, event, copy.deepcopy(given)))
        del self._events[:-KEPT_EVENTS]
        self.changed.notify_all()
        if self._file:
            kept = {kind: list(each.values()) for kind, each in self._objects.items()}
            partial = self._file.with_suffix(".partial")
            partial.write_text(json.dumps({"version": self._version, **kept}))
            partial.replace(self._file)

    def _read(self, kept: Object) -> None:
        self._version = kept.pop("version")
        for resource, found in kept.items():
            for each in found:
                key = each["metadata"]["namespace"], each["metadata"]["name"]
                self._objects[resource][key] = each


def now() -> str:
    """As Kubernetes writes times."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def merged(old: Any, patch: Any) -> Any:
    """RFC 7386, which does for strategic patches of what is no list."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = copy.deepcopy(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def _wanted(found: Object, namespace: str, selector: str) -> bool:
    return namespace in ("", found["metadata"]["namespace"]) and selected(found, selector)


def selected(found: Object, selector: str) -> bool:
    """Whether labels fit a selector of the forms `key`, `key=value` and `key in (a,b)`."""
    labels = found["metadata"].get("labels", {})
    text = selector.replace(" ", "")
    while text:
        key, _, rest = text.partition("in(")
        if rest and "," not in key and "=" not in key:
            values, _, text = rest.partition(")")
            fits = labels.get(key) in values.split(",")
        else:
            term, _, text = text.partition(",")
            key, equal, value = term.replace("==", "=").partition("=")
            fits = labels.get(key) == value if equal else key in labels
        if not fits:
            return False
        text = text.lstrip(",")
    return True

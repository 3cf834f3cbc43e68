"""A cluster's API as an account with some rules sees it: objects, access reviews and dry runs.

Rules are those of a Role, objects are known by their paths. tests/cluster asks a real one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

from tests.fakes.web_server import QuietHandler, serving

TOKEN = "t0ken"
ALL: dict[str, Any] = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
# What an OpenShift lets everybody do, from its bootstrap policy.
EVERYBODY: list[dict[str, Any]] = [
    {
        "apiGroups": ["authorization.k8s.io"],
        "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
        "verbs": ["create"],
    },
    {"apiGroups": ["", "user.openshift.io"], "resources": ["users"], "verbs": ["get"],
     "resourceNames": ["~"]},
    {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"],
     "verbs": ["get", "list", "watch"]},
    {"apiGroups": ["", "build.openshift.io"], "resources": ["builds/docker"], "verbs": ["create"]},
    {"apiGroups": ["storage.k8s.io"], "resources": ["storageclasses"], "verbs": ["get", "list"]},
    {"apiGroups": ["security.openshift.io"], "resources": ["securitycontextconstraints"],
     "verbs": ["use"], "resourceNames": ["restricted-v2"]},
]  # fmt: skip


class FakeClusterApi:
    """`rules`: of the account; `accounts`: rules of others, by user name."""

    def __init__(self, rules: Sequence[dict[str, Any]]) -> None:
        self.rules = list(rules)
        self.accounts: dict[str, list[dict[str, Any]]] = {}
        self.objects: dict[str, dict[str, Any]] = {}
        self.namespaces = {"builds"}
        self.made: list[dict[str, Any]] = []  # by anything but a dry run
        self.dry: list[dict[str, Any]] = []
        self.seen: list[str] = []
        self.incomplete = False  # the account may all that `rules` says, and the cluster tells none
        self.warnings: list[str] = []  # headers of the answer to what is made
        self.refusal: tuple[int, str] | None = None  # in place of that answer

    def __enter__(self) -> FakeClusterApi:
        handler = type("Handler", (_Handler,), {"state": self})
        self._serving = ExitStack()
        self._server = self._serving.enter_context(serving(handler))
        return self

    def __exit__(self, *error: object) -> None:
        self._serving.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def may(self, verb: str, group: str, resource: str, user: str = "") -> bool:
        rules = self.accounts.get(user, []) if user else self.rules
        return any(
            has(rule["apiGroups"], group)
            and has(rule["resources"], resource)
            and has(rule["verbs"], verb)
            for rule in rules
        )


def has(listed: Sequence[str], wanted: str) -> bool:
    return wanted in listed or "*" in listed


class _Handler(QuietHandler):
    state: FakeClusterApi
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        path = self._begin()
        if not self._known():
            return
        if path == "/version":
            self._send(200, {"gitVersion": "v1.20.2"})
            return
        group, resource, name = split(path)
        if not self.state.may("get" if name else "list", group, resource):
            self._refuse(403, f"{resource} is forbidden")
        elif path in self.state.objects:
            self._send(200, self.state.objects[path])
        elif name:
            self._refuse(404, f'{resource} "{name}" not found')
        else:
            self._send(200, {"items": []})

    def do_POST(self) -> None:
        path = self._begin()
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self._known():
            return
        if path.endswith("accessreviews"):
            self._review(path, body)
            return
        if path.endswith("selfsubjectrulesreviews"):
            told = [] if self.state.incomplete else self.state.rules
            status = {"resourceRules": [*told, *EVERYBODY], "incomplete": self.state.incomplete}
            self._send(201, {"status": status})
            return
        group, resource, _ = split(path)
        if not self.state.may("create", group, resource):
            self._refuse(403, f"{resource} is forbidden")
        elif path.split("/namespaces/")[1].split("/")[0] not in self.state.namespaces:
            self._refuse(404, "namespaces not found")
        else:
            (self.state.dry if "dryRun=All" in self.path else self.state.made).append(body)
            if self.state.refusal:
                self._refuse(*self.state.refusal)
                return
            self._send(201, body, self.state.warnings)

    def _review(self, path: str, body: dict[str, Any]) -> None:
        user = body["spec"].get("user", "")
        if user and not self.state.may("create", "authorization.k8s.io", "subjectaccessreviews"):
            self._refuse(403, "subjectaccessreviews is forbidden")
            return
        asked = body["spec"]["resourceAttributes"]
        resource = "/".join(filter(None, (asked["resource"], asked["subresource"])))
        allowed = self.state.may(asked["verb"], asked["group"], resource, user)
        self._send(201, {"status": {"allowed": allowed}})

    def _begin(self) -> str:
        self.state.seen.append(f"{self.command} {self.path}")
        return urlsplit(self.path).path

    def _known(self) -> bool:
        if self.headers["Authorization"] == f"Bearer {TOKEN}":
            return True
        self._refuse(401, "Unauthorized")
        return False

    def _refuse(self, status: int, message: str) -> None:
        reason = {401: "Unauthorized", 403: "Forbidden", 404: "NotFound"}.get(status, "")
        self._send(status, {"kind": "Status", "message": message, "reason": reason})

    def _send(self, status: int, answer: dict[str, Any], warnings: Sequence[str] = ()) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for warning in warnings:
            self.send_header("Warning", warning)
        self.end_headers()
        self.wfile.write(data)


def split(path: str) -> tuple[str, str, str]:
    """Group, resource with subresource, and name.

    >>> split("/apis/batch/v1/namespaces/n/jobs/x"), split("/api/v1/nodes")
    (('batch', 'jobs', 'x'), ('', 'nodes', ''))
    >>> split("/api/v1/namespaces/n/pods/p/log")
    ('', 'pods/log', 'p')
    """
    parts = path.strip("/").split("/")
    group, parts = ("", parts[2:]) if parts[0] == "api" else (parts[1], parts[3:])
    if parts[0] == "namespaces" and len(parts) > 2:
        parts = parts[2:]
    kind, name, *more = [*parts, ""][:3] if len(parts) < 3 else parts[:3]
    subresource = f"/{more[0]}" if more and more[0] else ""
    return group, f"{kind}{subresource}", name

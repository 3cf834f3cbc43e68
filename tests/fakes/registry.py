"""A registry in this process that works: manifests, blobs, uploads, mounts, deletes, both logins.

It behaves like docker-registry 2.8, and tests/registry holds it to that. Faults are added on demand:

    with FakeRegistry() as registry:
        registry.faults.append(Fault("GET", "/manifests/", status=503))
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import socket
import ssl
import threading
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.fakes.web_server import QuietHandler, serving

INDEXES = (
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.index.v1+json",
)
IMAGES = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
)
PATH = re.compile(r"/v2/(?P<repo>.+)/(?P<kind>manifests|blobs/uploads|blobs|tags)/(?P<rest>[^/]*)")


@dataclass
class Fault:
    """What goes wrong `times` times with requests of this method, to paths that contain `path`."""

    method: str
    path: str = ""
    status: int = 0  # 0: the connection is cut before an answer
    headers: dict[str, str] = field(default_factory=dict)
    times: int = 1
    cut_after: int = -1  # bytes of the true answer's body, then the connection is cut
    garble: bool = False  # the true answer, with its first byte changed


@dataclass
class FakeRegistry:
    """State, and a server on a free port of this machine."""

    user: str = ""  # "name:password": asked for when set
    bearer: bool = False  # by a token instead of Basic
    tls: ssl.SSLContext | None = None
    deletes: bool = True
    blobs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    manifests: dict[tuple[str, str], tuple[str, bytes]] = field(default_factory=dict)
    tags: dict[tuple[str, str], str] = field(default_factory=dict)
    uploads: dict[str, bytearray] = field(default_factory=dict)
    tokens: dict[str, set[str]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)  # "GET /v2/…", in the order they came
    authorizations: list[str] = field(default_factory=list)
    open: list[socket.socket] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def __enter__(self) -> FakeRegistry:
        handler = type("Handler", (_Handler,), {"state": self})
        self._serving = ExitStack()
        self._server = self._serving.enter_context(serving(handler, tls=self.tls))
        self._server.daemon_threads = False  # so that server_close waits for the last answer
        self._serving.callback(self._cut)
        return self

    def __exit__(self, *error: object) -> None:
        self._serving.close()

    def _cut(self) -> None:
        """A client may keep a connection as long as it keeps an exception."""
        for connection in list(self.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @property
    def host(self) -> str:
        """As it is written in a pullspec."""
        return f"{'localhost' if self.tls else '127.0.0.1'}:{self._server.server_port}"

    def count(self, method: str, path: str = "") -> int:
        """How many such requests came."""
        return sum(line.startswith(f"{method} ") and path in line for line in self.seen)


class _Handler(QuietHandler):
    state: FakeRegistry
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 20
    fault: Fault | None = None

    def handle(self) -> None:
        self.state.open.append(self.connection)
        try:
            super().handle()
        except (ConnectionError, ssl.SSLError):
            self.close_connection = True
        finally:
            self.state.open.remove(self.connection)

    def do(self) -> None:
        url = urlsplit(self.path)
        self.query = {key: values[0] for key, values in parse_qs(url.query).items()}
        body = self._body()
        with self.state.lock:
            self.state.seen.append(f"{self.command} {self.path}")
            self.state.authorizations.append(self.headers.get("Authorization", ""))
            self.fault = self._next_fault()
            if self.fault and self.fault.status:
                self._send(self.fault.status, b"", self.fault.headers)
            elif self.fault and self.fault.cut_after < 0 and not self.fault.garble:
                self.close_connection = True
            elif url.path == "/token":
                self._token()
            elif self._allowed(url.path):
                self._route(url.path, body)

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = do

    def _next_fault(self) -> Fault | None:
        for fault in self.state.faults:
            if fault.times > 0 and fault.method == self.command and fault.path in self.path:
                fault.times -= 1
                return fault
        return None

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    # -- who is it

    def _allowed(self, path: str) -> bool:
        sent = self.headers.get("Authorization", "")
        match = PATH.fullmatch(path)
        repo = match["repo"] if match else ""
        action = "pull" if self.command in ("GET", "HEAD") else "push"
        if not self.state.user:
            return True
        if self.state.bearer:
            if f"{repo}:{action}" in self.state.tokens.get(sent.partition(" ")[2], set()):
                return True
            actions = "pull" if action == "pull" else "pull,push"
            challenge = (
                f'Bearer realm="https://{self.state.host}/token",service="fake",'
                f'scope="repository:{repo}:{actions}"'
            )
        else:
            if self._is_user(sent):
                return True
            challenge = 'Basic realm="fake"'
        self._error(401, "UNAUTHORIZED", {"WWW-Authenticate": challenge})
        return False

    def _is_user(self, sent: str) -> bool:
        return sent == "Basic " + base64.b64encode(self.state.user.encode()).decode()

    def _token(self) -> None:
        if not self._is_user(self.headers.get("Authorization", "")):
            self._error(401, "UNAUTHORIZED")
            return
        _, repo, actions = self.query["scope"].split(":")
        token = uuid.uuid4().hex
        self.state.tokens[token] = {f"{repo}:{action}" for action in actions.split(",")}
        self._send(200, json.dumps({"token": token}).encode())

    # -- what is wanted

    def _route(self, path: str, body: bytes) -> None:
        match = PATH.fullmatch(path)
        if path == "/v2/":
            self._send(200, b"{}")
        elif not match:
            self._send(404, b"404 page not found\n")
        else:
            name = f"_{self.command.lower()}_{match['kind'].replace('/', '_')}"
            method: Callable[..., None] | None = getattr(
                self, name.replace("_head_", "_get_"), None
            )
            if method:
                method(match["repo"], match["rest"], body)
            else:
                self._error(405, "UNSUPPORTED")

    def _get_tags(self, repo: str, rest: str, body: bytes) -> None:
        tags = sorted(tag for where, tag in self.state.tags if where == repo)
        self._send(200, json.dumps({"name": repo, "tags": tags}).encode())

    def _get_manifests(self, repo: str, reference: str, body: bytes) -> None:
        digest = self.state.tags.get((repo, reference), reference)
        found = self.state.manifests.get((repo, digest))
        accepted = self.headers.get("Accept", "")
        asked_for = (*INDEXES, *IMAGES[1:])  # given to those alone that accept them
        if not found or (found[0] in asked_for and found[0] not in accepted):
            self._error(404, "MANIFEST_UNKNOWN")
            return
        self._send(200, found[1], {"Content-Type": found[0], "Docker-Content-Digest": digest})

    def _put_manifests(self, repo: str, reference: str, body: bytes) -> None:
        digest = _sha256(body)
        if not self._is_complete(repo, body):
            self._error(400, "MANIFEST_BLOB_UNKNOWN")
            return
        if reference.startswith("sha256:") and reference != digest:
            self._error(400, "DIGEST_INVALID")
            return
        if not reference.startswith("sha256:"):
            self.state.tags[repo, reference] = digest
        self.state.manifests[repo, digest] = (self.headers["Content-Type"], body)
        self._send(201, b"", {"Docker-Content-Digest": digest})

    def _is_complete(self, repo: str, body: bytes) -> bool:
        document: dict[str, Any] = json.loads(body)
        if "manifests" in document:
            return all(
                (repo, one["digest"]) in self.state.manifests for one in document["manifests"]
            )
        parts = [document["config"], *document["layers"]]
        return all((repo, part["digest"]) in self.state.blobs for part in parts)

    def _delete_manifests(self, repo: str, digest: str, body: bytes) -> None:
        if not self.state.deletes:
            self._error(405, "UNSUPPORTED")
        elif not self.state.manifests.pop((repo, digest), None):
            self._error(404, "MANIFEST_UNKNOWN")
        else:
            for key in [key for key, value in self.state.tags.items() if value == digest]:
                del self.state.tags[key]
            self._send(202, b"")

    def _get_blobs(self, repo: str, digest: str, body: bytes) -> None:
        found = self.state.blobs.get((repo, digest))
        if found is None:
            self._error(404, "BLOB_UNKNOWN")
        else:
            kind = {"Content-Type": "application/octet-stream", "Docker-Content-Digest": digest}
            self._send(200, found, kind)

    def _post_blobs_uploads(self, repo: str, rest: str, body: bytes) -> None:
        mount = self.query.get("mount", "")
        if (self.query.get("from", ""), mount) in self.state.blobs:
            self.state.blobs[repo, mount] = self.state.blobs[self.query["from"], mount]
            self._send(201, b"", {"Docker-Content-Digest": mount})
            return
        upload = uuid.uuid4().hex
        self.state.uploads[upload] = bytearray()
        self._send(202, b"", {"Location": f"/v2/{repo}/blobs/uploads/{upload}?_state=x"})

    def _patch_blobs_uploads(self, repo: str, upload: str, body: bytes) -> None:
        self.state.uploads[upload] += body
        self._send(202, b"", {"Location": f"/v2/{repo}/blobs/uploads/{upload}?_state=x"})

    def _delete_blobs_uploads(self, repo: str, upload: str, body: bytes) -> None:
        if self.state.uploads.pop(upload, None) is None:
            self._error(404, "BLOB_UPLOAD_UNKNOWN")
        else:
            self._send(204, b"")

    def _put_blobs_uploads(self, repo: str, upload: str, body: bytes) -> None:
        if upload not in self.state.uploads:
            self._error(404, "BLOB_UPLOAD_UNKNOWN")
            return
        data = bytes(self.state.uploads.pop(upload)) + body
        digest = self.query.get("digest", "")
        if digest != _sha256(data):
            self._error(400, "DIGEST_INVALID")
            return
        self.state.blobs[repo, digest] = data
        self._send(201, b"", {"Docker-Content-Digest": digest})

    # -- the answer

    def _error(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
        body = {"errors": [{"code": code, "message": code.lower().replace("_", " ")}]}
        kind = {"Content-Type": "application/json; charset=utf-8", **(headers or {})}
        self._send(status, json.dumps(body).encode(), kind)

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.fault and self.fault.garble:
            body = bytes([body[0] ^ 1]) + body[1:]
        if self.fault and self.fault.cut_after >= 0:
            body = body[: self.fault.cut_after]
            self.close_connection = True
        if self.command != "HEAD":
            self.wfile.write(body)


def _sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()

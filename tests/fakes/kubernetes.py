"""A Kubernetes API server that works: jobs, pods, secrets, events, watches and logs, over HTTP.

Its controllers and its node are in kubernetes_node.py: pods are processes of this machine. It is
held to the truth by the same tests on a real cluster (marked `cluster`).
"""

from __future__ import annotations

import copy
import itertools
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Optional
from urllib.parse import parse_qs, unquote, urlsplit

from koji_containerbuild.config.cluster import ClusterConfig

PATH = re.compile(
    r"/(?:api/v1|apis/[\w.]+/v\d\w*)/namespaces/(?P<namespace>[^/]+)/(?P<kind>[a-z]+)"
    r"(?:/(?P<name>[^/]+)(?P<sub>/[a-z]+)?)?"
)
OTHERS = "/apis/build.openshift.io/"  # answered by tests/fakes/openshift.py
Object = dict[str, Any]


class Refusal(Exception):
    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = {
            "kind": "Status",
            "status": "Failure",
            "code": code,
            "reason": reason,
            "message": message,
        }


def matches(found: Object, labels: str, fields: str) -> bool:
    """Selectors: `a=b`, `a in (b,c)`, joined by commas."""
    have = found["metadata"].get("labels") or {}
    for key, value, values in re.findall(r"([\w./-]+)(?:=([^,]*)| in \(([^)]*)\))", labels):
        if have.get(key) not in (values.split(",") if values else [value]):
            return False
    for term in filter(None, fields.split(",")):
        path, _, value = term.partition("=")
        at: Any = found
        for key in path.split("."):
            at = at.get(key, {})
        if at != value:
            return False
    return True


class Store:
    """Objects and their history."""

    def __init__(self) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.objects: dict[str, dict[str, Object]] = {}
        self.history: list[tuple[int, str, str, Object]] = []  # version, kind, what, object
        self.forgotten = 0  # versions up to this one are not known any more
        self._versions = itertools.count(100)
        self.version = 100

    def of(self, kind: str) -> dict[str, Object]:
        return self.objects.setdefault(kind, {})

    def put(self, kind: str, found: Object, what: str = "MODIFIED") -> Object:
        with self.changed:
            self.version = next(self._versions)
            found["metadata"]["resourceVersion"] = str(self.version)
            name = found["metadata"]["name"]
            if what == "DELETED":
                self.of(kind).pop(name, None)
            else:
                self.of(kind)[name] = found
            self.history.append((self.version, kind, what, copy.deepcopy(found)))
            self.changed.notify_all()
            return copy.deepcopy(found)

    def create(self, kind: str, found: Object) -> Object:
        with self.changed:
            name = found["metadata"]["name"]
            if name in self.of(kind):
                raise Refusal(409, "AlreadyExists", f'{kind} "{name}" already exists')
            found["metadata"].setdefault("uid", f"uid-{next(self._versions)}")
            return self.put(kind, found, "ADDED")

    def compact(self) -> None:
        """Forget what was, and let go of everybody who watches."""
        with self.changed:
            self.forgotten = self.version
            self.history.clear()


class FakeKubernetes:
    """`asked`: every request, as `METHOD kind/subresource`, with `watch` for GET where it is one."""

    def __init__(self, folder: Path, namespace: str = "builds") -> None:
        from tests.fakes.kubernetes_node import Node

        self.folder = folder
        self.namespace = namespace
        self.store = Store()
        self.node = Node(self)
        self.asked: list[str] = []
        self.cut_logs_after = 0.0  # seconds; 0: never
        self.other: Optional[Callable[[str, str, dict[str, str], Object], tuple[int, Object]]] = (
            None
        )
        self.refuse: Optional[Callable[[str, str], Optional[Refusal]]] = None
        self.hang = ""  # what is taken, as in `asked`, and never answered
        self.cut_lists = 0  # watches that break after the first object that there is
        self.mute = False  # watches stay open, and tell nothing
        self._connections: set[socket.socket] = set()
        self._server: Optional[ThreadingHTTPServer] = None
        self._port = 0
        self.up()

    def config(self, **keys: Any) -> ClusterConfig:
        given = {"namespace": self.namespace, "arches": ("x86_64", "aarch64"), "image": "x"}
        return ClusterConfig(url=f"http://127.0.0.1:{self._port}", **{**given, **keys})

    def up(self) -> None:
        """The server begins to answer; what is stored is as it was."""
        outer = self

        class Handler(_Handler):
            cluster = outer

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def down(self) -> None:
        """The server is killed. Pods live on."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        self.cut()

    def cut(self) -> None:
        """Every connection breaks."""
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def close(self) -> None:
        self.down()
        self.node.close()
        with self.store.changed:
            self.store.changed.notify_all()

    @property
    def is_up(self) -> bool:
        return self._server is not None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cluster: FakeKubernetes

    def setup(self) -> None:
        super().setup()
        self.cluster._connections.add(self.connection)

    def finish(self) -> None:
        self.cluster._connections.discard(self.connection)
        try:
            super().finish()
        except OSError:
            return

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        params = {key: values[0] for key, values in parse_qs(url.query).items()}
        try:
            match = PATH.fullmatch(url.path)
            if not match or match["namespace"] != self.cluster.namespace:
                raise Refusal(404, "NotFound", "the server could not find the requested resource")
            kind, name = match["kind"], unquote(match["name"] or "")
            verb = "WATCH" if params.get("watch") else self.command
            what = f"{verb} {kind}{match['sub'] or ''}"
            self.cluster.asked.append(what)
            self._disturb(what, name)
            if self.cluster.other and url.path.startswith(OTHERS):
                given = json.loads(body) if body else {}
                self._pass_on(*self.cluster.other(self.command, url.path, params, given))
            elif match["sub"] == "/log":
                self._log(name, params)
            elif verb == "WATCH":
                self._watch(kind, params)
            else:
                answer = self._answer(kind, name, params, json.loads(body) if body else {})
                self._say(200, answer)
        except Refusal as refusal:
            self._say(int(str(refusal.status["code"])), refusal.status)
        except OSError:
            self.close_connection = True

    do_POST = do_PATCH = do_DELETE = do_GET

    def _disturb(self, what: str, name: str) -> None:
        while self.cluster.hang == what and self.cluster.is_up:
            time.sleep(0.05)
        refusal = self.cluster.refuse and self.cluster.refuse(what, name)
        if refusal:
            raise refusal

    def _say(self, code: int, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _answer(self, kind: str, name: str, params: Mapping[str, str], body: Object) -> Object:
        store, node = self.cluster.store, self.cluster.node
        with store.changed:
            if self.command == "POST":
                made = store.create(kind, body)
                node.created(kind, made)
                return made
            if not name:
                found = [f for f in store.of(kind).values() if _selected(f, params)]
                return {"metadata": {"resourceVersion": str(store.version)}, "items": found}
            if name not in store.of(kind):
                raise Refusal(404, "NotFound", f'{kind} "{name}" not found')
            found_one = store.of(kind)[name]
            if self.command == "PATCH":
                made = store.put(kind, _merged(found_one, body))
                node.changed(kind, made)
                return made
            if self.command == "DELETE":
                node.deleted(kind, found_one)
            return copy.deepcopy(found_one)

    def _pass_on(self, code: int, found: Object | Iterator[bytes]) -> None:
        if isinstance(found, dict):
            self._say(code, found)
            return
        self._begin()
        for line in found:
            self._chunk(line)
        self._chunk(b"")

    def _begin(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _watch(self, kind: str, params: Mapping[str, str]) -> None:
        store = self.cluster.store
        with store.changed:
            version = int(params.get("resourceVersion") or 0)
            there = [copy.deepcopy(f) for f in store.of(kind).values() if _selected(f, params)]
            now = store.version
        if version and version < store.forgotten:
            raise Refusal(410, "Expired", "too old resource version")
        self._begin()
        for found in () if version else sorted(there, key=lambda one: one["metadata"]["name"]):
            self._event("ADDED", found)
            if self.cluster.cut_lists:
                self.cluster.cut_lists -= 1
                raise OSError
        self._changes(kind, params, version or now)

    def _changes(self, kind: str, params: Mapping[str, str], version: int) -> None:
        store = self.cluster.store
        end = time.monotonic() + float(params.get("timeoutSeconds") or 3600)
        while time.monotonic() < end and self.cluster.is_up:
            with store.changed:
                news = [h for h in store.history if h[0] > version and h[1] == kind]
                if version < store.forgotten:
                    expired = Refusal(410, "Expired", "too old resource version")
                    self._event("ERROR", expired.status)
                    break
                if not news and not store.changed.wait(0.5) and params.get("allowWatchBookmarks"):
                    meta = {"resourceVersion": str(version)}
                    self._event("BOOKMARK", {"metadata": meta})
            if self.cluster.mute:
                continue
            for _, _, what, found in news:
                if _selected(found, params):
                    self._event(what, found)
            version = news[-1][0] if news else version
        self._chunk(b"")

    def _event(self, what: str, found: Any) -> None:
        if self.cluster.mute:
            return
        self._chunk(json.dumps({"type": what, "object": found}).encode() + b"\n")

    def _log(self, name: str, params: Mapping[str, str]) -> None:
        output = self.cluster.node.output(name)
        since = 0.0
        if params.get("sinceTime"):
            since = datetime.strptime(params["sinceTime"], "%Y-%m-%dT%H:%M:%S%z").timestamp()
        cut = self.cluster.cut_logs_after
        begun = False
        for data in output.read(since, (time.monotonic() + cut) if cut else None):
            if not begun:  # the headers of a silent container come with its first line
                begun = True
                self._begin()
            self._chunk(data)
        if cut and not output.ended:
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        if not begun:
            self._begin()
        self._chunk(b"")


def _selected(found: Object, params: Mapping[str, str]) -> bool:
    return matches(found, params.get("labelSelector", ""), params.get("fieldSelector", ""))


def _merged(found: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(found) if isinstance(found, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value)
    return merged


class Output:
    """What a container has written, as its node keeps it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._blocks: list[tuple[float, bytes]] = []  # when; whole lines
        self.ended = False

    def write(self, data: bytes) -> None:
        """Whole lines. containerd takes a carriage return for a part of the newline."""
        with self._changed:
            self._blocks.append((time.time(), data.replace(b"\r\n", b"\n")))
            self._changed.notify_all()

    def end(self) -> None:
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def rotate(self) -> None:
        """What there is so far is thrown away."""
        with self._changed:
            self._blocks = [(when, b"") for when, _ in self._blocks]

    def read(self, since: float, until: Optional[float]) -> Iterator[bytes]:
        """Follow. `until`: of the monotonic clock; None: to the end."""
        at = 0
        while until is None or time.monotonic() < until:
            with self._changed:
                if at == len(self._blocks):
                    if self.ended:
                        return
                    self._changed.wait(0.1 if until else 0.5)
                blocks, at = self._blocks[at:], len(self._blocks)
            for when, data in blocks:
                if data and when >= since:
                    yield data

"""The API of one cluster, spoken over http.client: questions, and streams that go on for hours.

A stream must be closed from another thread while it waits, even for the first byte of the answer:
of a container that says nothing, the answer begins with its first line. That takes the socket,
which libraries on top hide (docs/adr/0010-kubernetes-client.md).
"""

from __future__ import annotations

import http.client
import json
import random
import re
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Optional
from urllib.parse import quote, urlencode, urlsplit

from koji_containerbuild.config.cluster import ClusterConfig
from koji_containerbuild.errors import ServiceError

CONNECT = 10.0  # seconds
ANSWER = 30.0  # seconds for the headers of an answer that goes on; a cluster sends them at once
PATIENCE = 30.0  # seconds; after that no new attempt is begun
LARGEST = 32 * 1024 * 1024  # bytes of an answer that is read at once
BLOCK = 64 * 1024  # bytes of a stream that are read at once
MERGE = "application/merge-patch+json"
_TRY_AGAIN = (429, 500, 502, 503, 504)
# A peer that is gone without a word is noticed after a minute; proxies see that someone is there.
_KEEP_ALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
)
_TOKEN = re.compile(r"[\x21-\x7e]+")
_BROKEN = (OSError, http.client.HTTPException)  # ssl.SSLError is an OSError


class ApiError(ServiceError):
    """A cluster did not do what was asked of it, in its own words."""

    def __init__(self, what: str, *, status: int = 0, reason: str = "", do: str = "") -> None:
        """`status`: of HTTP, 0: there was no answer; `reason`: the cluster's word for it."""
        super().__init__(what, do=do)
        self.status = status
        self.reason = reason


class Api:
    """One namespace of one cluster. Usable from several threads."""

    def __init__(
        self, name: str, cluster: ClusterConfig, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """`name`: for messages. Raises ServiceError when a file of the section cannot be read."""
        self.name = name
        self._cluster = cluster
        self._sleep = sleep
        self._url = urlsplit(cluster.url)
        self._idle: list[http.client.HTTPConnection] = []  # append and pop are atomic
        self._token = ("", 0.0)  # and when its file was written
        self._tls = self._context() if self._url.scheme == "https" else None

    def path(self, group: str, *names: str) -> str:
        """Of something in the namespace: path("batch/v1", "jobs", "x").

        The first group of all, "v1", has another root than those that came later.
        """
        root = "/api/v1" if group == "v1" else f"/apis/{group}"
        parts = "/".join(quote(name, safe="") for name in names)
        return f"{root}/namespaces/{quote(self._cluster.namespace, safe='')}/{parts}"

    def call(
        self,
        method: str,
        path: str,
        body: Optional[Mapping[str, Any]] = None,
        params: Mapping[str, str] = {},  # noqa: B006  read only
        *,
        patience: float = PATIENCE,
    ) -> dict[str, Any]:
        """The answer; it may be asked twice for it: what has a name is not made twice.

        `patience`: seconds for all of it, waiting for a cluster that is away too. Raises ApiError.
        """
        deadline = time.monotonic() + patience
        wait = 0.2
        while True:
            try:
                return self._once(method, _with(path, params), body, deadline)
            except ApiError as error:
                left = deadline - time.monotonic() - wait
                if error.status not in (0, *_TRY_AGAIN) or left < 0.1:
                    raise
            self._sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311  no secret in it
            wait = min(2 * wait, 2.0)

    def stream(
        self, path: str, params: Mapping[str, str], silent: Optional[float] = None
    ) -> Stream:
        """Ask for an answer that goes on; nothing of it is awaited here. Raises ApiError.

        `silent`: seconds without a byte after which it has broken; None: it may say nothing for
        as long as it likes, and begin with its headers when it has something to say.
        """
        headers, connection = self._headers("GET"), None
        try:
            connection = self._connect(CONNECT)
            connection.sock.settimeout(None if silent is None else ANSWER)
            connection.request("GET", _with(path, params), headers=headers)
        except (*_BROKEN, ValueError) as error:
            if connection is not None:
                connection.close()
            raise self._unreachable(error) from error
        return Stream(self, connection, silent)

    def _once(
        self,
        method: str,
        path: str,
        body: Optional[Mapping[str, Any]],
        deadline: float,
    ) -> dict[str, Any]:
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        left = max(0.1, deadline - time.monotonic())
        headers, connection = self._headers(method), None
        try:
            connection = self._reused() or self._connect(min(left, CONNECT))
            connection.sock.settimeout(left)
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            text = response.read(LARGEST + 1)
        except (*_BROKEN, ValueError) as error:
            if connection is not None:
                connection.close()
            raise self._unreachable(error) from error
        if response.will_close or not response.isclosed():
            connection.close()
        else:
            self._idle.append(connection)
        return self._answer(response.status, text)

    def _answer(self, status: int, text: bytes) -> dict[str, Any]:
        found = _object(text) if len(text) <= LARGEST else None
        if found is None:  # not a cluster's answer: a proxy's, perhaps
            found = {"message": _start(text) or "nothing", "reason": "NoJSON"}
            status = status if status >= 300 else 502
        if status < 300:
            return found
        raise self.refusal(status, found)

    def refusal(self, status: int, found: Mapping[str, Any]) -> ApiError:
        """The error in a Status object of Kubernetes."""
        message = str(found.get("message") or http.client.responses.get(status, status))
        message = message.strip().rstrip(".")[:1000]
        do = {
            401: f"An admin should look at the credential in [cluster {self.name}].",
            403: "An admin should look at the permissions of the builder in this cluster.",
        }.get(status, "")
        return ApiError(
            f"The cluster {self.name} answered: {message}.",
            status=status,
            reason=str(found.get("reason") or ""),
            do=do,
        )

    def _unreachable(self, error: Exception) -> ApiError:
        """Any other error than these may repeat what it did not like: a header with a token."""
        words = (str(error) if isinstance(error, _BROKEN) else "") or type(error).__name__
        place = self._url.netloc.rpartition("@")[2]
        return ApiError(
            f"The cluster {self.name} ({place}) cannot be reached: {words}.",
            do="An admin should look whether it is up, and at url and ca_file of its section.",
        )

    def _headers(self, method: str) -> dict[str, str]:
        kind = MERGE if method == "PATCH" else "application/json"
        headers = {"Accept": "application/json", "Content-Type": kind}
        if self._cluster.token_file:
            headers["Authorization"] = "Bearer " + self._current_token()
        return headers

    def _current_token(self) -> str:
        """Tokens run out; whoever renews them writes the file anew.

        What is no token is not for a header, nor for anybody's eyes: libraries would cite it.
        """
        path = Path(self._cluster.token_file)
        try:
            written = path.stat().st_mtime
            if written != self._token[1]:
                token = path.read_text(encoding="ascii").strip()
                if not _TOKEN.fullmatch(token):
                    raise ValueError("not one word")
                self._token = (token, written)
        except (OSError, ValueError) as error:
            raise ServiceError(
                f"The token for the cluster {self.name} cannot be read from {path}.",
                do=f"An admin should look at token_file in [cluster {self.name}]: the file holds "
                "one word, and nothing else.",
            ) from error
        return self._token[0]

    def _connect(self, seconds: float) -> http.client.HTTPConnection:
        host, port = str(self._url.hostname), self._url.port
        connection = (
            http.client.HTTPSConnection(host, port, timeout=seconds, context=self._tls)
            if self._tls
            else http.client.HTTPConnection(host, port, timeout=seconds)
        )
        try:
            connection.connect()
            for level, name, value in _KEEP_ALIVE:
                connection.sock.setsockopt(level, name, value)
        except BaseException:
            connection.close()
            raise
        return connection

    def _reused(self) -> Optional[http.client.HTTPConnection]:
        """A connection that is still there: what can be read from it now is its end."""
        for connection in self._taken():
            poll = select.poll()
            poll.register(connection.sock, select.POLLIN)
            if not poll.poll(0):
                return connection
            connection.close()
        return None

    def close(self) -> None:
        """Close connections that nobody uses now. The Api can be used again."""
        for connection in self._taken():
            connection.close()

    def _taken(self) -> Iterator[http.client.HTTPConnection]:
        """Connections that nobody uses, as long as there are; other threads take them, too."""
        while True:
            try:
                yield self._idle.pop()
            except IndexError:
                return

    def _context(self) -> ssl.SSLContext:
        cluster = self._cluster
        try:
            context = ssl.create_default_context(cafile=cluster.ca_file or None)
            if cluster.cert_file:
                context.load_cert_chain(cluster.cert_file, cluster.key_file)
        except OSError as error:  # ssl.SSLError is one
            raise ServiceError(
                f"A certificate for the cluster {self.name} cannot be read: {error}.",
                do=f"An admin should look at ca_file, cert_file and key_file in "
                f"[cluster {self.name}].",
            ) from error
        return context


class Stream:
    """An answer that goes on. Iterate it once; close it from any thread."""

    def __init__(
        self, api: Api, connection: http.client.HTTPConnection, silent: Optional[float]
    ) -> None:
        self._api = api
        self._silent = silent
        self._connection = connection
        self._socket = connection.sock  # the connection forgets it with the answer's headers
        self._lock = threading.Lock()
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        """Bytes as they come, until the cluster ends the answer or we do. Before them, when the
        answer begins, an empty block.

        Raises ApiError: for an answer that is an error, and with status 0 when it broke off.
        """
        try:
            response = self._connection.getresponse()
            if response.status != 200:
                raise self._api.refusal(response.status, _said(response.read(64 * 1024)))
            self._socket.settimeout(self._silent)
            block = b""
            while not self._closed:
                yield block
                block = response.read1(BLOCK)
                if not block:
                    break
        except (*_BROKEN, ValueError) as error:
            if not self._closed:
                raise self._api._unreachable(error) from error
        finally:
            self._free()

    def close(self) -> None:
        """Whoever waits for it waits no longer. Twice is no error."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            try:  # of the plain socket: TLS's own shutdown is not for another thread
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
            except OSError:  # it has ended by itself
                return

    def _free(self) -> None:
        with self._lock:
            self._closed = True
            self._connection.close()
            self._socket.close()


def _object(text: bytes) -> Optional[dict[str, Any]]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _said(text: bytes) -> dict[str, Any]:
    return _object(text) or {"message": _start(text)}


def _start(text: bytes) -> str:
    return " ".join(text[:200].decode(errors="replace").split())


def _with(path: str, params: Mapping[str, str]) -> str:
    return f"{path}?{urlencode(params)}" if params else path

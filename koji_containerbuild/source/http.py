"""GET from servers that a user may have chosen: one way for all that is read from the network.

Every address is asked for before it is gone to, those of redirects too. No credentials are sent,
neither of a netrc nor of a URL. There is an end to it in time, however slowly a server drips. The
environment's proxies are used.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Optional

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

from koji_containerbuild.rules.downloads import wrong_url
from koji_containerbuild.rules.repos import shown_url

REDIRECTS = 5
SILENCE = (10, 60)  # seconds: to connect, and between two bytes
BLOCK = 256 * 1024  # bytes


class Refused(requests.RequestException):
    """The server leads to where we do not go."""


class TooSlow(requests.RequestException):
    """The time was over."""


@dataclass(frozen=True)
class Way:
    """Where a request may go, how, and until when."""

    may_ask: Callable[[str], bool]  # of the URL of each hop
    ends: float  # time.monotonic()
    proxy: str = ""  # in place of the environment's
    ca_file: str = ""  # empty: REQUESTS_CA_BUNDLE or the system's


@contextmanager
def get(
    url: str, way: Way, headers: Optional[Mapping[str, str]] = None
) -> Iterator[requests.Response]:
    """The answer, its body not yet read: read `blocks` inside.

    Raises requests.RequestException (Refused and TooSlow are such) and urllib3's HTTPError.
    """
    watch = _Watch(way.ends)
    try:
        with _Session() as session:
            for scheme in ("http://", "https://"):
                session.mount(scheme, _Adapter(watch))
            with _follow(session, url, way, headers or {}) as answer:
                yield answer
    except (requests.RequestException, HTTPError) as error:
        if watch.over:
            raise TooSlow("the server took too long") from error
        raise
    finally:
        watch.close()
    if watch.over:  # the end of an answer without a length may be of our making
        raise TooSlow("the server took too long")


def blocks(answer: requests.Response) -> Iterator[bytes]:
    """The body as it comes and as it was sent: little must not become much."""
    read = getattr(answer.raw, "read1", answer.raw.read)  # urllib3 < 2.1 has no read1
    while block := read(BLOCK, decode_content=False):
        yield block


def _follow(
    session: requests.Session, url: str, way: Way, headers: Mapping[str, str]
) -> requests.Response:
    proxies = {"http": way.proxy, "https": way.proxy} if way.proxy else {}
    plain = {**headers, "Accept-Encoding": "identity"}
    for _ in range(REDIRECTS + 1):
        request = session.prepare_request(requests.Request("GET", url, plain, auth=_nobody))
        here = str(request.url)  # as it is sent: another reader than ours has been at it
        if why := wrong_url(here):
            raise Refused(f"{shown_url(here)} is not asked: {why}")
        if not way.may_ask(here):
            raise Refused(f"it leads to {shown_url(here)}, which is not allowed here")
        settings = session.merge_environment_settings(
            here, proxies, True, way.ca_file or None, None
        )
        answer = session.send(request, timeout=SILENCE, allow_redirects=False, **settings)
        try:
            target = session.get_redirect_target(answer)
            if target is None:
                return answer
            url = requests.compat.urljoin(here, target)
        except ValueError as error:
            answer.close()
            raise requests.exceptions.InvalidURL(
                f"{shown_url(here)} leads to what is no URL"
            ) from error
        answer.close()
    raise requests.TooManyRedirects(f"it leads on more than {REDIRECTS} times")


def _nobody(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Without it, a netrc or the URL would say who we are."""
    return request


class _Session(requests.Session):
    def resolve_redirects(self, *_: Any, **__: Any) -> Generator[Any, None, None]:
        """None: requests would read their bodies to the end, and look into a netrc."""
        yield from ()


class _Watch:
    """Ends the connections of a request when the time is over, whatever they are doing."""

    def __init__(self, ends: float) -> None:
        self.over = False
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._timer = threading.Timer(max(0.0, ends - time.monotonic()), self._end)
        self._timer.daemon = True
        self._timer.start()

    def add(self, connection: socket.socket) -> socket.socket:
        with self._lock:
            self._open.append(connection.dup())  # TLS takes the other one over
            if self.over:
                _shut(self._open[-1])
        return connection

    def _end(self) -> None:
        with self._lock:
            self.over = True
            for each in self._open:
                _shut(each)

    def close(self) -> None:
        self._timer.cancel()
        with self._lock:
            for each in self._open:
                each.close()
            self._open.clear()


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):  # it is closed already
        connection.shutdown(socket.SHUT_RDWR)


class _Adapter(HTTPAdapter):
    def __init__(self, watch: _Watch) -> None:
        class Http(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                return watch.add(super()._new_conn())

        class Https(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                return watch.add(super()._new_conn())

        class HttpPool(HTTPConnectionPool):
            ConnectionCls = Http

        class HttpsPool(HTTPSConnectionPool):
            ConnectionCls = Https

        self._pools = {"http": HttpPool, "https": HttpsPool}
        # Not by Retry-After, which may be years, and not by status: it would read all of the body.
        super().__init__(
            max_retries=Retry(3, status=0, backoff_factor=0.3, respect_retry_after_header=False)
        )

    def init_poolmanager(self, *arguments: Any, **settings: Any) -> None:
        super().init_poolmanager(*arguments, **settings)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **settings: Any) -> PoolManager:
        manager: PoolManager = super().proxy_manager_for(proxy, **settings)
        if not proxy.lower().startswith("socks"):  # these have connections of their own
            manager.pool_classes_by_scheme = self._pools
        return manager

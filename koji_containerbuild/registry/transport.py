"""How a registry is spoken to: connections, signing in, patience.

Built on dxf (ADR 0005), which knows the bearer and basic dances, uploads and mounts. Importing
this module costs requests and dxf, 0.2 s; so `client` does it when the first Registry is made.
"""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urljoin, urlsplit, urlunsplit

import requests
from dxf import DXF
from dxf.exceptions import DXFError, DXFMountFailed, DXFUnauthorizedError
from requests.exceptions import ChunkedEncodingError, HTTPError, SSLError

from koji_containerbuild.errors import BadRequest, ServiceError
from koji_containerbuild.registry.auth import AuthFile
from koji_containerbuild.registry.failures import Ask, explained
from koji_containerbuild.rules.pullspec import Pullspec

if TYPE_CHECKING:
    from koji_containerbuild.registry.client import RegistrySettings

T = TypeVar("T")

ATTEMPTS = 4
PATIENCE = 30.0  # seconds; after that no new attempt is begun
CONNECT = 10.0  # seconds
_TRY_AGAIN = (429, 500, 502, 503, 504)
_HUB = ("docker.io", "index.docker.io")


class Repository(DXF):
    """dxf's view of one repository, on a session that we share between repositories."""

    def __init__(self, spec: Pullspec, session: requests.Session, settings: RegistrySettings):
        host = "registry-1.docker.io" if spec.registry in _HUB else spec.registry
        super().__init__(
            host,
            spec.repository,
            auth=self._sign_in,
            insecure=spec.registry in settings.insecure,
            tlsverify=settings.ca_file or True,
            timeout=(min(CONNECT, settings.timeout), settings.timeout),  # type: ignore[arg-type]
        )
        self._sessions = [session]
        self._spec = spec
        self._auth_file = AuthFile(settings.auth_file)

    def ask(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        """One request below this repository. Raises requests' and dxf's errors."""
        response: requests.Response = self._request(  # type: ignore[no-untyped-call]
            method, path, **kwargs
        )
        if method == "get" and not kwargs.get("stream"):
            _check_complete(response, len(response.content))
        return response

    def download(self, path: str, chunk: int) -> Iterator[bytes]:
        """The body of an answer, in pieces; the connection is given back whatever happens."""
        with self.ask("get", path, stream=True) as response:
            yield from pieces(response, chunk)

    def upload(self, **what: Any) -> str:
        """dxf's push_blob: `filename`, or `data` and `digest`. Returns the digest."""
        with self._told_where():
            digest: str = self.push_blob(**what)
        return digest

    def hello(self) -> None:
        """The registry's own page, as nobody in particular: it may ask for a password."""
        answer = self._sessions[0].get(
            self._base_url, verify=self._tlsverify, timeout=self._timeout, allow_redirects=False
        )
        with answer:
            if answer.status_code != 401:
                answer.raise_for_status()

    def begin_and_cancel(self) -> None:
        """An upload of a few bytes that is given up: no blob comes of it."""
        kind = {"Content-Type": "application/octet-stream"}
        with self._told_where():
            where = self._where(self.ask("post", "blobs/uploads/"))
            try:
                answer = self.ask("patch", where, data=b"koji-containerbuild", headers=kind)
                where = self._where(answer)
            finally:
                self._give_up(where)

    def _give_up(self, where: str) -> None:
        """A registry that cannot be told so forgets the upload by itself, in time."""
        try:
            self.ask("delete", where)
        except HTTPError as error:
            if error.response is None or error.response.status_code not in (404, 405):
                raise

    @contextmanager
    def _told_where(self) -> Iterator[None]:
        """Whoever begins an upload is told where it goes on."""
        try:
            yield
        except KeyError as error:
            raise ServiceError(
                f"The registry {self._spec.registry} did not say where to upload to.",
                do="Is it a registry? Look at the answer of `curl -i` to its address /v2/.",
            ) from error

    def _where(self, response: requests.Response) -> str:
        """Of an upload; over TLS if the registry is, whatever its proxy makes it say."""
        where = urljoin(response.url, response.headers["Location"])
        scheme = "http" if self._insecure else "https"
        return urlunsplit(urlsplit(where)._replace(scheme=scheme))

    def _sign_in(self, _dxf: Any, response: requests.Response) -> None:
        credential = self._auth_file.find(self._spec.registry, self._spec.repository)
        try:
            self.authenticate(
                authorization=credential.header if credential else None, response=response
            )
        except (KeyError, ValueError) as error:  # no challenge, or a token answer without a token
            raise ServiceError(
                f"The registry {self._spec.registry} asks for a password in a way we don't know.",
                do="Is it a registry? Look at the answer of `curl -i` to its address /v2/.",
            ) from error


class Transport:
    """All connections of one Registry: a pooled session per host, usable from several threads."""

    def __init__(
        self,
        settings: RegistrySettings,
        sleep: Callable[[float], None],
        clock: Callable[[], float],
    ):
        self._settings = settings
        self._sleep = sleep
        self._clock = clock
        self._lock = threading.Lock()
        self._sessions: dict[str, requests.Session] = {}
        self._repositories: dict[tuple[str, int], Repository] = {}

    def close(self) -> None:
        """Close every connection. The transport can be used again afterwards."""
        with self._lock:
            self._repositories.clear()
            while self._sessions:
                self._sessions.popitem()[1].close()

    def run(self, ask: Ask, operation: Callable[[Repository], T]) -> T:
        """Do it, again if need be, and put what goes wrong into words.

        The whole operation is repeated, so it must be one that may be done twice. Everything a
        registry is asked here is: its contents are named by their digests.
        """
        repository = self._repository(ask.spec)
        start = self._clock()
        for attempt in itertools.count(1):
            try:
                return operation(repository)
            except (requests.RequestException, DXFError) as error:
                wait = _wait(error, attempt, self._clock() - start)
                if wait is None:
                    raise explained(error, ask, self._settings) from error
                if getattr(error, "response", None) is not None:
                    error.response.close()  # type: ignore[union-attr]  # nobody will read it
            self._sleep(wait)
        raise AssertionError("never reached")

    def request(
        self, ask: Ask, method: str, path: str, also: Iterable[int] = (), **kwargs: Any
    ) -> requests.Response:
        """One request; error statuses in `also` are answers like any other."""

        def operation(repository: Repository) -> requests.Response:
            try:
                return repository.ask(method, path, **kwargs)
            except HTTPError as error:
                if error.response is not None and error.response.status_code in also:
                    return error.response
                raise

        return self.run(ask, operation)

    def mount(self, ask: Ask, digest: str, source: str) -> bool:
        """Whether the registry took over the blob from its repository `source`."""

        def operation(repository: Repository) -> bool:
            try:
                repository.mount_blob(source, digest)
            except (DXFMountFailed, DXFUnauthorizedError):
                return False
            except HTTPError as error:  # not allowed there, not there, never heard of mounting
                if error.response is not None and error.response.status_code in (403, 404, 405):
                    return False
                raise
            return True

        return self.run(ask, operation)

    def _repository(self, spec: Pullspec) -> Repository:
        if not spec.registry:
            raise BadRequest(f"The image reference '{spec}' names no registry.")
        # One per thread: dxf keeps the token in it, and two threads would trip over each other.
        key = (spec.name, threading.get_ident())
        with self._lock:
            if key not in self._repositories:
                session = self._sessions.get(spec.registry) or _session()
                self._sessions[spec.registry] = session
                self._repositories[key] = Repository(spec, session, self._settings)
            return self._repositories[key]


def pieces(response: requests.Response, chunk: int) -> Iterator[bytes]:
    """The body of a stream. Raises requests.ConnectionError when it ends too early."""
    size = 0
    for data in response.iter_content(chunk):
        size += len(data)
        yield data
    _check_complete(response, size)


def _check_complete(response: requests.Response, size: int) -> None:
    """EL9's urllib3 takes half an answer for a whole one; the next one does this itself."""
    said = response.headers.get("Content-Length", "")
    if said.isdecimal() and size < int(said) and not response.headers.get("Content-Encoding"):
        raise requests.ConnectionError(f"it broke off after {size} of {said} bytes")


def _session() -> requests.Session:
    session = requests.Session()
    session.auth = lambda request: request  # or requests would send what ~/.netrc has
    return session


def _wait(error: Exception, attempt: int, elapsed: float) -> float | None:
    """Seconds until the next attempt, or None: it would not help, or we have waited enough."""
    response = getattr(error, "response", None)
    status = response.status_code if response is not None else 0
    lost = isinstance(error, (requests.ConnectionError, requests.Timeout, ChunkedEncodingError))
    if attempt >= ATTEMPTS or isinstance(error, SSLError) or not (lost or status in _TRY_AGAIN):
        return None
    wait = 0.5 * 2 ** (attempt - 1) * random.uniform(0.5, 1.0)  # noqa: S311  no secret in it
    asked = response.headers.get("Retry-After", "") if response is not None else ""
    wait = max(wait, _seconds(asked))
    return wait if elapsed + wait <= PATIENCE else None


def _seconds(retry_after: str) -> float:
    """What `Retry-After` asks for: a number of seconds, or a date.

    >>> _seconds("7"), _seconds(""), _seconds("soon"), _seconds("Thu, 01 Jan 1970 00:00:00 GMT")
    (7.0, 0.0, 0.0, 0.0)
    """
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        date = parsedate_to_datetime(retry_after)
    except (TypeError, ValueError):
        return 0.0
    return max(0.0, (date - type(date).now(date.tzinfo)).total_seconds())

"""Ask the apiserver, plainly: for tests and the devstack itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests

from koji_containerbuild.errors import ServiceError

SECONDS = 30


class Refused(ServiceError):
    """The apiserver said no; `code` is the HTTP status."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"The apiserver answers {code}: {message}")
        self.code = code


class Rest:
    """One user of one cluster."""

    def __init__(self, url: str, authority: Path, token: str) -> None:
        self.url = url
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy, no ~/.netrc
        self._session.verify = str(authority)
        self._session.headers["Authorization"] = f"Bearer {token}"

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        params: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> Any:
        """The answer's object. Refused if the apiserver says no; a ServiceError if it is away."""
        answer = self._send(method, path, body, params, content_type)
        return answer.json() if answer.content else {}

    def text(self, path: str, params: Mapping[str, Any] | None = None) -> bytes:
        """An answer that is no object: a pod's log."""
        return bytes(self._send("GET", path, None, params, "application/json").content)

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _send(
        self, method: str, path: str, body: Any, params: Mapping[str, Any] | None, kind: str
    ) -> requests.Response:
        try:
            answer = self._session.request(
                method,
                self.url + path,
                data=None if body is None else json.dumps(body).encode(),
                params=params,
                headers={"Content-Type": kind},
                timeout=SECONDS,
            )
        except requests.RequestException as error:
            raise ServiceError(f"The apiserver at {self.url} does not answer: {error}") from error
        if not answer.ok:
            raise Refused(answer.status_code, _message(answer))
        return answer


def _message(answer: requests.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:500]

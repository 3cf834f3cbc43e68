"""What went wrong with a registry, in words: who, what was asked, what to do. Never a password."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import requests
from dxf.exceptions import DXFAuthInsecureError, DXFUnauthorizedError
from requests.exceptions import HTTPError, RequestException, SSLError

from koji_containerbuild.errors import NotFound, ServiceError
from koji_containerbuild.registry.auth import AuthFile
from koji_containerbuild.rules.pullspec import Pullspec

if TYPE_CHECKING:
    from koji_containerbuild.registry.client import RegistrySettings

_ASK_THEM = "Try again; if it stays so, ask those who run the registry."

_LOST: tuple[tuple[type[Exception], str, str], ...] = (  # the first that fits
    (
        DXFAuthInsecureError,
        "The registry {host} wants a password {wanted}, but is spoken to over plain HTTP.",
        "Give it TLS and take {host} out of the insecure ones in [registry].",
    ),
    (
        SSLError,
        "No secure connection to the registry {host} {wanted}: {reason}.",
        "Name its CA with ca_file in [registry]; "
        "if it really is plain HTTP, set insecure = true there.",
    ),
    (
        requests.Timeout,
        "The registry {host} did not answer within {seconds:g} s, asked {wanted}.",
        _ASK_THEM,
    ),
    (
        requests.ConnectionError,
        "The registry {host} could not be reached {wanted}: {reason}.",
        "Is its name right, does it run, and may this machine reach it?",
    ),
    (Exception, "Talking to the registry {host} {wanted} failed: {reason}.", _ASK_THEM),
)


@dataclass(frozen=True)
class Ask:
    """What is wanted of whom, as the messages say it: `to {verb} {thing}`."""

    spec: Pullspec
    verb: str  # read, write, delete
    thing: str


def explained(error: Exception, ask: Ask, settings: RegistrySettings) -> ServiceError:
    """Our error for one of requests' or dxf's. Closes the response that the error holds."""
    response = getattr(error, "response", None)
    if isinstance(error, DXFUnauthorizedError):
        return _refused(401, ask, settings)
    if isinstance(error, HTTPError) and response is not None:
        with response:
            return _by_status(response, ask, settings)
    what, do = next((what, do) for kind, what, do in _LOST if isinstance(error, kind))
    host = ask.spec.registry
    what = what.format(
        host=host,
        wanted=f"to {ask.verb} {ask.thing}",
        reason=_reason(error),
        seconds=settings.timeout,
    )
    return ServiceError(what, do=do.format(host=host))


def _by_status(response: requests.Response, ask: Ask, settings: RegistrySettings) -> ServiceError:
    host, status, wanted = ask.spec.registry, response.status_code, f"to {ask.verb} {ask.thing}"
    said = _said(response)
    if status in (401, 403):
        return _refused(status, ask, settings)
    if status == 404 and ask.verb == "read":
        what = f"The registry {host} has no {ask.thing}."
        return NotFound(what, do="Check the name; was it pushed there?")
    if status == 429:
        what = f"The registry {host} has had too many requests (429), asked {wanted}."
        do = "Try again later; an account in the auth file often has a higher limit."
        return ServiceError(what, do=do)
    if status >= 500:
        what = f"The registry {host} failed ({status}{said}), asked {wanted}."
        return ServiceError(what, do=_ASK_THEM)
    do = "Does the repository have to be created first?" if status == 404 else ""
    if "HTTPS server" in said:
        do = f"It speaks TLS: take {host} out of the insecure ones in [registry]."
    return ServiceError(f"The registry {host} refused {wanted} ({status}{said}).", do=do)


def _refused(status: int, ask: Ask, settings: RegistrySettings) -> ServiceError:
    host, path = ask.spec.registry, settings.auth_file
    what = f"The registry {host} does not let us {ask.verb} {ask.thing} ({status})."
    if not path:
        do = f"Set auth_file in [registry] to an auth.json with an entry for {host}."
        return ServiceError(what, do=do)
    credential = AuthFile(path).find(host, ask.spec.repository)
    if credential is None:
        do = f"The auth file has no entry for it: podman login --authfile {path} {host}"
    else:
        do = (
            f"The entry {credential.entry} of {path} was used: "
            f"is its password right, and may it {ask.verb} {ask.spec.repository}?"
        )
    return ServiceError(what, do=do)


def _said(response: requests.Response) -> str:
    """The registry's own words, from the error body that the distribution spec describes."""
    try:
        text = response.text
    except RequestException:  # broken off; the status has to do
        return ""
    try:
        errors = response.json()["errors"]
        words = "; ".join(f"{one.get('code', '')} {one.get('message', '')}" for one in errors)
    except (ValueError, KeyError, TypeError, AttributeError):
        words = "" if "<" in text else text  # a proxy's HTML page tells nobody anything
    words = " ".join(words.split())
    return f": {words[:300]}" if words else ""


def _reason(error: BaseException) -> str:
    """The system's words for it, from the bottom of the chain; requests' own are three lines."""
    words = str(error)
    at: BaseException | None = error
    while at is not None:
        if isinstance(at, OSError) and not isinstance(at, RequestException):
            words = at.strerror or str(at) or words
        at = at.__cause__ or at.__context__
    return words[:300].rstrip(".")

"""Passwords for registries, from the auth.json that docker, podman and Kubernetes secrets share.

Source: containers-auth.json(5). Credential helpers are programs; we don't run them.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from koji_containerbuild.errors import ConfigError

_DOCKER_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")


@dataclass(frozen=True)
class Credential:
    """What is sent to a registry that asks who we are. Its repr shows nothing secret.

    >>> Credential("Basic c2VjcmV0", entry="quay.io")
    Credential(entry='quay.io')
    """

    header: str = field(repr=False)  # the whole value of `Authorization`
    entry: str = ""  # the key in the file


@dataclass(frozen=True)
class AuthFile:
    """An auth.json, read each time it is asked, so that a renewed password is seen."""

    path: str  # "" when the site has none: every registry is asked as nobody in particular

    def find(self, host: str, repository: str) -> Credential | None:
        """The credential of the longest matching entry: host/a/b, host/a, host.

        None when the file says nothing of that host. Raises ConfigError when the file cannot be
        read, or keeps this host's password where we cannot get at it.
        """
        document = self._read()
        entries = {_normal(key): (key, value) for key, value in _dict(document, "auths").items()}
        for name in _names(host, repository):
            if name in entries and entries[name][1]:
                return self._credential(*entries[name])
        kept_elsewhere = {_normal(key) for key in _dict(document, "credHelpers")}
        listed = document.get("credsStore") and any(n in entries for n in _names(host, repository))
        if listed or kept_elsewhere.intersection(_names(host, repository)):
            raise ConfigError(
                f"The auth file {self.path} leaves the password for {host} to a credential helper.",
                do=f"Write it into the file: podman login --authfile {self.path} {host}",
            )
        return None

    def _credential(self, key: str, entry: Any) -> Credential:
        text = entry.get("auth", "") if isinstance(entry, dict) else ""
        try:
            name, colon, _ = base64.b64decode(text, validate=True).decode().partition(":")
        except (TypeError, ValueError, binascii.Error):
            name, colon = "", ""  # the cause would show the secret, so it is not kept
        if not (name and colon):
            raise ConfigError(
                f"The entry for {key} in the auth file {self.path} holds no name and password.",
                do=f"Write it again: podman login --authfile {self.path} {key}",
            )
        return Credential(f"Basic {text}", entry=key)

    def _read(self) -> dict[str, Any]:
        if not self.path:
            return {}
        try:
            document = json.loads(Path(self.path).read_bytes())
        except OSError as error:
            raise ConfigError(
                f"The auth file {self.path} cannot be read: {error.strerror}.",
                do="Correct auth_file in [registry], or the rights of the file.",
            ) from error
        except ValueError:
            document = None  # the cause would show the file's text, so it is not kept
        if not isinstance(document, dict):
            raise ConfigError(
                f"The auth file {self.path} is not a JSON object.",
                do=f"Make a new one: podman login --authfile {self.path} REGISTRY",
            )
        return document


def _dict(document: dict[str, Any], key: str) -> dict[str, Any]:
    value = document.get(key)
    return value if isinstance(value, dict) else {}


def _normal(key: str) -> str:
    """`https://quay.io/v2/` is how docker once wrote `quay.io`.

    >>> _normal("https://index.docker.io/v1/"), _normal("quay.io/fedora/")
    ('index.docker.io', 'quay.io/fedora')
    """
    name = key.partition("://")[2] or key
    name = name.rstrip("/")
    return name[:-3] if name.endswith(("/v1", "/v2")) and "://" in key else name


def _names(host: str, repository: str) -> Iterator[str]:
    """The entries that fit, the closest first.

    >>> list(_names("quay.io", "fedora/web"))
    ['quay.io/fedora/web', 'quay.io/fedora', 'quay.io']
    """
    for name in _DOCKER_HUB if host in _DOCKER_HUB else (host,):
        parts = repository.split("/")
        for length in range(len(parts), -1, -1):
            yield "/".join((name, *parts[:length]))

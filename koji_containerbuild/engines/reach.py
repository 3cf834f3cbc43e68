"""Whether a cluster answers: how long it may be away, and what users are told of that."""

from __future__ import annotations

import time

from koji_containerbuild.engines.api import ApiError
from koji_containerbuild.engines.streams import Health
from koji_containerbuild.errors import ServiceError

SILENT = 3.0  # seconds that a cluster may be away before users are told
AWAY = 900.0  # seconds that it may be away before it is an error
DENIED = 60.0  # the same when it says that we may not; right after its start it may do so


class Reach:
    """Filled in from the watch of a job's pods."""

    def __init__(self, name: str) -> None:
        """`name`: of the cluster."""
        self._name = name
        self._away_since = 0.0
        self._told = False
        self._error = ServiceError("")  # why it is away

    def hear(self, health: Health) -> None:
        """Raises ServiceError when the cluster is away for too long."""
        if health.error is None:
            self._away_since = 0.0
            return
        self._away_since = self._away_since or time.monotonic()
        if time.monotonic() - self._away_since > bearable(health.error):
            raise health.error
        self._error = health.error

    def note(self) -> str:
        """What is to be told, once."""
        away = time.monotonic() - self._away_since if self._away_since else 0.0
        if away > SILENT and not self._told:
            self._told = True
            return f"{self._error.what} Nothing is lost by that; we try again."
        if not away and self._told:
            self._told = False
            return f"The cluster {self._name} answers again."
        return ""


def bearable(error: ServiceError) -> float:
    """Seconds for which it may come again and again."""
    status = error.status if isinstance(error, ApiError) else 401  # without: no token
    return DENIED if status in (401, 403) else AWAY

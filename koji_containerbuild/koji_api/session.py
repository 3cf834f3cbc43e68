"""The hub's session, and its errors in our words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from typing import Any
from xml.parsers.expat import ExpatError
from xmlrpc.client import Fault

import koji
from koji.tasks import ServerExit

from koji_containerbuild.errors import ServiceError

# What a call may end with beside koji's own errors: a lost connection (requests' errors are
# OSErrors), a fault that koji has no name for, a proxy's page in place of an answer.
HUB_ERRORS = (OSError, HTTPException, Fault, ExpatError)

# The kojid of this host was started anew, and its login has ended the sessions of earlier tasks.
GONE = (koji.AuthLockError, koji.AuthExpired)

Session = Any  # koji.ClientSession: its methods are the hub's, known to nobody but the hub


@contextmanager
def asking(what: str, do: str = "") -> Iterator[None]:
    """Raises ServiceError with the hub's own words. `what`: what we asked of it."""
    try:
        yield
    except koji.GenericError as error:
        raise ServiceError(f"Koji did not {what}: {error}.", do=do) from error
    except HUB_ERRORS as error:
        raise ServiceError(
            f"Koji did not answer ({what}): {error}.", do="Look whether the hub is up."
        ) from error


def end_if_gone(error: ServiceError) -> None:
    """Raises kojid's own word for its end if the hub has refused us because of our session.

    Another process has our task, or will have it: this one can do nothing more.
    """
    if isinstance(error.__cause__, GONE):
        raise ServerExit(str(error.__cause__)) from error

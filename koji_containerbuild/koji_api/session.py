"""The hub's session, and its errors in our words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import koji

from koji_containerbuild.errors import ServiceError

Session = Any  # koji.ClientSession: its methods are the hub's, known to nobody but the hub


@contextmanager
def asking(what: str, do: str = "") -> Iterator[None]:
    """Raises ServiceError with the hub's own words. `what`: what we asked of it."""
    try:
        yield
    except koji.GenericError as error:
        raise ServiceError(f"Koji did not {what}: {error}.", do=do) from error
    except OSError as error:  # requests' errors are OSErrors
        raise ServiceError(
            f"Koji did not answer ({what}): {error}.", do="Look whether the hub is up."
        ) from error

"""A plan as environment variables: how it gets to where no file can be brought.

gzip and base64, in pieces, since Linux lets a variable have 128 KiB. A plan holds no secret.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import io
import itertools
import zlib
from collections.abc import Mapping

from koji_containerbuild.errors import BadRequest, ServiceError

VARIABLE = "PLAN_"  # and a number from 0 on
ARCH = "PLAN_ARCH"  # which of its arches is meant
ONCE_MORE = "BUILD"  # where OpenShift repeats all of it, as JSON
PIECE = 96 * 1024  # bytes of one variable
MOST = 1024 * 1024  # bytes of all of them together; a cluster keeps no larger object
LARGEST = 64 * 1024 * 1024  # bytes of a plan: more is no plan but a trap


def to_variables(plan: str) -> Mapping[str, str]:
    """Name → value, in order. Raises BadRequest for a plan that is too large.

    >>> list(to_variables("{}"))
    ['PLAN_0']
    """
    packed = base64.b64encode(gzip.compress(plan.encode(), mtime=0)).decode()
    if len(packed) > MOST:
        raise BadRequest(
            f"The plan of the build has {len(plan.encode())} bytes, packed {len(packed)}; the "
            f"cluster takes {MOST}.",
            do="Shorten the .repo files, or name fewer files that git does not hold.",
        )
    starts = range(0, len(packed), PIECE)
    return {f"{VARIABLE}{n}": packed[at : at + PIECE] for n, at in enumerate(starts)}


def from_variables(environment: Mapping[str, str]) -> bytes:
    """The text of the plan. Raises ServiceError when it is not whole."""
    names = map(f"{VARIABLE}{{}}".format, itertools.count())
    pieces = [environment[name] for name in itertools.takewhile(environment.__contains__, names)]
    if not pieces:
        raise ServiceError(f"There is no plan: the variable {VARIABLE}0 is not set.")
    try:
        packed = base64.b64decode("".join(pieces), validate=True)
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
            plan = file.read(LARGEST + 1)
    except (binascii.Error, OSError, EOFError, zlib.error, ValueError) as error:
        raise ServiceError(
            f"The variables {VARIABLE}0 to {VARIABLE}{len(pieces) - 1} hold no plan: {error}."
        ) from error
    if len(plan) > LARGEST:
        raise ServiceError(f"The plan has more than {LARGEST} bytes.")
    return plan

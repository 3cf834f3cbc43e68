"""A plan as an environment variable: how it gets to where no file can be brought.

gzip and base64. A plan holds no secret.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import io
import zlib
from collections.abc import Mapping

from koji_containerbuild.errors import BadRequest, ServiceError

VARIABLE = "PLAN"
ARCH = "PLAN_ARCH"  # which of its arches is meant
MOST = 96 * 1024  # bytes of the variable
LARGEST = 64 * 1024 * 1024  # bytes of a plan: more is no plan but a trap


def to_variable(plan: str) -> str:
    """Raises BadRequest for a plan that is too large.

    Linux lets a variable have 128 KiB, and OpenShift repeats all that is in a Build, with the plan,
    in one more, BUILD.

    >>> from_variables({VARIABLE: to_variable("{}")})
    b'{}'
    """
    packed = base64.b64encode(gzip.compress(plan.encode(), mtime=0)).decode()
    if len(packed) > MOST:
        raise BadRequest(
            f"The plan of this build has {len(plan.encode())} bytes, packed {len(packed)}; "
            f"OpenShift takes {MOST}.",
            do="Use fewer source files, or shorter .repo files.",
        )
    return packed


def from_variables(environment: Mapping[str, str]) -> bytes:
    """The text of the plan. Raises ServiceError when it is not whole."""
    if VARIABLE not in environment:
        raise ServiceError(f"There is no plan: the variable {VARIABLE} is not set.")
    try:
        packed = base64.b64decode(environment[VARIABLE], validate=True)
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
            plan = file.read(LARGEST + 1)
    except (binascii.Error, OSError, EOFError, zlib.error, ValueError) as error:
        raise ServiceError(f"The variable {VARIABLE} holds no plan: {error}.") from error
    if len(plan) > LARGEST:
        raise ServiceError(f"The plan has more than {LARGEST} bytes.")
    return plan

"""Small texts from the network: .repo files."""

from __future__ import annotations

import time
from collections.abc import Sequence

import requests
from urllib3.exceptions import HTTPError

from koji_containerbuild.errors import BadRequest
from koji_containerbuild.rules.repos import is_allowed_host, shown_url
from koji_containerbuild.source import http

LARGEST = 1024 * 1024  # bytes
SECONDS = 120  # in all


def read_url(url: str, allowed: Sequence[str] = ()) -> str:
    """The text at a URL. Raises BadRequest: the URL is the user's.

    `allowed`: the hosts that it may be read from and redirected to; none: any.
    """
    way = http.Way(lambda hop: is_allowed_host(hop, allowed), time.monotonic() + SECONDS)
    data = bytearray()
    try:
        with http.get(url, way) as answer:
            answer.raise_for_status()
            for block in http.blocks(answer):
                data += block
                if len(data) > LARGEST:
                    raise BadRequest(
                        f"{shown_url(url)} is larger than {LARGEST} bytes.", do="Give a .repo file."
                    )
    except (requests.RequestException, HTTPError) as error:
        raise BadRequest(f"Cannot read {shown_url(url)}: {error}.", do="Check the URL.") from error
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise BadRequest(f"{shown_url(url)} is not UTF-8.", do="Give a .repo file.") from error

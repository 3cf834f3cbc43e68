"""Small texts from the network: .repo files."""

from __future__ import annotations

import requests
from urllib3.exceptions import HTTPError

from koji_containerbuild.errors import BadRequest

LARGEST = 1024 * 1024  # bytes
TIMEOUT = 60  # seconds


def read_url(url: str) -> str:
    """The text at a URL. Raises BadRequest: the URL is the user's."""
    try:
        # As it is sent, so that little cannot become much; `auth`: not by what is in a netrc.
        plain = {"Accept-Encoding": "identity"}
        with requests.get(
            url, headers=plain, auth=lambda r: r, timeout=TIMEOUT, stream=True
        ) as answer:
            answer.raise_for_status()
            data = answer.raw.read(LARGEST + 1, decode_content=False)
    except (requests.RequestException, HTTPError) as error:
        raise BadRequest(f"Cannot read {url}: {error}.", do="Check the URL.") from error
    if len(data) > LARGEST:
        raise BadRequest(f"{url} is larger than {LARGEST} bytes.", do="Give a .repo file.")
    try:
        return bytes(data).decode()
    except UnicodeDecodeError as error:
        raise BadRequest(f"{url} is not UTF-8.", do="Give a .repo file.") from error

"""Small texts from the network: .repo files."""

from __future__ import annotations

import requests

from koji_containerbuild.errors import BadRequest

LARGEST = 1024 * 1024  # bytes
TIMEOUT = 60  # seconds


def read_url(url: str) -> str:
    """The text at a URL. Raises BadRequest: the URL is the user's."""
    try:
        with requests.get(url, timeout=TIMEOUT, stream=True) as answer:
            answer.raise_for_status()
            data = answer.raw.read(LARGEST + 1, decode_content=True)
    except requests.RequestException as error:
        raise BadRequest(f"Cannot read {url}: {error}.", do="Check the URL.") from error
    if len(data) > LARGEST:
        raise BadRequest(f"{url} is larger than {LARGEST} bytes.", do="Give a .repo file.")
    try:
        return bytes(data).decode()
    except UnicodeDecodeError as error:
        raise BadRequest(f"{url} is not UTF-8.", do="Give a .repo file.") from error

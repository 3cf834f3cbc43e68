""".repo files that are read from a URL."""

from __future__ import annotations

import pytest

from koji_containerbuild.errors import BadRequest
from koji_containerbuild.source import download
from koji_containerbuild.source.download import read_url
from tests.fakes.file_server import both, file_server, header, status

TEXT = "[a]\nbaseurl=http://a/\n"


def test_the_text_is_that_of_the_file_also_where_it_has_moved():
    with file_server() as server:
        server.files["/a.repo"] = TEXT.encode()
        server.habits = [both(status(301), header("Location", "/a.repo"))]
        assert read_url(f"{server.url}/old", ["127.0.0.1"]) == TEXT


def test_a_file_that_has_moved_to_a_host_that_is_not_allowed_is_not_asked_for():
    with file_server() as server, file_server() as other:
        other.files["/a.repo"] = TEXT.encode()
        place = other.url.replace("127.0.0.1", "localhost") + "/a.repo"
        server.habits = [both(status(302), header("Location", place))] * 2
        with pytest.raises(BadRequest, match="localhost.*not allowed here"):
            read_url(f"{server.url}/a.repo", ["127.0.0.1"])
        assert other.asked == []
        assert read_url(f"{server.url}/a.repo") == TEXT


@pytest.mark.parametrize(
    "body, words",
    [(b"\xff", "is not UTF-8"), (b"a" * (download.LARGEST + 1), "is larger than 1048576 bytes")],
)
def test_what_is_no_small_text_is_refused(body: bytes, words: str):
    with file_server() as server, pytest.raises(BadRequest, match=words):
        server.files["/a.repo"] = body
        read_url(f"{server.url}/a.repo")

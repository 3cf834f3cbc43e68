"""Reading from servers that lead elsewhere, drip, or ask who we are."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from urllib3.exceptions import HTTPError

from koji_containerbuild.source import http
from tests.fakes.file_server import Answer, FileServer, Habit, both, file_server, header, status


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server() as made:
        made.files["/a"] = b"content"
        yield made


def leads_to(url: str) -> Habit:
    def habit(answer: Answer) -> None:
        answer.status, answer.body = 302, b"elsewhere"
        answer.headers["Location"] = url

    return habit


def read(url: str, seconds: float = 30.0, may_ask=lambda url: True) -> bytes:
    with http.get(url, http.Way(may_ask, time.monotonic() + seconds)) as answer:
        answer.raise_for_status()
        return b"".join(http.blocks(answer))


def test_a_redirect_is_followed(server: FileServer):
    server.habits = [leads_to("/b"), leads_to(f"{server.url}/a")]
    assert read(f"{server.url}/a") == b"content"


def test_five_redirects_are_followed_and_no_more(server: FileServer):
    server.habits = [leads_to("/a")] * 5
    assert read(f"{server.url}/a") == b"content"
    server.habits = [leads_to("/a")] * 6
    with pytest.raises(requests.TooManyRedirects, match="more than 5"):
        read(f"{server.url}/a")


def test_every_hop_is_asked_for_before_it_is_gone_to(server: FileServer):
    with file_server() as other:
        other.files["/secret"] = b"secret"
        server.habits = [leads_to("/b"), leads_to(f"{other.url}/secret")]
        with pytest.raises(http.Refused, match="/secret, which is not allowed here"):
            read(f"{server.url}/a", may_ask=lambda url: url.startswith(server.url))
        assert other.asked == []


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://h/x", "http://u:geheim@h/", "http://[::1", "http://h/\xff"],
)
def test_a_redirect_to_what_is_not_asked_is_refused_in_words(server: FileServer, url: str):
    server.habits = [leads_to(url)]
    with pytest.raises((http.Refused, requests.exceptions.InvalidURL)) as caught:
        read(f"{server.url}/a")
    assert "geheim" not in str(caught.value)


def test_no_password_of_a_netrc_is_sent_on_a_redirect_either(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    server.habits = [leads_to("/a")]
    assert read(f"{server.url}/a") == b"content"
    assert len(server.asked) == 2 and server.credentials == []


def test_the_proxy_of_the_environment_is_used(server: FileServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("no_proxy", "")
    server.files["http://far.example/x"] = b"by proxy"
    assert read("http://far.example/x") == b"by proxy"


@contextmanager
def dripping(head: bytes) -> Iterator[str]:
    """A server that sends this at once, and then a byte from time to time, for ever."""
    listening = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(4096)
            try:
                connection.sendall(head)
                while not over.wait(0.05):
                    connection.sendall(b"a")
            except OSError:
                return

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    finally:
        over.set()
        thread.join()
        listening.close()


HEADS = {
    "status": b"",
    "header": b"HTTP/1.1 200 OK\r\nX: ",
    "body": b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
    "body without a length": b"HTTP/1.1 200 OK\r\n\r\n",
    "chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;",
    "trailer": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
    "redirect": b"HTTP/1.1 302 OK\r\nLocation: ",
}


@pytest.mark.parametrize("head", HEADS.values(), ids=list(HEADS))
def test_a_server_that_drips_does_not_hold_us_longer_than_we_want(head: bytes):
    begin = time.monotonic()
    with dripping(head) as url, pytest.raises(http.TooSlow):
        read(url, seconds=0.4)
    assert time.monotonic() - begin < 5


def test_a_redirect_whose_body_has_no_end_is_not_read(server: FileServer):
    head = f"HTTP/1.1 302 Found\r\nLocation: {server.url}/a\r\n\r\n".encode()
    with dripping(head) as url:
        assert read(url, seconds=10) == b"content"


def test_a_server_does_not_say_how_long_we_wait_for_it(server: FileServer):
    begin = time.monotonic()
    server.habits = [both(status(503), header("Retry-After", "99"))]
    with pytest.raises((requests.HTTPError, HTTPError)):
        read(f"{server.url}/a")
    assert time.monotonic() - begin < 5

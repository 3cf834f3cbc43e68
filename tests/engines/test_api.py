"""The client of a cluster's API, against a server of this machine."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Optional

import pytest

from koji_containerbuild.config.cluster import ClusterConfig
from koji_containerbuild.devstack import certs as certificates
from koji_containerbuild.engines.api import Api, ApiError, Stream
from koji_containerbuild.errors import ServiceError

SECRET = "s3cr3t-token"
Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True

    def do_GET(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(size)
        self.server.asked.append((self.command, self.path, dict(self.headers), self.body))
        answers = self.server.answers
        (answers.pop(0) if len(answers) > 1 else answers[0])(self)

    do_POST = do_PATCH = do_DELETE = do_GET

    def say(self, status: int, value: Any, **headers: str) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for name, text in headers.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(data)

    def chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def begin(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, certificate: Optional[Path] = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answers: list[Answer] = [says(200, {"kind": "Fine"})]
        self.connections = 0
        self.go = threading.Event()
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


def says(status: int, value: Any, **headers: str) -> Answer:
    return lambda handler: handler.say(status, value, **headers)


def breaks(handler: Handler) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


@pytest.fixture
def server() -> Iterator[Server]:
    yield from _running(Server())


def _running(server: Server) -> Iterator[Server]:
    threading.Thread(target=lambda: server.serve_forever(0.01), daemon=True).start()
    yield server
    server.go.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def api(server: Server, tmp_path: Path) -> Iterator[Api]:
    api = api_of(server, tmp_path)
    yield api
    api.close()


def api_of(server: Server, folder: Path, scheme: str = "http", **keys: str) -> Api:
    (folder / "token").write_text(SECRET + "\n")
    url = f"{scheme}://127.0.0.1:{server.server_address[1]}"
    return Api(
        "one",
        ClusterConfig(url=url, namespace="builds", token_file=str(folder / "token"), **keys),
        sleep=lambda seconds: time.sleep(seconds / 10),
    )


def test_a_path_is_in_the_namespace_and_quoted(api: Api):
    assert api.path("v1", "pods", "x", "log") == "/api/v1/namespaces/builds/pods/x/log"
    assert api.path("batch/v1", "jobs", "a/b") == "/apis/batch/v1/namespaces/builds/jobs/a%2Fb"


def test_a_question_has_token_and_body_and_gets_its_answer(server: Server, api: Api):
    assert api.call("POST", "/x", {"a": "ü"}, {"b": "c d"}) == {"kind": "Fine"}
    method, path, headers, body = server.asked[0]
    assert (method, path, json.loads(body)) == ("POST", "/x?b=c+d", {"a": "ü"})
    assert headers["Authorization"] == f"Bearer {SECRET}"


def test_a_change_is_a_merge_patch(server: Server, api: Api):
    api.call("PATCH", "/x", {})
    assert server.asked[0][2]["Content-Type"] == "application/merge-patch+json"


def test_a_token_is_read_again_when_it_has_changed(server: Server, api: Api, tmp_path: Path):
    api.call("GET", "/x")
    (tmp_path / "token").write_text("another")
    api.call("GET", "/x")
    assert [asked[2]["Authorization"] for asked in server.asked] == [
        f"Bearer {SECRET}",
        "Bearer another",
    ]


def test_a_token_that_cannot_be_read_is_named(api: Api, tmp_path: Path):
    (tmp_path / "token").unlink()
    with pytest.raises(
        ServiceError, match=r"cannot be read from .*token. An admin .* \[cluster on"
    ):
        api.call("GET", "/x")


@pytest.mark.parametrize(
    "text", [f"{SECRET}\nsecond", f"{SECRET} # mine", f"{SECRET}\x01x", f"{SECRET}ü", "", "\n"]
)
def test_what_is_no_token_is_not_sent_and_not_shown(
    server: Server, api: Api, tmp_path: Path, text: str
):
    (tmp_path / "token").write_text(text)
    for ask in (lambda: api.call("GET", "/x", patience=0.1), lambda: api.stream("/x", {})):
        with pytest.raises(ServiceError, match=r"cannot be read .* one word") as caught:
            ask()
        told = "".join(traceback.format_exception(None, caught.value, caught.value.__traceback__))
        assert SECRET not in told
    assert server.asked == []


def test_what_a_library_refuses_is_an_error_of_ours_without_its_words(tmp_path: Path):
    """http.client cites a header that it refuses; so whatever is not known is not repeated."""
    api = Api("one", ClusterConfig(url="http://127.0.0.1:99999", namespace="b"))
    for ask in (lambda: api.call("GET", "/x", patience=0.1), lambda: api.stream("/x", {})):
        with pytest.raises(ApiError, match=r"cannot be reached: ValueError\."):
            ask()


def test_a_refusal_keeps_the_clusters_words(server: Server, api: Api):
    words = 'jobs.batch "x" is forbidden: exceeded quota: builds, requested: pods=1'
    server.answers = [says(403, {"kind": "Status", "message": words, "reason": "Forbidden"})]
    with pytest.raises(ApiError) as caught:
        api.call("GET", "/x")
    assert caught.value.what == f"The cluster one answered: {words}."
    assert (caught.value.status, caught.value.reason) == (403, "Forbidden")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("status", [200, 404])
@pytest.mark.parametrize("text", [b"<html>a  proxy</html>", b"[1]", b"", b"[" * 100_000, b"\xff"])
def test_an_answer_that_is_no_clusters_is_an_error(
    server: Server, api: Api, status: int, text: bytes
):
    server.answers = [says(status, text)]
    with pytest.raises(ApiError) as caught:
        api.call("GET", "/x", patience=0.3)
    assert caught.value.reason == "NoJSON"
    assert len(str(caught.value)) < 500


def test_a_redirect_is_not_followed(server: Server, api: Api):
    server.answers = [says(302, {"message": "elsewhere"}, Location="http://127.0.0.1:1/")]
    with pytest.raises(ApiError, match="elsewhere"):
        api.call("GET", "/x")
    assert len(server.asked) == 1


@pytest.mark.parametrize("trouble", [says(503, {}), says(429, {}), breaks])
def test_a_cluster_that_is_not_well_is_asked_again(server: Server, api: Api, trouble: Answer):
    server.answers = [trouble, trouble, says(200, {"kind": "Fine"})]
    assert api.call("POST", "/x", {}) == {"kind": "Fine"}
    assert len(server.asked) == 3


def test_nobody_there_is_an_error_after_the_patience(tmp_path: Path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        api = Api(
            "one", ClusterConfig(url=f"http://127.0.0.1:{free.getsockname()[1]}", namespace="b")
        )
        before = time.monotonic()
        with pytest.raises(ApiError, match=r"one \(127.0.0.1:\d+\) cannot be reached: .*refused"):
            api.call("GET", "/x", patience=1)
        assert time.monotonic() - before < 5


def test_a_cluster_that_does_not_answer_is_an_error_after_the_patience(server: Server, api: Api):
    server.answers = [lambda handler: server.go.wait(20)]  # type: ignore[list-item, return-value]
    before = time.monotonic()
    with pytest.raises(ApiError, match="timed out"):
        api.call("GET", "/x", patience=0.5)
    assert time.monotonic() - before < 5


def test_one_connection_serves_many_questions(server: Server, api: Api):
    for _ in range(5):
        api.call("GET", "/x")
    assert server.connections == 1


def test_a_connection_that_the_cluster_has_closed_is_not_used_again(server: Server, api: Api):
    server.answers = [lambda handler: (says(200, {})(handler), breaks(handler)), says(200, {})]  # type: ignore[func-returns-value, list-item, return-value]
    api.call("GET", "/x")
    time.sleep(0.1)
    api.call("GET", "/x", patience=0.1)
    assert len(server.asked) == 2


def test_the_last_idle_connection_may_be_taken_by_another_thread_while_we_close(api: Api):
    class JustEmptied(list[Any]):
        """It was not empty when somebody looked."""

        def __bool__(self) -> bool:
            return True

    api._idle = JustEmptied()
    api.close()
    assert api.call("GET", "/x") == {"kind": "Fine"}


# -- streams


def streams(server: Server, api: Api, answer: Answer) -> Stream:
    server.answers = [answer]
    return api.stream("/log", {"follow": "true"})


def test_bytes_come_as_they_are_and_when_they_are_there(server: Server, api: Api):
    def answer(handler: Handler) -> None:
        handler.begin()
        handler.chunk(b"\xff\r\r\n")
        assert server.go.wait(20)
        handler.chunk(b"rest")
        handler.chunk(b"")

    stream = iter(streams(server, api, answer))
    assert next(stream) == b""
    assert next(stream) == b"\xff\r\r\n"
    server.go.set()
    assert list(stream) == [b"rest"]


@pytest.mark.parametrize("headers_first", [True, False])
def test_a_stream_is_closed_from_another_thread(server: Server, api: Api, headers_first: bool):
    """Also while nothing has come yet, not even the headers: a container that says nothing."""

    def answer(handler: Handler) -> None:
        if headers_first:
            handler.begin()
        server.go.wait(20)

    stream = streams(server, api, answer)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.extend(stream))
    reader.start()
    time.sleep(0.1)
    stream.close()
    stream.close()
    reader.join(5)
    assert not reader.is_alive()
    assert b"".join(got) == b""


def test_a_stream_may_be_closed_before_and_after_it_is_read(server: Server, api: Api):
    def answer(handler: Handler) -> None:
        handler.begin()
        handler.chunk(b"x")
        handler.chunk(b"")

    early = streams(server, api, answer)
    early.close()
    assert list(early) == []
    late = streams(server, api, answer)
    assert list(late) == [b"", b"x"]
    late.close()


def test_a_stream_that_breaks_off_is_an_error_without_status(server: Server, api: Api):
    def answer(handler: Handler) -> None:
        handler.begin()
        handler.chunk(b"x")
        breaks(handler)

    stream = iter(streams(server, api, answer))
    assert [next(stream), next(stream)] == [b"", b"x"]
    with pytest.raises(ApiError) as caught:
        next(stream)
    assert caught.value.status == 0


def test_a_refused_stream_says_why(server: Server, api: Api):
    words = 'container "buildroot" in pod "x" is waiting to start: ContainerCreating'
    with pytest.raises(ApiError, match="waiting to start") as caught:
        list(streams(server, api, says(400, {"message": words, "reason": "BadRequest"})))
    assert caught.value.status == 400


# -- TLS


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certs")


@pytest.fixture
def secure(certs: Path) -> Iterator[Server]:
    yield from _running(Server(certificates.server(certs)))


def test_the_clusters_own_ca_is_the_one_that_counts(secure: Server, certs: Path, tmp_path: Path):
    api = api_of(secure, tmp_path, "https", ca_file=str(certificates.authority(certs)))
    assert api.call("GET", "/x") == {"kind": "Fine"}
    api.close()
    stranger = api_of(secure, tmp_path, "https")
    with pytest.raises(ApiError, match="cannot be reached: .*certificate verify failed"):
        stranger.call("GET", "/x", patience=0.1)
    assert len(secure.asked) == 1


def test_a_stream_over_tls_is_closed_from_another_thread(
    secure: Server, certs: Path, tmp_path: Path
):
    def answer(handler: Handler) -> None:
        handler.begin()
        handler.chunk(b"x")
        secure.go.wait(20)

    stream = streams(
        secure,
        api_of(secure, tmp_path, "https", ca_file=str(certificates.authority(certs))),
        answer,
    )
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.extend(stream))
    reader.start()
    deadline = time.monotonic() + 10
    while not any(got) and time.monotonic() < deadline:
        time.sleep(0.01)
    stream.close()
    reader.join(5)
    assert not reader.is_alive()
    assert got == [b"", b"x"]


def test_a_ca_that_cannot_be_read_is_named(server: Server, tmp_path: Path):
    with pytest.raises(ServiceError, match=r"certificate for the cluster one .* ca_file"):
        api_of(server, tmp_path, "https", ca_file=str(tmp_path / "none"))

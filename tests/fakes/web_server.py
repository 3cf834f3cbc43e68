"""What fakes that speak HTTP have in common: a server in this process, as long as a block."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class QuietHandler(BaseHTTPRequestHandler):
    """Tests want silence."""

    def log_message(self, format: str, *args: object) -> None:
        """Nowhere."""


@contextmanager
def serving(
    handler: Callable[..., BaseHTTPRequestHandler],
    host: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
) -> Iterator[ThreadingHTTPServer]:
    """On a port that is free."""
    server = ThreadingHTTPServer((host, 0), handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

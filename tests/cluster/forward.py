"""What listens on 127.0.0.1 only, on the node's address too, where pods find it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def forwarded(address: str, port: int) -> Iterator[str]:
    """ADDRESS:PORT, which is 127.0.0.1:PORT."""
    with socket.create_server((address, port)) as server:
        threading.Thread(target=_serve, args=(server, port), daemon=True).start()
        yield f"{address}:{port}"
        server.shutdown(socket.SHUT_RDWR)


def _serve(server: socket.socket, port: int) -> None:
    with contextlib.suppress(OSError):  # closed
        while True:
            here, _ = server.accept()
            threading.Thread(target=_join, args=(here, port), daemon=True).start()


def _join(here: socket.socket, port: int) -> None:
    with here, socket.create_connection(("127.0.0.1", port)) as there:
        back = threading.Thread(target=_copy, args=(there, here), daemon=True)
        back.start()
        _copy(here, there)
        back.join()


def _copy(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := one.recv(65536):
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)

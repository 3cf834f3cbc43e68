"""A proxy between a builder and its cluster that ends every connection after some seconds."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence


class CuttingProxy:
    """Listens on `host`, passes on to `host:port`. `cut`: connections that it has ended."""

    def __init__(self, host: str, port: int, seconds: float) -> None:
        self.cut = 0
        self._to = (host, port)
        self._seconds = seconds
        self._listener = socket.create_server((host, 0))
        self.port = int(self._listener.getsockname()[1])
        self._ended = threading.Event()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def __enter__(self) -> CuttingProxy:
        for work in (self._accept, self._cut):
            threading.Thread(target=work, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._close(self._taken())

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                near, _ = self._listener.accept()
            except OSError:  # closed
                return
            try:
                far = socket.create_connection(self._to)
            except OSError:
                near.close()
                continue
            with self._lock:
                self._open |= {near, far}
            for source, to in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=(source, to), daemon=True).start()

    def _pass_on(self, source: socket.socket, to: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                to.sendall(data)
        except OSError:  # cut, by us or by them
            pass
        self._close({source, to} & self._taken({source, to}))

    def _cut(self) -> None:
        while not self._ended.wait(self._seconds):
            taken = self._taken()
            self.cut += len(taken) // 2
            self._close(taken)

    def _taken(self, only: set[socket.socket] | None = None) -> set[socket.socket]:
        """Those that are open; they are the caller's to close now."""
        with self._lock:
            taken = self._open & only if only is not None else set(self._open)
            self._open -= taken
            return taken

    @staticmethod
    def _close(sockets: Sequence[socket.socket] | set[socket.socket]) -> None:
        for each in sockets:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            each.close()

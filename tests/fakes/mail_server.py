"""A mail relay that keeps what it is given: as much of SMTP (RFC 5321) as a client needs."""

from __future__ import annotations

import email
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import default
from typing import cast


@dataclass(frozen=True)
class Letter:
    sender: str
    to: list[str]
    message: EmailMessage
    raw: bytes

    @property
    def text(self) -> str:
        return self.message.get_content().replace("\r\n", "\n")


@dataclass
class MailServer:
    port: int = 0
    letters: list[Letter] = field(default_factory=list)
    refuse: str = ""  # a command that it refuses
    slow: float = 0.0  # seconds before it says anything


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        server = cast("_Server", self.server).state
        time.sleep(server.slow)
        sender, to = "", list[str]()
        self._say("220 relay")
        while line := self.rfile.readline().decode().strip():
            command, _, rest = line.partition(" ")
            if command.upper() == server.refuse:
                self._say("550 not here")
            elif command.upper() == "DATA":
                self._say("354 go on")
                raw = b"".join(iter(self.rfile.readline, b".\r\n"))
                message = cast(EmailMessage, email.message_from_bytes(raw, policy=default))
                server.letters.append(Letter(sender, to, message, raw))
                self._say("250 taken")
            elif command.upper() == "QUIT":
                return self._say("221 bye")
            else:
                address = rest.partition("<")[2].partition(">")[0]
                sender, to = (address, []) if command.upper() == "MAIL" else (sender, to)
                if command.upper() == "RCPT":
                    to.append(address)
                self._say("250 well")

    def _say(self, text: str) -> None:
        self.wfile.write(text.encode() + b"\r\n")


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    state: MailServer

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that does not wait to the end is none."""


@contextmanager
def mail_server() -> Iterator[MailServer]:
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.state = MailServer(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.state
        finally:
            server.shutdown()
            thread.join()

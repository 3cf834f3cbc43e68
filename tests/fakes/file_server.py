"""A web server with files, and with the habits of bad ones: each request takes the next habit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.fakes.web_server import QuietHandler, serving

Habit = Callable[["Answer"], None]


@dataclass
class Answer:
    """What is about to be sent; a habit changes it."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: int = -1  # bytes after which the connection breaks; -1: never
    pause: float = 0.0  # seconds before the body
    ranges: bool = True


def broken_after(count: int) -> Habit:
    """The connection breaks after so many bytes of the body."""
    return lambda answer: setattr(answer, "cut", count)


def without_ranges(answer: Answer) -> None:
    """The whole file, whatever was asked for."""
    answer.ranges = False


def status(code: int) -> Habit:
    """An error in place of the file."""
    return lambda answer: answer.__dict__.update(status=code, body=b"<html>no</html>")


def other_content(body: bytes) -> Habit:
    """Another file."""
    return lambda answer: setattr(answer, "body", body)


def header(name: str, value: str) -> Habit:
    """A header that is not true."""
    return lambda answer: answer.headers.update({name: value})


def chunked(answer: Answer) -> None:
    """In pieces of a size that is told with each."""
    size = 100_000
    pieces = [answer.body[at : at + size] for at in range(0, len(answer.body), size)]
    answer.body = b"".join(b"%x\r\n%s\r\n" % (len(one), one) for one in (*pieces, b""))
    answer.headers |= {"Transfer-Encoding": "chunked", "Content-Length": ""}


def both(*habits: Habit) -> Habit:
    """All of them at once."""

    def one_after_the_other(answer: Answer) -> None:
        for habit in habits:
            habit(answer)

    return one_after_the_other


@dataclass
class FileServer:
    """Files by path, habits of the next requests, and what was asked for."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    habits: list[Habit] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)  # path, Range
    credentials: list[str] = field(default_factory=list)

    def answer(self, path: str, wanted: str) -> Answer:
        """As a good server would, but for the habit."""
        found = self.files.get(path)
        answer = Answer(b"", 404) if found is None else Answer(found)
        if self.habits:
            self.habits.pop(0)(answer)
        if answer.status == 200 and wanted and answer.ranges:
            begin = int(wanted.removeprefix("bytes=").rstrip("-"))
            total = len(answer.body)
            if begin >= total:
                return Answer(b"", 416)
            answer.status, answer.body = 206, answer.body[begin:]
            answer.headers.setdefault("Content-Range", f"bytes {begin}-{total - 1}/{total}")
        return answer


@contextmanager
def file_server() -> Iterator[FileServer]:
    """Runs as long as the block."""
    made = FileServer()

    class Handler(QuietHandler):
        def do_GET(self) -> None:  # noqa: N802
            wanted = self.headers.get("Range", "")
            made.asked.append((self.path, wanted))
            made.credentials += self.headers.get_all("Authorization", [])
            answer = made.answer(self.path, wanted)
            self.send_response(answer.status)
            headers = {"Content-Length": str(len(answer.body)), **answer.headers}
            for name, value in headers.items():
                if value:
                    self.send_header(name, value)
            self.end_headers()
            time.sleep(answer.pause)
            self.wfile.write(answer.body if answer.cut < 0 else answer.body[: answer.cut])

    with serving(Handler) as server:
        made.url = f"http://127.0.0.1:{server.server_port}"
        yield made

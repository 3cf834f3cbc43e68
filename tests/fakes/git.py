"""Real git repositories in a folder, and a server of the old kind: nothing of git is imitated."""

from __future__ import annotations

import gzip
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fakes.web_server import QuietHandler, serving


class GitRepo:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = folder.as_uri()
        folder.mkdir(parents=True)
        self.git("init", "-q", "--initial-branch=main")

    def git(self, *arguments: str) -> str:
        identity = {
            f"GIT_{who}_{what}": "x@example.com"
            for who in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        }
        env = {
            **os.environ,
            **identity,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
        }
        command = ["git", "-C", str(self.folder), *arguments]
        return subprocess.run(
            command, env=env, check=True, capture_output=True, text=True
        ).stdout.strip()

    def write(self, files: dict[str, str | bytes]) -> None:
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())

    def commit(self, files: dict[str, str | bytes] | None = None) -> str:
        """Commit these files and all else that is there; the commit's id."""
        self.write(files or {})
        self.git("add", "-A", "--force")
        self.git("commit", "-q", "--no-verify", "--allow-empty", "-m", "change")
        return self.git("rev-parse", "HEAD")


@contextmanager
def old_server(folder: Path) -> Iterator[str]:
    """The URL of a server that speaks the first version of git's protocol only.

    So it gives no commit by its id but the tips of its branches, unless `uploadpack.allow…` is set.
    """

    class Handler(QuietHandler):
        def do_GET(self) -> None:  # noqa: N802
            about = b"001e# service=git-upload-pack\n0000"
            self._answer("advertisement", about + self._upload_pack("--advertise-refs"))

        def do_POST(self) -> None:  # noqa: N802
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            self._answer("result", self._upload_pack(body=body))

        def _upload_pack(self, *flags: str, body: bytes = b"") -> bytes:
            command = ["git", "upload-pack", "--stateless-rpc", *flags, str(folder)]
            return subprocess.run(command, input=body, capture_output=True, check=False).stdout

        def _answer(self, kind: str, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", f"application/x-git-upload-pack-{kind}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with serving(Handler) as server:
        yield f"http://127.0.0.1:{server.server_port}/"

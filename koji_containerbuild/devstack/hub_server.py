"""The server process: Koji's hub, web, static files, /kojifiles and /lookaside, http and https.

Usage: python -m koji_containerbuild.devstack.hub_server SETTINGS.json
Run with Koji 1.30's source first on PYTHONPATH.
"""

from __future__ import annotations

import html
import json
import logging
import mimetypes
import os
import ssl
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cheroot.ssl.builtin import BuiltinSSLAdapter
from cheroot.wsgi import Server

from koji_containerbuild.devstack.shims import load_file, restore_inspect

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
THREADS = 12  # kojiweb calls the hub over http: one thread would wait for itself


@dataclass(frozen=True)
class Settings:
    """What hub.py tells this process."""

    source: str  # Koji 1.30
    topdir: str
    lookaside: str
    hub_conf: str
    web_conf: str
    host: str
    port: int
    ssl_port: int
    certificate: str  # with its key
    authority: str


def load_koji(settings: Settings) -> tuple[Any, Any]:
    """The hub's and the web's WSGI modules."""
    restore_inspect()
    import kojixmlrpc  # type: ignore[import-not-found]  # of Koji's source, on PYTHONPATH
    from koji import auth

    publisher = load_file(
        "wsgi_publisher", Path(settings.source) / "www" / "kojiweb" / "wsgi_publisher.py"
    )
    # Hub and web each hang a handler on the 'koji' logger: in one process every line comes twice.
    logging.getLogger("koji").removeHandler(publisher.dispatcher.log_handler)
    # Koji >= 1.31 clients try logout(session_id=...) first: spare the log a traceback each time.
    plain_logout = auth.logout

    def logout(session_id: int | None = None) -> Any:
        return auth.logoutChild(session_id) if session_id else plain_logout()

    auth.logout = logout
    return kojixmlrpc, publisher


class Web:
    """The WSGI application: paths as in Koji's Apache configuration, and the lookaside cache."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.source = Path(settings.source)
        self.hub, self.web = load_koji(settings)
        self.first_page = threading.Lock()  # kojiweb sets itself up at its first page, unlocked

    def __call__(self, environ: Environ, start: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        query = environ.get("QUERY_STRING")
        environ.setdefault("REQUEST_URI", f"{path}?{query}" if query else path)
        first = path.split("/")[1]
        if first == "kojihub":
            return self.run_hub(environ, start)
        if first == "koji":
            return self.run_web(environ, start)
        if first == "koji-static":
            return send_file(self.source / "www" / "static", path, environ, start)
        if first == "kojifiles":
            return send_file(Path(self.settings.topdir), path, environ, start)
        if first == "lookaside":
            return send_file(Path(self.settings.lookaside), path, environ, start)
        start("302 Found", [("Location", "/koji/")])
        return []

    def run_hub(self, environ: Environ, start: StartResponse) -> Iterable[bytes]:
        """XML-RPC."""
        script = self.source / "hub" / "kojixmlrpc.py"
        _place(environ, "/kojihub", script, "hub", self.settings.hub_conf)
        return [_bytes(chunk) for chunk in self.hub.application(environ, start)]

    def run_web(self, environ: Environ, start: StartResponse) -> Iterable[bytes]:
        """A page of kojiweb."""
        script = self.source / "www" / "kojiweb" / "wsgi_publisher.py"
        _place(environ, "/koji", script, "web", self.settings.web_conf)
        if not self.web.dispatcher.firstcall:
            return [_bytes(chunk) for chunk in self.web.application(environ, start)]
        with self.first_page:
            return [_bytes(chunk) for chunk in self.web.application(environ, start)]


def send_file(base: Path, url_path: str, environ: Environ, start: StartResponse) -> Iterable[bytes]:
    """A file, or the names in a folder. `..` never leaves the base; Koji's own links may."""
    parts = [part for part in url_path.split("/")[2:] if part]
    path = base.joinpath(*parts)
    if ".." in parts or not path.exists():
        start("404 Not Found", [("Content-Type", "text/plain")])
        return [b"not found\n"]
    if path.is_dir():
        body = _listing(path)
        start("200 OK", [("Content-Type", "text/html; charset=utf-8")])
        return [body.encode()]
    kind = "text/plain" if path.suffix == ".log" else mimetypes.guess_type(path.name)[0]
    size = str(path.stat().st_size)
    start(
        "200 OK",
        [("Content-Type", kind or "application/octet-stream"), ("Content-Length", size)],
    )
    return [] if environ["REQUEST_METHOD"] == "HEAD" else _chunks(path)


def serve(settings: Settings) -> None:
    """Listen on both ports until SIGTERM."""
    application = Web(settings)
    plain = Server((settings.host, settings.port), application, numthreads=THREADS)
    secure = Server((settings.host, settings.ssl_port), application, numthreads=THREADS)
    adapter = BuiltinSSLAdapter(settings.certificate, settings.certificate, settings.authority)
    adapter.context.verify_mode = ssl.CERT_OPTIONAL  # a browser has none; sslLogin asks for one
    secure.ssl_adapter = adapter
    threading.Thread(target=secure.safe_start, daemon=True).start()
    plain.safe_start()


def _place(environ: Environ, prefix: str, script: Path, name: str, conf: str) -> None:
    """What mod_wsgi and Apache's SetEnv give to Koji."""
    environ["SCRIPT_NAME"] = prefix
    environ["PATH_INFO"] = environ["PATH_INFO"][len(prefix) :]
    environ["SCRIPT_FILENAME"] = str(script)
    environ[f"koji.{name}.ConfigFile"] = conf
    environ[f"koji.{name}.ConfigDir"] = conf + ".d"


def _bytes(chunk: bytes | str) -> bytes:
    return chunk.encode() if isinstance(chunk, str) else chunk


def _listing(folder: Path) -> str:
    names = sorted(path.name + ("/" if path.is_dir() else "") for path in folder.iterdir())
    return "".join(f'<li><a href="{quote(name)}">{html.escape(name)}</a>\n' for name in names)


def _chunks(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while chunk := file.read(65536):
            yield chunk


if __name__ == "__main__":
    os.umask(0o022)
    serve(Settings(**json.loads(Path(sys.argv[1]).read_text())))

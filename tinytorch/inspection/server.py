"""The page of the glass model on this machine: files and messages over the loopback interface.

Other pages in the same browser must not reach the model:

- the server listens on 127.0.0.1 only, and answers only requests that name it so, which a page
  of another host name that resolves to 127.0.0.1 (DNS rebinding) does not;
- messages need a secret token in a header of their own. It is in the fragment of the page's
  address, which browsers send nowhere;
- files come from a list that is made at the start, so no path of a request reaches the disk.
"""

import hmac
import os
import secrets
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any

from .session import Session

PAGE = Path(__file__).parent / "page"
HOST = "127.0.0.1"
LARGEST = 2**30  # bytes of a message, which may hold a checkpoint
TOKEN_HEADER = "X-TinyTorch-Token"
KINDS = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Server(ThreadingHTTPServer):
    """Serves the page, and answers its messages one at a time.

    Args:
        session: what answers the messages.
        port: the port, or 0 for a free one.

    Attributes:
        token: the secret of this server.
        address: the page's address, with the token.

    Raises:
        OSError: the port is taken.

    Example::

        with Server(Session(Path("runs/tinygpt"))) as server:
            print(server.address)
            server.serve_forever()
    """

    daemon_threads = True

    allow_reuse_address = os.name != "nt"  # on Windows it would allow a port that is taken

    def __init__(self, session: Session, port: int = 0) -> None:
        super().__init__((HOST, port), _Handler)
        self.session, self.token, self.lock = session, secrets.token_urlsafe(32), Lock()
        self.files = dict(_files())
        origin = f"{HOST}:{self.server_port}"
        self.hosts = {origin, f"localhost:{self.server_port}"}
        self.address = f"http://{origin}/#token={self.token}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing about a browser that has closed its connection."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _files() -> Any:
    """Yield the path of each file of the page, its type and its bytes."""
    for path in sorted(PAGE.rglob("*.*")):
        if path.suffix in KINDS:
            kind = f"{KINDS[path.suffix]}; charset=utf-8"
            yield "/" + path.relative_to(PAGE).as_posix(), (kind, path.read_bytes())


class _Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "TinyTorch", ""
    timeout = 60  # seconds without a byte

    def do_GET(self) -> None:
        """Send a file of the page."""
        if not self._is_for_us():
            return
        path = self.path.partition("?")[0]
        found = self.server.files.get("/index.html" if path == "/" else path)
        if found is None:
            self._refuse(HTTPStatus.NOT_FOUND, "there is no such file")
        else:
            self._send(HTTPStatus.OK, *found)

    def do_POST(self) -> None:
        """Answer a message."""
        if not self._is_for_us():
            return
        given = self.headers.get(TOKEN_HEADER, "").encode("utf-8", "replace")
        if not hmac.compare_digest(given, self.server.token.encode()):
            self._refuse(HTTPStatus.FORBIDDEN, "open the address that tito look has printed")
            return
        length = self.headers.get("Content-Length", "")
        if self.path != "/message":
            self._refuse(HTTPStatus.NOT_FOUND, "messages go to /message")
        elif not (length.isascii() and length.isdecimal()):
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "a message needs a Content-Length")
        elif len(length) > 12 or int(length) > LARGEST:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the file exceeds {LARGEST:,} bytes")
        else:
            self._answer(self.rfile.read(int(length)))

    def _answer(self, body: bytes) -> None:
        with self.server.lock:
            reply = self.server.session.handle(body.decode("utf-8", "replace"))
        self._send(HTTPStatus.OK, "application/json", reply.encode())

    def _is_for_us(self) -> bool:
        """Whether the request names this server; if not, it is refused."""
        if self.headers.get("Host") in self.server.hosts:
            return True
        self._refuse(HTTPStatus.MISDIRECTED_REQUEST, "this server answers to 127.0.0.1 only")
        return False

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self.close_connection = True  # the rest of the request is not read
        self._send(status, "text/plain; charset=utf-8", f"{why}\n".encode())

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        headers = {"Content-Type": kind, "Content-Length": str(len(body)), **HEADERS}
        if self.close_connection:
            headers["Connection"] = "close"
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Print no line for each request."""

"""A proxy before a real server that does to single requests what networks do."""

import contextlib
import http.client
import socket
import struct
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.support.serving import serving


class Request(NamedTuple):
    method: str
    path: str
    body: bytes
    headers: dict[str, str]
    """By their names in small letters."""


class Answer(NamedTuple):
    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Cut(Exception):  # noqa: N818  no error, but what a deed wants
    """Raised by a deed that wants a connection to end, after some bytes of an answer; ``reset``: not in order."""

    def __init__(self, answer: bytes = b"", *, reset: bool = False) -> None:
        super().__init__()
        self.answer = answer
        self.reset = reset


Deed = Callable[[Request], Answer | None]
"""Is shown every request. It may answer it in the server's place, or raise :class:`Cut`; None: the server answers."""

_RESET = struct.pack("ii", 1, 0)
"""A socket that lingers for no time at all is closed by a reset."""


class Proxy:
    """Passes requests on, but for what ``deed`` does with them."""

    def __init__(self, upstream: str, deed: Deed) -> None:
        address = urlsplit(upstream)
        assert address.hostname
        self._host, self._port = address.hostname, address.port
        self.upstream_url = upstream
        self.deed = deed
        self.requests: list[Request] = []
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = (
                True  # head and body go one by one, and the body would wait for an acknowledgement
            )

            def handle_any(self) -> None:
                with contextlib.suppress(ConnectionError):  # whoever asked has given up, or died
                    self.answer()

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                request = Request(
                    self.command, self.path, body, {name.lower(): value for name, value in self.headers.items()}
                )
                proxy.requests.append(request)
                try:
                    answer = proxy.deed(request) or proxy.send(request)
                except Cut as cut:
                    self.cut(cut)
                    return
                self.send_response(answer.status)
                for name, value in answer.headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer.body)

            def cut(self, cut: Cut) -> None:
                self.close_connection = True
                self.wfile.write(cut.answer)
                if cut.reset:
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    self.connection.close()

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = handle_any  # noqa: N815  as http.server calls them

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def send(self, request: Request) -> Answer:
        """Pass a request on to the server.

        Raises:
            Cut: there is none, or it has died before it could answer.
        """
        connection = http.client.HTTPConnection(self._host, self._port or 80, timeout=60)
        try:
            connection.request(
                request.method,
                request.path,
                request.body,
                {**request.headers, "content-length": str(len(request.body))},
            )
            answer = connection.getresponse()
            kept = [each for each in answer.getheaders() if each[0].lower() in ("content-type", "x-elastic-product")]
            return Answer(answer.status, kept, answer.read())
        except (OSError, http.client.HTTPException):
            raise Cut(reset=True) from None
        finally:
            connection.close()

    @contextlib.contextmanager
    def running(self) -> Iterator["Proxy"]:
        with serving(self._server):
            yield self


def refusal(status: int, kind: str = "", reason: str = "for a test") -> Answer:
    """What Elasticsearch answers to a request that it won't take."""
    body = b'{"error":{"type":"%b","reason":"%b"},"status":%d}' % (kind.encode(), reason.encode(), status)
    return Answer(status, [("Content-Type", "application/json"), ("X-Elastic-Product", "Elasticsearch")], body)

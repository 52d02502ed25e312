"""The web server: uvicorn on its own thread, which sleeps while there are no requests.

By default, uvicorn wakes up ten times a second to check whether to exit and to update its ``Date`` header. That takes
0.26 % of a core, five times what the idle service may take in total. This server is woken only to exit, and dates each
response when it is made; an idle server takes 0.001 %.
"""

import asyncio
import contextlib
import errno
import socket
import threading
from typing import Final

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from cachesync.errors import CachesyncError, PortTakenError, UsageError
from cachesync.log import get_logger, relay
from cachesync.web.connection import CONNECTIONS, HttpConnection

_log = get_logger()

_GRACE: Final = 1.0
"""How many seconds running requests have to finish when the server stops."""

_STOPPED_WITHIN: Final = 2.0
"""After how many seconds :meth:`WebServer.stop` no longer waits for the thread."""


Keys = tuple[str, str]
"""The configuration keys of host and port, for error messages."""
_KEYS: Final = ("http.host", "http.port")


class WebServer:
    """Serves an application, which can be replaced while the server runs.

    Port 0 stands for any free port. The application runs in the server's event loop, so it must not block.
    """

    def __init__(self, host: str, port: int, app: ASGIApp, base_path: str = "", keys: Keys = _KEYS) -> None:
        self.address = (host, port)
        """The configured host and port."""
        self.port = port
        """The port; once the server has started, the port that it listens on."""
        self.answers = (app, base_path)
        """The application and its base path. If they are replaced, running requests finish in the old application."""
        self._keys = keys
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the server, and return once it accepts requests.

        Raises:
            UsageError: the server can't listen on host and port; a PortTakenError if another process listens there.
        """
        listening = _listen(self.address[0], self.port, self._keys)
        self.port = listening.getsockname()[1]
        self._server = _Server(self._answer)
        self._thread = threading.Thread(target=self._server.serve_on, args=(listening,), name="http", daemon=True)
        self._thread.start()
        self._server.begun.wait()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.answers[0](scope, receive, send)

    @property
    def is_started(self) -> bool:
        """Whether the server was started and hasn't been stopped since."""
        return self._server is not None

    @property
    def url(self) -> str:
        """The URL; once the server has started, with the port that it listens on."""
        host, (_, base_path) = self.address[0], self.answers
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}{base_path}"

    def stop(self) -> None:
        """Stop within two seconds, whatever clients do."""
        if self._server and self._thread:
            self._server.end()
            self._thread.join(_STOPPED_WITHIN)
            if self._thread.is_alive():
                _log.warning(
                    "the web server did not stop in time: a request is still running", action="http.stop_timed_out"
                )
            self._server = self._thread = None


def listen(server: WebServer) -> WebServer:
    """Start a server, log its URL, and return it.

    Raises:
        UsageError: the server can't listen on host and port: a PortTakenError if another process listens there now.
    """
    server.start()
    _log.info("listening", action="http.listening", url=server.url)
    return server


def moved(before: WebServer, now: WebServer) -> WebServer:
    """Make ``now`` serve in place of ``before``, and return the running server: ``before`` if the address is the same.

    If the new server can't start, ``before`` continues to serve.

    Raises:
        UsageError: the new server can't listen on its host and port.
    """
    if before.address == now.address:
        before.answers = now.answers
        return before
    if before.port != now.port:
        listen(now)
        before.stop()
        return now
    before.stop()  # both servers need the same port
    try:
        return listen(now)
    except CachesyncError:
        listen(before)
        raise


class _Server(uvicorn.Server):
    def __init__(self, app: ASGIApp) -> None:
        relay("uvicorn.error")
        relay("asyncio")
        super().__init__(
            uvicorn.Config(
                app,
                interface="asgi3",
                loop="asyncio",
                http=HttpConnection,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=False,
                timeout_graceful_shutdown=round(_STOPPED_WITHIN),
            )
        )
        self.begun = threading.Event()
        """Set when the server has started, or has failed to start."""
        self._end = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def serve_on(self, listening: socket.socket) -> None:
        """Serve until :meth:`end` is called."""
        try:
            self.run(sockets=[listening])
        except Exception:  # noqa: BLE001  nothing else would report an exception of this thread
            _log.exception("the web server has ended", action="http.failed")
        finally:
            self.begun.set()
            listening.close()

    def end(self) -> None:
        """Make the server exit. Any thread may call this method."""
        self.should_exit = True
        if self._loop:
            with contextlib.suppress(RuntimeError):  # the server has already exited
                self._loop.call_soon_threadsafe(self._end.set)

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.begun.set()
        await self._end.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        loop = asyncio.get_running_loop()
        for listening in sockets or ():
            loop.remove_reader(listening)
        for _ in range(2):  # asyncio leaves open a connection that it accepts while its server is being closed
            await asyncio.sleep(0)
        limit = loop.call_later(_GRACE, self._abort)
        await super().shutdown(sockets)
        limit.cancel()
        self._abort()
        await asyncio.sleep(0)  # lets asyncio close the aborted connections

    def _abort(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()


def _listen(host: str, port: int, keys: Keys) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        # "::" means all addresses, so listen on IPv4 as well.
        both = host == "::" and socket.has_dualstack_ipv6()
        listening = socket.create_server(address[:2], family=family, backlog=CONNECTIONS, dualstack_ipv6=both)
    except UnicodeError:
        raise UsageError(f"{keys[0]}: {host} is not a valid host: expected an address, such as 127.0.0.1") from None
    except OSError as error:
        refusal = PortTakenError if error.errno == errno.EADDRINUSE else UsageError
        raise refusal(_explanation(host, port, keys, error)) from None
    # The head and body of a response are two packets; without TCP_NODELAY, the body would wait 40 ms until the head is
    # acknowledged. Connections inherit TCP_NODELAY from here; asyncio sets it only on sockets that name their protocol.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    return listening


def _explanation(host: str, port: int, keys: Keys, error: OSError) -> str:
    of_host, of_port = keys
    match error.errno:
        case errno.EADDRINUSE:
            taken = f"{of_port}: {port} is taken on {host} by another process"
            return f"{taken}: choose another one, or 0 for any free one"
        case errno.EACCES | errno.EPERM:
            refused = f"{of_port}: {port} is not permitted for this user on {host}"
            return f"{refused}: choose one above 1023, or 0 for any free one"
        case errno.EADDRNOTAVAIL:
            return f"{of_host}: {host} is not an address of this machine: expected one, such as 127.0.0.1 or 0.0.0.0"
    if isinstance(error, socket.gaierror):
        return f"{of_host}: {host} can't be found ({error.strerror}): expected an address, such as 127.0.0.1"
    return f"{of_host}: can't serve on {host}, {of_port} {port}: {error.strerror}"

"""The web server: on a thread of its own, bounded, and asleep while nobody asks.

uvicorn wakes ten times a second, to look whether it is to end and to keep the date of its answers. Here it sleeps
until it is woken to end, and each answer gets its date when it is made.
"""

import asyncio
import contextlib
import errno
import socket
import threading
from typing import Final

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from cachesync.errors import PortTakenError, UsageError
from cachesync.log import get_logger, relay
from cachesync.web.connection import CONNECTIONS, HttpConnection

_log = get_logger()

_GRACE: Final = 1.0
"""Seconds that requests under way have when the server is to end."""

_STOPPED_WITHIN: Final = 2.0
"""Seconds after which nobody waits for the server any more."""


Keys = tuple[str, str]
"""What the configuration calls a host and a port."""

_KEYS: Final = ("http.host", "http.port")


class WebServer:
    """Serves an application, or one after the other.

    Args:
        host: an address or a name of this machine.
        port: 0 is any free one.
        app: what answers. It runs on the server's own thread, so it must not wait for anything.
        base_path: what all its paths start with: nothing, or like ``/cachesync``.
        keys: what the configuration calls ``host`` and ``port``, for its mistakes.
    """

    def __init__(self, host: str, port: int, app: ASGIApp, base_path: str = "", keys: Keys = _KEYS) -> None:
        self._host = host
        self.port = port
        """Where it listens: the port that it really has, once it has started."""
        self.answer_with(app, base_path)
        self._keys = keys
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def answer_with(self, app: ASGIApp, base_path: str = "") -> None:
        """Let an application answer from now on; requests under way are still answered by the one before."""
        self._app = app
        self._base_path = base_path

    def start(self) -> None:
        """Serve from now on. When it returns the server answers.

        Raises:
            UsageError: host or port can't be used: a PortTakenError if another process has it now.
        """
        listening = _listen(self._host, self.port, self._keys)
        self.port = listening.getsockname()[1]
        self._server = _Server(self._answer)
        self._thread = threading.Thread(target=self._server.serve_on, args=(listening,), name="http", daemon=True)
        self._thread.start()
        self._server.begun.wait()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    @property
    def is_started(self) -> bool:
        """It was started, and isn't stopped."""
        return self._server is not None

    @property
    def url(self) -> str:
        """Where it serves: with the port that it really has, once it has started."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}{self._base_path}"

    def stop(self) -> None:
        """End within two seconds, whatever clients do."""
        if self._server and self._thread:
            self._server.end()
            self._thread.join(_STOPPED_WITHIN)
            if self._thread.is_alive():
                _log.warning("the web server is left behind: a request doesn't end")
            self._server = self._thread = None


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
        """The server answers, or has failed to start."""
        self._end = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def serve_on(self, listening: socket.socket) -> None:
        """Serve until :meth:`end`."""
        try:
            self.run(sockets=[listening])
        except Exception:  # noqa: BLE001  a thread has nobody else to tell
            _log.exception("the web server has ended")
        finally:
            self.begun.set()
            listening.close()

    def end(self) -> None:
        """Ask the server to end; any thread may."""
        self.should_exit = True
        if self._loop:
            with contextlib.suppress(RuntimeError):  # it has ended already
                self._loop.call_soon_threadsafe(self._end.set)

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.begun.set()
        await self._end.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        loop = asyncio.get_running_loop()
        for listening in sockets or ():
            loop.remove_reader(listening)
        for _ in range(2):  # asyncio leaves a connection open that is accepted while its server is closed
            await asyncio.sleep(0)
        limit = loop.call_later(_GRACE, self._abort)
        await super().shutdown(sockets)
        limit.cancel()
        self._abort()
        await asyncio.sleep(0)  # lets connections that were aborted be closed

    def _abort(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()


def _listen(host: str, port: int, keys: Keys) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        # An address of every kind is wanted where a host is all of them.
        both = host == "::" and socket.has_dualstack_ipv6()
        listening = socket.create_server(address[:2], family=family, backlog=CONNECTIONS, dualstack_ipv6=both)
    except UnicodeError:
        raise UsageError(f"{keys[0]}: {host} is no host: expected an address, such as 127.0.0.1") from None
    except OSError as error:
        refusal = PortTakenError if error.errno == errno.EADDRINUSE else UsageError
        raise refusal(_told(host, port, keys, error)) from None
    # Head and body of an answer are two packets. Connections have this from the socket that accepts them; else the body
    # would wait until the head is acknowledged, for 40 ms. asyncio sees to it only where a socket names its protocol.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    return listening


def _told(host: str, port: int, keys: Keys, error: OSError) -> str:
    of_host, of_port = keys
    match error.errno:
        case errno.EADDRINUSE:
            taken = f"{of_port}: {port} is taken on {host} by another process"
            return f"{taken}: choose another one, or 0 for any free one"
        case errno.EACCES | errno.EPERM:
            refused = f"{of_port}: {port} is not for this user on {host}"
            return f"{refused}: choose one above 1023, or 0 for any free one"
        case errno.EADDRNOTAVAIL:
            return f"{of_host}: {host} is no address of this machine: expected one, such as 127.0.0.1 or 0.0.0.0"
    if isinstance(error, socket.gaierror):
        return f"{of_host}: {host} can't be found ({error.strerror}): expected an address, such as 127.0.0.1"
    return f"{of_host}: can't serve on {host}, {of_port} {port}: {error.strerror}"

"""The service's web server: on a thread of its own, bounded, and asleep while nobody asks.

uvicorn wakes ten times a second, to look whether it is to end and to keep the date of its answers. Here it sleeps
until it is woken to end, and each answer gets its date when it is made.
"""

import asyncio
import contextlib
import errno
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final

import h11
import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from cachesync import __version__
from cachesync.errors import PortTakenError, UsageError
from cachesync.log import as_json, get_logger, relay
from cachesync.service.state import Health

_log = get_logger()

_REQUESTS: Final = 64
"""How many connections are answered at a time; others are told 503."""

_CONNECTIONS: Final = 4 * _REQUESTS
"""How many connections there may be; others are closed."""

_PATIENCE: Final = 30.0
"""Seconds from the start of a connection, or from its last answer, until the next answer has been taken."""

_GRACE: Final = 1.0
"""Seconds that requests under way have when the server is to end."""

_STOPPED_WITHIN: Final = 2.0
"""Seconds after which nobody waits for the server any more."""

_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Http:
    """Serves what the service knows of itself, read-only, and the ``routes`` that it is given.

    Args:
        host: an address or a name of this machine.
        port: 0 is any free one.
        base_path: what all paths start with: nothing, or like ``/cachesync``.
        health: tells whether the service is ready. As the next two it is called by the server's own thread, so it must
            not wait for anything.
        status: returns the object of ``/api/status``.
        metrics: returns metrics and their content type.
        routes: of others, with paths below ``base_path``. One that isn't ``async`` may wait: it runs on a thread apart.
        described: these routes in OpenAPI's words, by path.
    """

    def __init__(
        self,
        host: str,
        port: int,
        base_path: str,
        *,
        health: Callable[[], Health],
        status: Callable[[], Mapping[str, Any]],
        metrics: Callable[[], tuple[bytes, str]],
        routes: Sequence[Route] = (),
        described: Mapping[str, Any] | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._base_path = base_path
        self._answers = _Answers(health, status, metrics, _openapi(base_path, described or {}))
        self._routes = routes
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Serve from now on. When it returns the server answers.

        Raises:
            UsageError: host or port can't be used: a PortTakenError if another process has it now.
        """
        listening = _listen(self._host, self._port)
        self._port = listening.getsockname()[1]
        self._server = _Server(_app(self._base_path, [*self._answers.routes(), *self._routes]))
        self._thread = threading.Thread(target=self._server.serve_on, args=(listening,), name="http", daemon=True)
        self._thread.start()
        self._server.begun.wait()

    @property
    def is_started(self) -> bool:
        """It was started, and isn't stopped."""
        return self._server is not None

    @property
    def url(self) -> str:
        """Where it serves: with the port that it really has, once it has started."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}{self._base_path}"

    def stop(self) -> None:
        """End within two seconds, whatever clients do."""
        if self._server and self._thread:
            self._server.end()
            self._thread.join(_STOPPED_WITHIN)
            if self._thread.is_alive():
                _log.warning("the web server is left behind: a request doesn't end")
            self._server = self._thread = None


def json_answer(value: Any, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """Answer with a value as JSON."""
    return Response(as_json(value), status, media_type="application/json")


class _Answers:
    def __init__(
        self,
        health: Callable[[], Health],
        status: Callable[[], Mapping[str, Any]],
        metrics: Callable[[], tuple[bytes, str]],
        openapi: Mapping[str, Any],
    ) -> None:
        self._health = health
        self._status = status
        self._metrics = metrics
        self._openapi = openapi

    def routes(self) -> list[Route]:
        return [
            Route("/healthz", self._alive),
            Route("/readyz", self._ready),
            Route("/metrics", self._measured),
            Route("/api/status", self._known),
            Route("/openapi.json", self._described),
        ]

    async def _alive(self, _request: Request) -> Response:
        return json_answer({"status": "alive"})

    async def _ready(self, _request: Request) -> Response:
        health = self._health()
        return json_answer(health._asdict(), HTTPStatus.OK if health.ready else HTTPStatus.SERVICE_UNAVAILABLE)

    async def _measured(self, _request: Request) -> Response:
        text, content_type = self._metrics()
        return Response(text, headers={"Content-Type": content_type})

    async def _known(self, _request: Request) -> Response:
        return json_answer(self._status())

    async def _described(self, _request: Request) -> Response:
        return json_answer(self._openapi)


def _app(base_path: str, routes: Sequence[Route]) -> ASGIApp:
    below: list[BaseRoute] = [Route(f"{base_path}{route.path}", route.endpoint, methods=["GET"]) for route in routes]
    app = Starlette(routes=below, exception_handlers={HTTPException: _refused, Exception: _failed})
    app.router.redirect_slashes = False
    return _Headed(app)


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    answer = json_answer({"error": error.detail}, HTTPStatus(error.status_code))
    answer.headers.update(error.headers or {})
    return answer


async def _failed(_request: Request, _error: Exception) -> Response:
    message = "something in the service went wrong; its log says what"
    return json_answer({"error": message}, HTTPStatus.INTERNAL_SERVER_ERROR)


class _Headed:
    """Gives each answer its date, and the headers that it doesn't have."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Date"] = formatdate(usegmt=True)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, headed)
        except Exception:  # noqa: BLE001  who asked has been answered, and the library would log it in its own words
            _log.exception("a defect of cachesync: please report it")


class _Connection(H11Protocol):
    """A connection that may not take forever."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        super().connection_made(transport)
        self._limit = self.loop.call_later(_PATIENCE, transport.abort)
        if len(self.connections) > _CONNECTIONS:
            transport.abort()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP. A request whose body it was in gets no other answer, and none where one has begun."""
        error = sys.exception()
        if self.cycle is not None:
            self.cycle.disconnected = True
        try:
            super().send_400_response(msg)
        except h11.LocalProtocolError:  # an answer has begun, or it may have no body, as one to HEAD
            self.transport.close()
        finally:
            if error:
                # h11's errors and their frames hold each other, and so all that was received, until they are collected.
                error.__traceback__ = None

    def on_response_complete(self) -> None:
        self._limit.cancel()
        self._limit = self.loop.call_later(_PATIENCE, self.transport.abort)
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._limit.cancel()
        super().connection_lost(exc)


class _Server(uvicorn.Server):
    def __init__(self, app: ASGIApp) -> None:
        relay("uvicorn.error")
        relay("asyncio")
        super().__init__(
            uvicorn.Config(
                app,
                loop="asyncio",
                http=_Connection,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=False,
                limit_concurrency=_REQUESTS,
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


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        # An address of every kind is wanted where a host is all of them.
        both = host == "::" and socket.has_dualstack_ipv6()
        return socket.create_server(address[:2], family=family, backlog=_CONNECTIONS, dualstack_ipv6=both)
    except UnicodeError:
        raise UsageError(f"http.host: {host} is no host: expected an address, such as 127.0.0.1") from None
    except OSError as error:
        refusal = PortTakenError if error.errno == errno.EADDRINUSE else UsageError
        raise refusal(_told(host, port, error)) from None


def _told(host: str, port: int, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"http.port: {port} is taken on {host} by another process: choose another one, or 0 for any free one"
        case errno.EACCES | errno.EPERM:
            return f"http.port: {port} is not for this user on {host}: choose one above 1023, or 0 for any free one"
        case errno.EADDRNOTAVAIL:
            return f"http.host: {host} is no address of this machine: expected one, such as 127.0.0.1 or 0.0.0.0"
    if isinstance(error, socket.gaierror):
        return f"http.host: {host} can't be found ({error.strerror}): expected an address, such as 127.0.0.1"
    return f"http.host: can't serve on {host}, http.port {port}: {error.strerror}"


def _openapi(base_path: str, others: Mapping[str, Any]) -> dict[str, Any]:
    text = {"type": "string"}
    texts = {"type": "array", "items": text}
    ready = {
        "type": "object",
        "required": ["ready", "reason", "degraded"],
        "properties": {"ready": {"type": "boolean"}, "reason": {"type": ["string", "null"]}, "degraded": texts},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "cachesync",
            "version": __version__,
            "description": "Keeps a search index equal to a tree of Spack build-cache pages. Everything is read-only.",
        },
        "servers": [{"url": base_path or "/"}],
        "paths": {
            "/healthz": {"get": _operation("Is the process alive?", {"200": _json("It is.", {"type": "object"})})},
            "/readyz": {
                "get": _operation(
                    "Can searches rely on the index?",
                    {
                        "200": _json("They can; `degraded` says what somebody should look after.", ready),
                        "503": _json("They can't; `reason` says why.", ready),
                    },
                )
            },
            "/metrics": {
                "get": _operation(
                    "Metrics for Prometheus",
                    {"200": {"description": "In its text format.", "content": {"text/plain": {"schema": text}}}},
                )
            },
            "/api/status": {
                "get": _operation(
                    "What the index holds, which pages are problems, and what the service is doing",
                    {"200": _json("As `cachesync status --json`, and more.", {"type": "object"})},
                )
            },
            "/openapi.json": {"get": _operation("This description", {"200": _json("In OpenAPI.", {"type": "object"})})},
            **others,
        },
    }


def _operation(summary: str, responses: dict[str, Any]) -> dict[str, Any]:
    return {"summary": summary, "responses": responses}


def _json(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}

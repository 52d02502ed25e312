"""An HTTP connection of the web server.

uvicorn's own timeout is for a connection that is idle between two requests. This one adds what strangers make
necessary: who neither completes a request nor reads a response is disconnected, the number of connections is bounded,
invalid HTTP gets a response that says why, and a response that breaks off never looks complete.
"""

import asyncio
import re
import socket
import struct
import sys
import weakref
from email.utils import formatdate
from functools import partial
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote

import h11
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from cachesync.log import as_json
from cachesync.web.endpoint import HEADERS

CONNECTIONS: Final = 256
"""How many connections may be open; further ones are closed at once."""

PATIENCE: Final = 30.0
"""Seconds after which a client is disconnected that neither completes a request nor reads any of a response."""

_LINGERING: Final = 2.0
"""Seconds for which what follows a refused request is received and discarded."""

_ORIGIN: Final = re.compile(rb"https?://[^/]*", re.IGNORECASE)

_TOO_LARGE: Final = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE


class HttpConnection(H11Protocol):
    """A connection that is closed when its client is idle for too long."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        """Set up the connection, or close it if there are too many."""
        super().connection_made(transport)
        self._sent = self._taken = 0
        self._is_refused = self._is_half_closed = False
        self._limit = self.loop.call_later(PATIENCE, self._abort_if_idle)
        self.app: ASGIApp = partial(_serve, weakref.ref(self), self.app)  # no reference cycle: it is freed at once
        if len(self.connections) > CONNECTIONS:
            transport.abort()

    def _abort_if_idle(self) -> None:
        """Disconnect a client that sends no request and reads no response, unless its response is being prepared."""
        waiting = self.transport.get_write_buffer_size()
        is_asked = self._is_answering and not self.cycle.more_body
        taken = self._sent - waiting
        if taken <= self._taken and (waiting or not is_asked):
            self.transport.abort()
            return
        self._taken = taken
        self._limit = self.loop.call_later(PATIENCE, self._abort_if_idle)

    def sent(self, size: int) -> None:
        """Count bytes of a response that were handed to the transport."""
        self._sent += size

    def break_off(self) -> None:
        """Break off a response that has begun and can't be completed, so that no client takes it for complete.

        The connection is reset: HTTP/1.0 clients, some proxies among them, read until the connection is closed.
        """
        if self.cycle.response_started and not self.cycle.response_complete and not self.cycle.disconnected:
            self.cycle.disconnected = True
            resets = struct.pack("ii", True, 0)
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, resets)
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Handle received data; discard it after a request was refused."""
        if not self._is_refused:
            super().data_received(data)

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn's returns nothing, which closes the connection
        """Keep a half-closed connection until the response is sent; closed earlier, it could look complete."""
        self._is_half_closed = True
        return self._is_answering

    @property
    def _is_answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def send_400_response(self, msg: str) -> None:
        """Refuse what isn't valid HTTP. In a request's body, this replaces its response unless that has begun."""
        error = sys.exception()
        if self.cycle is not None:
            self.cycle.disconnected = True
        try:
            self._refuse(*_refusal(error, self.conn.trailing_data[0], msg))
        except h11.LocalProtocolError:  # a response has begun, or may have no body, as that to HEAD
            self.transport.close()
        finally:
            if error:
                # h11's error and its frames form a cycle that keeps all received data until the garbage is collected.
                error.__traceback__ = None

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        """Send an error response, then discard what the client still sends for a moment.

        Closing the connection with unread data would reset it, and the client might never see the response.
        """
        body = as_json({"error": message, "at": None})
        headers = {
            **HEADERS,
            "Date": formatdate(usegmt=True),
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Connection": "close",
        }
        response = h11.Response(status_code=status, headers=list(headers.items()), reason=status.phrase)
        for event in (response, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self._is_refused = True
        self.flow.resume_reading()
        self.transport.write_eof()
        self._limit.cancel()
        self._limit = self.loop.call_later(_LINGERING, self.transport.abort)

    def on_response_complete(self) -> None:
        """Wait for the next request, or close a half-closed connection."""
        self._limit.cancel()
        self._limit = self.loop.call_later(PATIENCE, self._abort_if_idle)
        super().on_response_complete()
        if self._is_half_closed and not self._is_answering:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timer."""
        self._limit.cancel()
        super().connection_lost(exc)


def _refusal(error: BaseException | None, received: bytes, otherwise: str) -> tuple[HTTPStatus, str]:
    """Return the status and message of the response to a request that can't be parsed."""
    if not isinstance(error, h11.RemoteProtocolError) or error.error_status_hint != _TOO_LARGE:
        return HTTPStatus.BAD_REQUEST, otherwise
    if b"\n" in received:
        return _TOO_LARGE, "the headers are too long: expected at most 65,536 bytes"
    return HTTPStatus.REQUEST_URI_TOO_LONG, "the URL is too long: expected at most 65,536 bytes"


async def _serve(
    connection: "weakref.ref[HttpConnection]", app: ASGIApp, scope: Scope, receive: Receive, send: Send
) -> None:
    """Run an application for one request, count what it sends, and break off a response that it leaves incomplete."""

    async def counted(message: Message) -> None:
        if found := connection():
            found.sent(len(message.get("body", b"")))
        await send(message)

    try:
        await app(_in_origin_form(scope), receive, counted)
    finally:
        if found := connection():
            found.break_off()


def _in_origin_form(scope: Scope) -> Scope:
    """Return the scope with a path only, even if the request names the whole URL (RFC 9112, 3.2.2)."""
    whole = _ORIGIN.match(scope["raw_path"])
    if not whole:
        return scope
    path: bytes = scope["raw_path"][whole.end() :] or b"/"
    return {**scope, "raw_path": path, "path": unquote(path.decode("ascii"))}

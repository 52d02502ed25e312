"""An HTTP connection of the web server.

uvicorn's timeout applies only to connections that are idle between two requests. Untrusted clients require more: those
that neither complete a request nor read a response are disconnected, the number of connections is bounded, invalid
HTTP gets a response that says why, and a response that is broken off never looks complete.
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
"""How many connections may be open; further ones are closed immediately."""

PATIENCE: Final = 30.0
"""How many seconds a client may neither complete a request nor read any of a response before it is disconnected."""

_LINGERING: Final = 2.0
"""For how many seconds data that follows a rejected request is received and discarded."""

_ORIGIN: Final = re.compile(rb"https?://[^/]*", re.IGNORECASE)

_TOO_LARGE: Final = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE


class HttpConnection(H11Protocol):
    """A connection that is closed if its client is idle for too long."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        """Set up the connection, or close it if there are too many."""
        super().connection_made(transport)
        self._sent = self._taken = 0
        self._is_refused = self._is_half_closed = False
        self._limit = self.loop.call_later(PATIENCE, self._abort_if_idle)
        self.app: ASGIApp = partial(_serve, weakref.ref(self), self.app)  # weak, to free a connection immediately
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
        """Count the bytes of a response that were handed to the transport."""
        self._sent += size

    def break_off(self) -> None:
        """Break off a response that has begun and can't be completed, so that no client takes it for complete.

        The connection is reset, because HTTP/1.0 clients, including some proxies, read until it is closed.
        """
        if self.cycle.response_started and not self.cycle.response_complete and not self.cycle.disconnected:
            self.cycle.disconnected = True
            resets = struct.pack("ii", True, 0)
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, resets)
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Handle received data, or discard it if a request was rejected."""
        if not self._is_refused:
            super().data_received(data)

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn's returns nothing, which closes the connection
        """Keep a half-closed connection open until the response is sent; a partial response could look complete."""
        self._is_half_closed = True
        return self._is_answering

    @property
    def _is_answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def send_400_response(self, msg: str) -> None:
        """Reject invalid HTTP. In a request's body, the error replaces the response unless the response has begun."""
        error = sys.exception()
        if self.cycle is not None:
            self.cycle.disconnected = True
        try:
            self._refuse(*_refusal(error, self.conn.trailing_data[0], msg))
        except h11.LocalProtocolError:  # a response has begun, or must not have a body, like a response to HEAD
            self.transport.close()
        finally:
            if error:
                # h11's error and its frames form a reference cycle, keeping all received data until garbage collection.
                error.__traceback__ = None

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        """Send an error response, then briefly discard what the client still sends.

        Closing the connection while it has unread data would reset it, and the client might never see the response.
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
    """Return the status and the message of the response to a request that can't be parsed."""
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
    """Return the scope with only a path, even if the request contains the whole URL (RFC 9112, 3.2.2)."""
    whole = _ORIGIN.match(scope["raw_path"])
    if not whole:
        return scope
    path: bytes = scope["raw_path"][whole.end() :] or b"/"
    return {**scope, "raw_path": path, "path": unquote(path.decode("ascii"))}

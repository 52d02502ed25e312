"""A connection of the web server: bounded in what it takes and how long it waits, and what it refuses has an answer."""

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
from cachesync.web.headers import HEADERS

CONNECTIONS: Final = 256
"""How many connections there may be; others are closed."""

PATIENCE: Final = 30.0
"""For so many seconds a client may neither send a whole request nor take anything of an answer."""

_LINGERING: Final = 2.0
"""For so many seconds whatever follows a refused request is taken and thrown away."""

_ORIGIN: Final = re.compile(rb"https?://[^/]*", re.IGNORECASE)

_TOO_LARGE: Final = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE


class HttpConnection(H11Protocol):
    """A connection that lasts only while its client does something, or we do."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        """Begin, unless there are too many."""
        super().connection_made(transport)
        self._sent = self._taken = 0
        self._is_refused = self._is_half_closed = False
        self._limit = self.loop.call_later(PATIENCE, self._look)
        self.app: ASGIApp = partial(_serve, weakref.ref(self), self.app)  # no cycle: what ends is forgotten at once
        if len(self.connections) > CONNECTIONS:
            transport.abort()

    def _look(self) -> None:
        """Put out who sends no request and takes no answer. While the answer is being worked out, it is we who wait."""
        waiting = self.transport.get_write_buffer_size()
        cycle: RequestResponseCycle | None = self.cycle
        is_asked = cycle is not None and not cycle.more_body and not cycle.response_complete
        taken = self._sent - waiting
        if taken <= self._taken and (waiting or not is_asked):
            self.transport.abort()
            return
        self._taken = taken
        self._limit = self.loop.call_later(PATIENCE, self._look)

    def sent(self, size: int) -> None:
        """Take note of so many bytes of an answer that were handed over to be sent."""
        self._sent += size

    def break_off(self) -> None:
        """Break an answer that has begun and won't be whole, so that nobody takes it for that.

        To clients of HTTP/1.0, some proxies among them, the end of a connection is the end of the answer: it is reset.
        """
        if self.cycle.response_started and not self.cycle.response_complete and not self.cycle.disconnected:
            self.cycle.disconnected = True
            resets = struct.pack("ii", True, 0)
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, resets)
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take what the client sends, or throw it away."""
        if not self._is_refused:
            super().data_received(data)

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn's returns nothing, which closes the connection
        """Let who sends no more have the answer to what was asked; to end it now would make a broken one look whole."""
        self._is_half_closed = True
        return self._is_answering

    @property
    def _is_answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP. A request whose body it was in gets no other answer, and none where one has begun."""
        error = sys.exception()
        if self.cycle is not None:
            self.cycle.disconnected = True
        try:
            self._refuse(*_refusal(error, self.conn.trailing_data[0], msg))
        except h11.LocalProtocolError:  # an answer has begun, or it may have no body, as one to HEAD
            self.transport.close()
        finally:
            if error:
                # h11's errors and their frames hold each other, and so all that was received, until they are collected.
                error.__traceback__ = None

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        """Answer, and take what else the client sends for a moment.

        To close the connection over that would reset it, and the client might never see the answer.
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
        """Wait for the next request, if there can be one."""
        self._limit.cancel()
        self._limit = self.loop.call_later(PATIENCE, self._look)
        super().on_response_complete()
        if self._is_half_closed and not self._is_answering:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._limit.cancel()
        super().connection_lost(exc)


def _refusal(error: BaseException | None, received: bytes, otherwise: str) -> tuple[HTTPStatus, str]:
    """Return what is to be said of what was received so far."""
    if not isinstance(error, h11.RemoteProtocolError) or error.error_status_hint != _TOO_LARGE:
        return HTTPStatus.BAD_REQUEST, otherwise
    if b"\n" in received:
        return _TOO_LARGE, "the headers are too long: expected at most 65,536 bytes"
    return HTTPStatus.REQUEST_URI_TOO_LONG, "the URL is too long: expected at most 65,536 bytes"


async def _serve(
    connection: "weakref.ref[HttpConnection]", app: ASGIApp, scope: Scope, receive: Receive, send: Send
) -> None:
    """Let an application answer a connection's request."""

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
    """Let a request be for a path, also where it names the whole URL, as for a proxy (RFC 9112, 3.2.2)."""
    whole = _ORIGIN.match(scope["raw_path"])
    if not whole:
        return scope
    path: bytes = scope["raw_path"][whole.end() :] or b"/"
    return {**scope, "raw_path": path, "path": unquote(path.decode("ascii"))}

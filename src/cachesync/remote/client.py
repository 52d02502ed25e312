"""Sends requests to a server, with retries and redirects, and turns failures into errors for users."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from typing import Final
from urllib.parse import urlencode

from urllib3 import BaseHTTPResponse, Timeout
from urllib3.exceptions import HTTPError, ProtocolError

from cachesync.context import current
from cachesync.errors import CachesyncError, IndexUnavailableError
from cachesync.remote import refusal
from cachesync.remote.address import ServerUrl
from cachesync.remote.body import BrokenBodyError, decompressed, lines, read_all, read_start
from cachesync.remote.transport import (
    ANSWER_SECONDS,
    CONNECT_SECONDS,
    pool,
    resolved,
    same_origin,
    timed_out,
    unreachable,
)
from cachesync.retry import Retries

Pairs = Sequence[tuple[str, str]]
"""Names and values of parameters."""

_RETRY_SECONDS: Final = 10.0
"""How many seconds to keep retrying in total while the server is busy."""

_ANSWER_SECONDS: Final = 300.0
"""How many seconds a whole response may take, even if data keeps trickling in. An export may take longer."""

_MAX_REDIRECTS: Final = 5
_READ_BYTES: Final = 1 << 16
_MAX_LINE_BYTES: Final = 1 << 24
_MAX_ERROR_BYTES: Final = 1 << 16

JSON: Final = "application/json"


class Client:
    """An HTTP client of one server."""

    def __init__(self, address: ServerUrl) -> None:
        """Create a client, which connects when it sends its first request.

        Raises:
            UsageError: the environment names a proxy of an unsupported kind.
        """
        self.url = address.url
        self._pool = pool(address.url)
        self._headers = {"User-Agent": "cachesync", "Accept-Encoding": "gzip"}
        if address.authorization:
            self._headers["Authorization"] = address.authorization
        self._timeout = Timeout(connect=CONNECT_SECONDS, read=ANSWER_SECONDS)

    def get(self, path: str, parameters: Pairs = (), *, most: int) -> bytes:
        """Return the body of a response, which may have at most ``most`` bytes.

        Raises:
            UsageError: the server rejected the request as invalid, or it is not a cachesync server.
            IndexUnavailableError: the server is unavailable.
        """
        with self._answer(path, parameters, JSON) as answer:
            return read_all(self._body(answer, time.monotonic() + _ANSWER_SECONDS), most)

    @contextmanager
    def lines(self, path: str, parameters: Pairs, media_type: str) -> Iterator[Iterator[bytes]]:
        """Yield the lines of a response as they arrive. Lines that the block doesn't read are discarded.

        Raises:
            UsageError: as for :meth:`get`, or the response has another media type.
            IndexUnavailableError: as for :meth:`get`, or the response broke off.
        """
        with self._answer(path, parameters, media_type) as answer:
            yield lines(self._body(answer, float("inf")), _MAX_LINE_BYTES)

    @contextmanager
    def _answer(self, path: str, parameters: Pairs, media_type: str) -> Iterator[BaseHTTPResponse]:
        """Yield a successful response of the given media type."""
        query = urlencode(parameters)
        answer = self._retry_while_busy(f"{self.url}{path}{f'?{query}' if query else ''}", media_type)
        try:
            if answer.status != HTTPStatus.OK:
                raise refusal.error_from(self.url, answer.status, self._start_of(answer))
            if answer.headers.get("Content-Type", "").partition(";")[0].strip().lower() != media_type:
                raise refusal.not_cachesync(self.url, self._start_of(answer))
            yield answer
        except BrokenBodyError as error:
            raise IndexUnavailableError(f"the answer of {self.url} can't be used: {error}") from None
        finally:
            answer.close()  # a response that was read to its end has already returned its connection to the pool

    def _retry_while_busy(self, url: str, media_type: str) -> BaseHTTPResponse:
        """Send a request, and retry it while the server is busy and says when to try again."""
        retries = Retries(time.monotonic() + _RETRY_SECONDS)
        while True:
            answer = self._follow_redirects(url, media_type)
            asked = refusal.seconds_to_wait(answer.status, answer.headers.get("Retry-After", ""))
            pause = None if asked is None else retries.next_pause(asked)
            if pause is None:
                return answer
            answer.close()
            with current().awaiting(self.url):
                current().wait(pause)

    def _follow_redirects(self, url: str, media_type: str) -> BaseHTTPResponse:
        """Send a request, and follow redirects within the same server."""
        for _ in range(_MAX_REDIRECTS):
            answer = self._send(url, media_type)
            if answer.status not in refusal.REDIRECTS:
                return answer
            answer.close()
            try:
                elsewhere = resolved(url, answer.headers.get("Location", ""))
                stays = same_origin(url, elsewhere)
            except ValueError:
                raise refusal.invalid_redirect(self.url) from None
            if not stays:
                raise refusal.redirected(self.url, elsewhere)
            url = elsewhere
        raise refusal.redirected(self.url, url)

    def _send(self, url: str, media_type: str) -> BaseHTTPResponse:
        """Send a request, and resend it if the connection breaks: the server may have closed an idle connection."""
        headers = {**self._headers, "Accept": media_type}
        with self._awaiting():
            send = partial(self._pool.request, "GET", url, headers=headers, timeout=self._timeout)
            try:
                return send(preload_content=False, redirect=False)
            except ProtocolError:
                return send(preload_content=False, redirect=False)

    def _body(self, answer: BaseHTTPResponse, deadline: float) -> Iterator[bytes]:
        return decompressed(self._parts(answer, deadline), answer.headers.get("Content-Encoding", "").strip().lower())

    def _parts(self, answer: BaseHTTPResponse, deadline: float) -> Iterator[bytes]:
        """Yield the parts of a body as they arrive."""
        parts = answer.stream(_READ_BYTES, decode_content=False)
        while True:
            with self._awaiting():
                part = next(parts, None)
            if part is None:
                return
            if time.monotonic() > deadline:
                raise timed_out(self.url)
            yield part

    def _start_of(self, answer: BaseHTTPResponse) -> bytes:
        """Return the start of an unexpected response's body, or nothing if the body can't be read."""
        try:
            return read_start(self._body(answer, time.monotonic() + CONNECT_SECONDS), _MAX_ERROR_BYTES)
        except (BrokenBodyError, CachesyncError):
            return b""

    @contextmanager
    def _awaiting(self) -> Iterator[None]:
        """Declare that the block waits for the server, and turn urllib3's errors into ours."""
        with current().awaiting(self.url):
            try:
                yield
            except HTTPError as error:
                raise unreachable(self.url, error) from None

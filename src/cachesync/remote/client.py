"""Requests to a server, and what they come to: a body, or a sentence that says why there is none."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final, TypeVar
from urllib.parse import urlencode

from urllib3 import BaseHTTPResponse, Timeout
from urllib3.exceptions import HTTPError, ProtocolError

from cachesync.context import current
from cachesync.errors import CachesyncError, IndexUnavailableError
from cachesync.remote import refusal
from cachesync.remote.address import ServerUrl
from cachesync.remote.body import BrokenBodyError, beginning, lines, unpacked, whole
from cachesync.remote.transport import (
    ANSWER_SECONDS,
    CONNECT_SECONDS,
    pool,
    resolved,
    same_origin,
    silent,
    unreachable,
)

Pairs = Sequence[tuple[str, str]]
"""Names and values of parameters."""

_PATIENCE_SECONDS: Final = 10.0
"""So long a server may say "not now", all in all."""

_MOST_TRIES: Final = 12
"""So often it may say so."""

_ANSWER_SECONDS: Final = 300.0
"""So long an answer may take to come, however little of it comes at a time. An export may take longer."""

_MOST_REDIRECTS: Final = 5
_READ: Final = 1 << 16
_LONGEST_LINE: Final = 1 << 24
_MOST_OF_REFUSAL: Final = 1 << 16

JSON: Final = "application/json"

_Result = TypeVar("_Result")


class Client:
    """Asks one server."""

    def __init__(self, address: ServerUrl) -> None:
        """Connect when something is asked.

        Raises:
            UsageError: the environment names a proxy of a kind that can't be used.
        """
        self.url = address.url
        self._pool = pool(address.url)
        self._headers = {"User-Agent": "cachesync", "Accept-Encoding": "gzip"}
        if address.authorization:
            self._headers["Authorization"] = address.authorization
        self._timeout = Timeout(connect=CONNECT_SECONDS, read=ANSWER_SECONDS)

    def get(self, path: str, parameters: Pairs = (), *, most: int) -> bytes:
        """Return the body of an answer, of at most so many bytes.

        Raises:
            UsageError: the server says that what is asked is wrong, or it is no cachesync.
            IndexUnavailableError: it can't be asked just now.
        """
        with self._answer(path, parameters, JSON) as answer:
            return whole(self._body(answer, time.monotonic() + _ANSWER_SECONDS), most)

    @contextmanager
    def lines(self, path: str, parameters: Pairs, media_type: str) -> Iterator[Iterator[bytes]]:
        """Lend the lines of an answer as they come. What isn't wanted when the block ends isn't waited for.

        Raises:
            UsageError: as :meth:`get`, and what answers has another type.
            IndexUnavailableError: as :meth:`get`, or it broke off.
        """
        with self._answer(path, parameters, media_type) as answer:
            yield lines(self._body(answer, float("inf")), _LONGEST_LINE)

    @contextmanager
    def _answer(self, path: str, parameters: Pairs, media_type: str) -> Iterator[BaseHTTPResponse]:
        """Lend an answer that is as asked for."""
        query = urlencode(parameters)
        answer = self._asked(f"{self.url}{path}{f'?{query}' if query else ''}", media_type)
        try:
            if answer.status != HTTPStatus.OK:
                raise self._refused(answer)
            if answer.headers.get("Content-Type", "").partition(";")[0].strip().lower() != media_type:
                raise refusal.no_cachesync(self.url, self._beginning(answer))
            yield answer
        except BrokenBodyError as error:
            raise IndexUnavailableError(f"the answer of {self.url} can't be used: {error}") from None
        finally:
            answer.close()  # one that was read to its end has given its connection back by now

    def _asked(self, url: str, media_type: str) -> BaseHTTPResponse:
        """Ask until the answer is more than "not now", or it was so for too long or too often."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        for _ in range(_MOST_TRIES - 1):
            answer = self._led(url, media_type)
            wait = refusal.seconds_to_wait(answer.status, answer.headers.get("Retry-After", ""))
            if wait is None or time.monotonic() + wait > deadline:
                return answer
            answer.close()
            with current().awaiting(self.url):
                current().wait(wait)
        return self._led(url, media_type)

    def _led(self, url: str, media_type: str) -> BaseHTTPResponse:
        """Ask, and go where the answer leads, as long as that is the same server."""
        for _ in range(_MOST_REDIRECTS):
            answer = self._sent(url, media_type)
            if answer.status not in refusal.REDIRECTS:
                return answer
            answer.close()
            try:
                elsewhere = resolved(url, answer.headers.get("Location", ""))
                stays = same_origin(url, elsewhere)
            except ValueError:
                raise refusal.leads_nowhere(self.url) from None
            if not stays:
                raise refusal.leads_elsewhere(self.url, elsewhere)
            url = elsewhere
        raise refusal.leads_elsewhere(self.url, url)

    def _sent(self, url: str, media_type: str) -> BaseHTTPResponse:
        """Send a request. One whose connection breaks off is sent once more: the server may have been idle too long."""

        def send() -> BaseHTTPResponse:
            headers = {**self._headers, "Accept": media_type}
            return self._pool.request(
                "GET", url, headers=headers, timeout=self._timeout, preload_content=False, redirect=False
            )

        try:
            return self._awaited(send)
        except ProtocolError:
            return self._told(lambda: self._awaited(send))
        except HTTPError as error:
            raise unreachable(self.url, error) from None

    def _body(self, answer: BaseHTTPResponse, deadline: float) -> Iterator[bytes]:
        return unpacked(self._parts(answer, deadline), answer.headers.get("Content-Encoding", "").strip().lower())

    def _parts(self, answer: BaseHTTPResponse, deadline: float) -> Iterator[bytes]:
        """Yield a body as it comes."""
        parts = answer.stream(_READ, decode_content=False)
        while (part := self._told(lambda: self._awaited(lambda: next(parts, None)))) is not None:
            if time.monotonic() > deadline:
                raise silent(self.url)
            yield part

    def _refused(self, answer: BaseHTTPResponse) -> CachesyncError:
        return refusal.explained(self.url, answer.status, self._beginning(answer))

    def _beginning(self, answer: BaseHTTPResponse) -> bytes:
        """Return how an answer begins that isn't as asked for; nothing of one that can't be read."""
        try:
            return beginning(self._body(answer, time.monotonic() + CONNECT_SECONDS), _MOST_OF_REFUSAL)
        except (BrokenBodyError, CachesyncError):
            return b""

    def _awaited(self, wait: Callable[[], _Result]) -> _Result:
        with current().awaiting(self.url):
            return wait()

    def _told(self, work: Callable[[], _Result]) -> _Result:
        try:
            return work()
        except HTTPError as error:
            raise unreachable(self.url, error) from None

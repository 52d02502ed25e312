"""Sends encoded operations to the server until each is acknowledged, stale or rejected."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, NamedTuple

import msgspec
from elasticsearch import ApiError, TransportError

from cachesync.context import StoppedError, current
from cachesync.errors import IndexUnavailableError, IndexUnusableError
from cachesync.index.connection_health import Tries
from cachesync.index.elastic.connection import CLOSED, Connection, closed, failure, failure_of, reason_of
from cachesync.index.elastic.limits import is_too_large, too_large
from cachesync.index.elastic.pace import Pace
from cachesync.index.generation import Put, RejectedDocument
from cachesync.retry import BUSY, Retries


@dataclass(frozen=True)
class Sent:
    """The result of sending operations. Operations that aren't mentioned here were carried out."""

    refused: tuple[RejectedDocument, ...] = ()
    stale: int = 0
    """How many operations were rejected because the index has a newer version."""

    def __add__(self, other: "Sent") -> "Sent":
        return Sent(self.refused + other.refused, self.stale + other.stale)


class Outcome(NamedTuple):
    """The result of one request."""

    sent: Sent = Sent()
    again: Sequence[bytes] = ()
    """Operations that failed temporarily and must be sent again."""
    kind: str = ""
    reason: str = ""


class RightMissingError(IndexUnavailableError):
    """The server doesn't allow us to write."""


def put(id: str, version: int, source: bytes) -> bytes:
    """Return the operation that stores a document, unless a newer version of it exists or was deleted."""
    return b"".join((_PUT, _encode(id), _versioned(version), source, b"\n"))


def puts(documents: Sequence[Put], version: int) -> list[bytes]:
    """Return the operations that store documents, each as :func:`put` does."""
    join, encode, versioned = b"".join, _encode, _versioned(version)
    return [join((_PUT, encode(each.id), versioned, each.source, b"\n")) for each in documents]


def delete(id: str, version: int) -> bytes:
    """Return the operation that deletes a document, unless a newer version of it exists."""
    return b"".join((_DELETE, _encode(id), _versioned(version)))


def _versioned(version: int) -> bytes:
    """Return the rest of an operation's action line, which follows the id."""
    return b',"version":%d,"version_type":"external_gte"}}\n' % version


def is_delete(operation: bytes) -> bool:
    """Whether an operation is a deletion."""
    return not operation.startswith(_PUT)


_encode: Final = msgspec.json.Encoder().encode
_PUT: Final = b'{"index":{"_id":'
_DELETE: Final = b'{"delete":{"_id":'

_DONE: Final = b'"status":2'
"""Occurs in the response once for each operation that was carried out."""

_GUARD: Final = b'{"index":{"_id":"guard","if_seq_no":0,"if_primary_term":1}}\n{}\n'
"""An operation that never writes, because no document has this id.

A bulk request that consists only of deletions with external versions creates a missing index in spite of
``require_alias``, which the server checks only for index operations [tried on 9.5.3]. This operation prevents that.
"""


_SLACK: Final = 2
"""The factor by which a request may exceed the wanted size, so that a batch's last page needn't be split off."""


class Bulk:
    """Sends operations, from several threads that share only the pace of sending and whether to stop."""

    def __init__(self, connection: Connection) -> None:
        """Send through ``connection``. Once the calling thread's context is stopped, nothing is retried."""
        self.pace = Pace()
        self.stop = threading.Event()
        """When set, nothing is retried, and no new request is begun."""
        self._connection = connection
        self._context = current().branch(self.stop)

    def send(self, alias: str, operations: Sequence[bytes], weight: int) -> Sent:
        """Send operations of ``weight`` bytes in all, in successive requests of bounded size.

        Puts must come before deletions.

        Raises:
            IndexUnavailableError: retries are exhausted without any success, or the credentials are rejected.
            IndexUnusableError: the index is gone.
            StoppedError: sending was stopped.
        """
        sent = Sent()
        limit = min(self.pace.bytes * _SLACK, self._connection.limits.body)
        for part in [operations] if weight <= limit else _parts(operations, limit):
            sent += self._part(alias, part)
        return sent

    def _part(self, alias: str, operations: Sequence[bytes]) -> Sent:
        with self._connection.health.trying(self._connection.server.url) as tries:
            return self._send_retrying(tries, alias, operations)

    def _send_retrying(self, tries: Tries, alias: str, operations: Sequence[bytes]) -> Sent:
        sent = Sent()
        retries = Retries(time.monotonic() + self._connection.patience)
        while operations:
            if self.stop.is_set():
                raise StoppedError
            try:
                outcome = self._request(alias, operations, retries.left)
            except (ApiError, TransportError) as error:
                if not self._connection.is_temporary(error):
                    return sent + self._bisect(tries, alias, operations, error)
                outcome = Outcome(again=operations, kind=failure_of(error), reason=reason_of(error))
            except RightMissingError as error:
                tries.gave_up("credentials", str(error))
                raise
            sent += outcome.sent
            if len(outcome.again) < len(operations):
                retries.deadline = time.monotonic() + self._connection.patience
            operations = outcome.again
            if operations:
                self._wait(tries, retries, outcome)
        tries.answered()
        return sent

    def _request(self, alias: str, operations: Sequence[bytes], seconds: float) -> Outcome:
        """Send one request, and classify the response to each operation."""
        guard = [_GUARD] if is_delete(operations[0]) else []
        start = time.monotonic()
        response = self._connection.bulk(alias, b"".join([*guard, *operations]), seconds)
        seconds = time.monotonic() - start
        self.pace.answered(seconds, response.get("took", 0) / 1000)
        self._connection.health.on_bulk(seconds)
        items = response.get("items", [])
        if isinstance(items, msgspec.Raw):
            text = bytes(items)
            if text.count(_DONE) == len(operations):
                return Outcome()
            items = msgspec.json.decode(text)
        if len(items) != len(operations) + len(guard):
            reason = f"a response to only {len(items):,} of {len(operations) + len(guard):,} operations"
            return Outcome(again=operations, kind="other", reason=reason)
        return classified(operations, items[len(guard) :], self._connection.server.url)

    def _bisect(self, tries: Tries, alias: str, operations: Sequence[bytes], error: ApiError | TransportError) -> Sent:
        """Halve a request that was rejected as a whole, recursively, to find the operation that the server rejects."""
        if is_too_large(error):
            tries.answered()
            return self._send_smaller(alias, operations)
        if not isinstance(error, ApiError) or error.meta.status != HTTPStatus.BAD_REQUEST:
            raise self._connection.given_up(tries, error) from error
        tries.answered()
        if len(operations) == 1:
            return Sent((RejectedDocument(_id(operations[0]), reason_of(error)),))
        half = len(operations) // 2
        return self._part(alias, operations[:half]) + self._part(alias, operations[half:])

    def _send_smaller(self, alias: str, operations: Sequence[bytes]) -> Sent:
        """Send operations that are too large for one request in smaller requests, and lower the limit from then on."""
        size = sum(map(len, operations))
        if len(operations) == 1:
            return Sent((RejectedDocument(_id(operations[0]), too_large(f" of {size:,} bytes")),))
        self._connection.limits = self._connection.limits.after_too_large(size)
        return self.send(alias, operations, size)

    def _wait(self, tries: Tries, retries: Retries, outcome: Outcome) -> None:
        self.pace.overloaded()
        pause = retries.next_pause()
        if pause is None:
            why = (
                f"{self._connection.server.url} took no documents for {self._connection.patience:g} s: {outcome.reason}"
            )
            tries.gave_up(outcome.kind, why)
            raise IndexUnavailableError(why)
        tries.failed(outcome.kind, outcome.reason)
        self._context.wait(pause)


def _parts(operations: Sequence[bytes], limit: int) -> list[Sequence[bytes]]:
    """Divide operations into requests of at most ``limit`` bytes, unless a single operation is larger."""
    parts: list[Sequence[bytes]] = []
    start = size = 0
    for position, operation in enumerate(operations):
        if size and size + len(operation) > limit:
            parts.append(operations[start:position])
            start, size = position, 0
        size += len(operation)
    if start < len(operations):
        parts.append(operations[start:])
    return parts


def classified(operations: Sequence[bytes], items: Sequence[dict[str, Any]], url: str) -> Outcome:
    """Classify the response to each operation.

    Raises:
        IndexUnusableError: the index is gone.
        IndexUnavailableError: the credentials don't allow writing, or the index is closed.
    """
    refused = []
    again = []
    stale = 0
    failed = reason = ""
    for operation, item in zip(operations, items, strict=True):
        (result,) = item.values()
        status = result["status"]
        if status < 300:
            continue
        kind = result.get("error", {}).get("type", "")
        if status == 404 and kind:
            raise IndexUnusableError(f"an index was deleted while it was written: {_reason(result)}")
        if kind == CLOSED:
            raise closed(result["error"], url)
        if kind == "security_exception":
            raise RightMissingError(f"Elasticsearch refuses to let us write: {_reason(result)}")
        if status == 409:
            stale += 1
        elif status in BUSY or status >= 500 or kind == "cluster_block_exception":
            again.append(operation)
            failed, reason = failure(status, kind), _reason(result)
        elif status != 404:  # 404: a deletion of a document that didn't exist
            refused.append(RejectedDocument(_id(operation), _reason(result)))
    return Outcome(Sent(tuple(refused), stale), again, failed, reason)


def _reason(result: dict[str, Any]) -> str:
    error = result["error"]
    cause = error.get("caused_by") or {}
    return f"{error['reason']}{': ' + cause['reason'] if cause.get('reason') else ''}"


def _id(operation: bytes) -> str:
    (action,) = msgspec.json.decode(operation.partition(b"\n")[0]).values()
    return str(action["_id"])

"""The service's side of requests: find those that commands wait for, and answer them."""

import time
from collections.abc import Callable, Container, Iterator
from contextlib import suppress
from typing import Final

import msgspec

from cachesync.context import current, within
from cachesync.errors import CachesyncError, IndexUnavailableError, UsageError
from cachesync.index.base import Notes
from cachesync.index.lifecycle import Writer
from cachesync.log import get_logger
from cachesync.service.requests import REQUEST, RESPONSE, SIGN, CommandRequest, Response

_log = get_logger()

SILENT_SECONDS: Final = 10.0
"""A command that has given no sign for this long has ended."""

_IDLE_SECONDS: Final = 1.5
_BUSY_SECONDS: Final = 0.5
"""How often the service polls: while it knows of no request, and while it does."""

_CONSENT_POLL_SECONDS: Final = 0.2
"""How often it looks for the next sign of a command whose consent it needs now."""

PROGRESS_SECONDS: Final = 1.0

_EARLIER: Final = ("errand-", "reply-")
"""Prefixes of notes that versions before 0.1.0 left. No command waits for these."""


class _Known(msgspec.Struct):
    """A request that the service has found."""

    request: CommandRequest | None
    """None: it can't be parsed."""
    sign: bytes | None
    signed_at: float
    """When the sign was last seen to change."""
    checked_at: float
    """When the sign was last read."""
    is_alive: bool = False
    """Whether the sign changed when it was last read, so the command is waiting."""
    is_logged: bool = False
    is_settled: bool = False

    @property
    def asked_at(self) -> str:
        """When the command wrote the request, by its own clock."""
        return self.request.asked_at if self.request else ""


def _is_leftover(key: str, ids: Container[str]) -> bool:
    """Return whether a note belongs to a request that doesn't exist, or to an earlier version."""
    kind, separator, id = key.partition("-")
    return key.startswith(_EARLIER) or (kind + separator in (SIGN, RESPONSE) and id not in ids)


class RequestInbox:
    """The requests that the service knows of.

    All methods are for one thread, and those that use notes raise IndexUnavailableError if the index doesn't answer.
    """

    def __init__(self, writer: Writer, notes: Notes, clock: Callable[[], float] = time.monotonic) -> None:
        self.due = 0.0
        """When to :meth:`poll` again, by the clock."""
        self._writer = writer
        self._notes = notes
        self._clock = clock
        self._signals: int | None = None
        self._known: dict[str, _Known] = {}
        self._to_respond: dict[str, Response] = {}
        self._progress_at = 0.0

    def poll(self) -> Iterator[CommandRequest]:
        """Yield the requests of commands that still wait, the oldest first."""
        self.due = self._clock() + _IDLE_SECONDS
        signals = self._writer.signals()
        if signals != self._signals:
            self._find()
            self._signals = signals
        if self._known:
            self.due = self._clock() + _BUSY_SECONDS
        for id, known in list(self._known.items()):
            self._observe(id, known)  # just before it is carried out: the request before it may have taken minutes
            if id not in self._known or known.is_settled or known.request is None:
                continue
            if not known.is_alive:
                break  # requests keep their order: a rollback after a reindex is meant to undo that reindex
            if not known.is_logged:
                known.is_logged = True
                _log.info("carrying out a command's request", action="request.received", command=known.request.command)
            yield known.request

    def is_waited_for(self, id: str) -> bool:
        """Return whether the command still waits, as far as is known."""
        return id in self._known

    def consents(self, id: str) -> bool:
        """Return whether the command that consented is waiting at this moment: wait for its next sign."""
        known = self._known.get(id)
        if known is None:
            return False
        now = self._clock()
        known.sign, known.signed_at, known.checked_at, known.is_alive = self._notes.get(SIGN + id), now, now, False
        while id in self._known and not known.is_alive:
            current().wait(_CONSENT_POLL_SECONDS)
            self._observe(id, known)
        return known.is_alive

    def settle(self, id: str | None, response: Response) -> None:
        """Keep the final response to a request, if ``id`` is a known one, until it is written."""
        if id in self._known and not self._known[id].is_settled:
            self._known[id].is_settled = True
            self._to_respond[id] = response

    def respond(self) -> None:
        """Write the pending responses.

        Raises:
            CachesyncError: one of them can't be written. The next call retries it.
        """
        errors: list[CachesyncError] = []
        for id, response in list(self._to_respond.items()):
            try:
                self._notes.put(RESPONSE + id, msgspec.json.encode(response))
            except CachesyncError as error:
                errors.append(error)
            else:
                del self._to_respond[id]
        if errors:
            raise errors[0]

    def note_promotion(self, id: str | None, generation: str) -> None:
        """Note that a generation is about to go live for a request, if ``id`` is a known one.

        Nothing may be promoted if this fails.
        """
        if id in self._known:
            self._notes.put(RESPONSE + id, msgspec.json.encode(Response(generation=generation)))

    def progress(self, id: str | None, done: int, pages: int) -> None:
        """Write the progress for the command that waits, at most once a second. Failures are ignored."""
        known = self._known.get(id or "")
        if known and known.request and pages and self._clock() - self._progress_at >= PROGRESS_SECONDS:
            self._progress_at = self._clock()
            response = Response(done=done, pages=pages, generation=known.request.generation)
            with suppress(IndexUnavailableError), within(PROGRESS_SECONDS):
                self._notes.put(RESPONSE + known.request.id, msgspec.json.encode(response))

    def _find(self) -> None:
        """Read new requests, and remove leftover notes."""
        keys = self._notes.list_keys()
        ids = {key.removeprefix(REQUEST) for key in keys if key.startswith(REQUEST)}
        found = {id: known for id in ids - self._known.keys() if (known := self._read(id))}
        for id, known in sorted(found.items(), key=lambda each: each[1].asked_at):
            self._known[id] = known
            if known.request is None:
                self.settle(id, Response.failed(UsageError("the service is of another version: restart it")))
        left = [key for key in keys if _is_leftover(key, ids | self._known.keys())]
        for key in left:
            self._notes.remove(key)
        if left:
            _log.info("removed notes that earlier commands left behind", action="request.pruned", notes=len(left))

    def _read(self, id: str) -> _Known | None:
        text = self._notes.get(REQUEST + id)
        if text is None:  # withdrawn since
            return None
        sign, response = self._notes.get(SIGN + id), self._notes.get(RESPONSE + id)
        request = None
        with suppress(msgspec.MsgspecError):
            request = msgspec.json.decode(text, type=CommandRequest)
        now = self._clock()
        known = _Known(request, sign, now, now)
        with suppress(msgspec.MsgspecError):
            before = msgspec.json.decode(response, type=Response) if response else Response()
            known.is_settled = before.finished
            if request and before.generation:  # an earlier service has started on it
                known.request = msgspec.structs.replace(request, generation=before.generation)
        return known

    def _observe(self, id: str, known: _Known) -> None:
        """Check whether the command still waits, and drop its request if it does not."""
        sign, now = self._notes.get(SIGN + id), self._clock()
        was_away, known.checked_at = now - known.checked_at > SILENT_SECONDS, now
        if sign is None and known.sign:  # withdrawn
            self._drop(id)
        elif was_away:  # a changed sign may be older than SILENT_SECONDS: only later changes prove that it waits
            known.sign, known.signed_at, known.is_alive = sign, now, False
        elif sign != known.sign:
            known.sign, known.signed_at, known.is_alive = sign, now, True
        elif now - known.signed_at > SILENT_SECONDS:
            self._drop(id)
            if not known.is_settled and known.request:
                _log.warning(
                    "dropped the request of a command that has ended",
                    action="request.dropped",
                    command=known.request.command,
                    asked_at=known.request.asked_at,
                )

    def _drop(self, id: str) -> None:
        del self._known[id]
        self._to_respond.pop(id, None)
        for key in (REQUEST, SIGN, RESPONSE):
            self._notes.remove(key + id)

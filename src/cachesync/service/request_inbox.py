"""The service's side of requests: find the requests that commands are waiting for, and respond to them."""

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
"""A command without a heartbeat for this many seconds counts as exited."""

_IDLE_SECONDS: Final = 1.5
_BUSY_SECONDS: Final = 0.5
"""How often the service polls: while there are no requests (``_IDLE_SECONDS``), and while there are requests."""

_CONSENT_POLL_SECONDS: Final = 0.2
"""How often the service checks for the next heartbeat of a command whose consent it needs now."""

PROGRESS_SECONDS: Final = 1.0

_EARLIER: Final = ("errand-", "reply-")
"""The prefixes of notes that versions before 0.1.0 left behind. No command waits for such notes."""


class _Known(msgspec.Struct):
    """A request that the service has found."""

    request: CommandRequest | None
    """The request; None if it can't be parsed."""
    sign: bytes | None
    signed_at: float
    """When the heartbeat was last seen to change."""
    checked_at: float
    """When the heartbeat was last read."""
    is_alive: bool = False
    """Whether the heartbeat had changed when it was last read, which shows that the command is waiting."""
    is_logged: bool = False
    is_settled: bool = False

    @property
    def asked_at(self) -> str:
        """When the command wrote the request, by the command's own clock."""
        return self.request.asked_at if self.request else ""


def _is_leftover(key: str, ids: Container[str]) -> bool:
    """Return whether a note belongs to a request that doesn't exist, or to an earlier version."""
    kind, separator, id = key.partition("-")
    return key.startswith(_EARLIER) or (kind + separator in (SIGN, RESPONSE) and id not in ids)


class RequestInbox:
    """The requests that the service has found.

    All methods are for one thread. Methods that use notes raise IndexUnavailableError if the index doesn't answer.
    """

    def __init__(self, writer: Writer, notes: Notes, clock: Callable[[], float] = time.monotonic) -> None:
        self.due = 0.0
        """When to call :meth:`poll` next, by the clock."""
        self._writer = writer
        self._notes = notes
        self._clock = clock
        self._signals: int | None = None
        self._known: dict[str, _Known] = {}
        self._to_respond: dict[str, Response] = {}
        self._progress_at = 0.0

    def poll(self) -> Iterator[CommandRequest]:
        """Yield the requests of commands that are still waiting, the oldest first."""
        self.due = self._clock() + _IDLE_SECONDS
        signals = self._writer.signals()
        if signals != self._signals:
            self._find()
            self._signals = signals
        if self._known:
            self.due = self._clock() + _BUSY_SECONDS
        for id, known in list(self._known.items()):
            self._observe(id, known)  # just before its turn: the previous request may have taken minutes
            if id not in self._known or known.is_settled or known.request is None:
                continue
            if not known.is_alive:
                break  # requests keep their order: a rollback after a reindex is meant to undo that reindex
            if not known.is_logged:
                known.is_logged = True
                _log.info("carrying out a command's request", action="request.received", command=known.request.command)
            yield known.request

    def is_waited_for(self, id: str) -> bool:
        """Return whether the request's command is still waiting, as far as the service can tell."""
        return id in self._known

    def consents(self, id: str) -> bool:
        """Wait for the next heartbeat of a command that consented, and return whether the command is still waiting."""
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
        """Keep the final response to a request until :meth:`respond` writes it. An unknown ``id`` is ignored."""
        if id in self._known and not self._known[id].is_settled:
            self._known[id].is_settled = True
            self._to_respond[id] = response

    def respond(self) -> None:
        """Write the pending responses.

        Raises:
            CachesyncError: a response can't be written. The next call retries that response.
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
        """Note that a generation is about to go live for a request. An unknown ``id`` is ignored.

        If the note can't be written, nothing may be promoted.
        """
        if id in self._known:
            self._notes.put(RESPONSE + id, msgspec.json.encode(Response(generation=generation)))

    def progress(self, id: str | None, done: int, pages: int) -> None:
        """Write a request's progress for the waiting command, at most once a second. Failures are ignored."""
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
        if text is None:  # withdrawn in the meantime
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
            if request and before.generation:  # an earlier service has begun to carry it out
                known.request = msgspec.structs.replace(request, generation=before.generation)
        return known

    def _observe(self, id: str, known: _Known) -> None:
        """Check whether the request's command is still waiting, and drop the request if the command isn't."""
        sign, now = self._notes.get(SIGN + id), self._clock()
        was_away, known.checked_at = now - known.checked_at > SILENT_SECONDS, now
        if sign is None and known.sign:  # withdrawn
            self._drop(id)
        elif was_away:  # a changed heartbeat may be older than SILENT_SECONDS, so only later changes count
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

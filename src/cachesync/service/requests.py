"""Commands ask the running service to do what only the writer may do, so that an operator never has to stop it.

A command writes a *request* to the index's notes, signals the service, and every second increments a number beside the
request: the sign that it is still waiting. The service carries out a request only while it sees that number change, and
writes a *response*. So nothing is ever done for a command that has ended, whatever it had consented to, and a request
that is found after a reboot is recognized as abandoned.

A generation is promoted only once, however often a request is started: before the promotion the response names the
generation that is about to go live, and whoever resumes the request (the next service, or the command itself) first
checks whether it is live already.
"""

import os
import time
import uuid
from collections.abc import Callable, Container, Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import msgspec

from cachesync.context import current, shielded, within
from cachesync.errors import (
    CachesyncError,
    ConsentError,
    DefectError,
    IndexUnavailableError,
    IndexUnusableError,
    RefusedError,
    UsageError,
)
from cachesync.index.base import Index, Notes, Writer
from cachesync.log import get_logger, spelled
from cachesync.sync.passes import Progress
from cachesync.sync.report import Report
from cachesync.sync.scan import require_root

_log = get_logger()

WRITER_WAIT: Final = 60.0
"""Seconds that a writing command waits for another writer to end, or for the index to be reachable again."""

SILENT_SECONDS: Final = 10.0
"""A command that has given no sign for this long has ended."""

SIGN_SECONDS: Final = 1.0
POLL_SECONDS: Final = 0.2
_SERVICE_SILENT_SECONDS: Final = 15.0
"""A service that has given no sign for this long has ended; its lease is shorter."""

_IDLE_SECONDS: Final = 1.5
_BUSY_SECONDS: Final = 0.5
"""How often the service polls: while it knows of no request, and while it does."""

_BUSY_LOG_SECONDS: Final = 15.0
"""After how long a command logs that the service hasn't started on its request yet."""

PROGRESS_SECONDS: Final = 1.0
_CLOSE_SECONDS: Final = 2.0

_REQUEST: Final = "request-"
_SIGN: Final = "sign-"
_RESPONSE: Final = "response-"
_EARLIER: Final = ("errand-", "reply-")
"""Prefixes of notes that versions before 0.1.0 left. No command waits for these."""


class CommandRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a command asks the service to do."""

    command: Literal["sync", "reindex", "rollback"]
    id: str = msgspec.field(default_factory=lambda: uuid.uuid4().hex)
    asked_at: str = msgspec.field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="microseconds"))
    consent: bool = False
    """Whether any loss is consented to, as long as the command waits."""
    suspects: list[str] = []
    """Pages whose documents are checked even if they agree with the ledger."""
    generation: str | None = None
    """The generation that an earlier attempt was about to promote. If it is live, the request is already done."""
    root: "RootNames | None" = None
    """The command's ``pages.root``; None: it needs no pages, or is of an earlier version."""


class RootNames(msgspec.Struct, frozen=True):
    """The path of a root, as configured and with links resolved: a command may run on another machine."""

    configured: str
    real: str

    @classmethod
    def of(cls, root: Path) -> "RootNames":
        """Return the names of a root."""
        return cls(str(root.absolute()), os.path.realpath(root))

    def require_same(self, asked: "RootNames | None") -> None:
        """Make sure that a command's root is this one.

        Raises:
            UsageError: neither of its names is the same.
        """
        if asked and asked.configured != self.configured and asked.real != self.real:
            raise UsageError(
                f"pages.root: the running service keeps this index equal to {self.configured}, and this command was to "
                f"do so with {asked.configured}: use the service's configuration (-c FILE), or another index.name"
            )


class Failure(msgspec.Struct, frozen=True):
    """Why a request was not carried out."""

    kind: str
    message: str


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """The progress of a request, and finally its outcome."""

    finished: bool = False
    done: int = 0
    pages: int = 0
    generation: str | None = None
    """The generation that is about to go live, or has gone live."""
    report: Report | None = None
    failure: Failure | None = None

    @classmethod
    def done_with(cls, report: Report) -> "Response":
        """Return the response to a request that was carried out. Long lists are shortened to fit into a note."""
        return cls(finished=True, report=report.shortened())

    @classmethod
    def live(cls, generation: str) -> "Response":
        """Return the response to a rollback that made this generation live."""
        return cls(finished=True, generation=generation)

    @classmethod
    def failed(cls, error: CachesyncError) -> "Response":
        """Return the response to a request that failed."""
        kind = next(kind for kind, each in _KINDS.items() if isinstance(error, each))
        return cls(finished=True, failure=Failure(kind, spelled(str(error))))

    def raise_failure(self) -> None:
        """Raise the service's error, as if it had occurred here."""
        if self.failure:
            raise _KINDS.get(self.failure.kind, IndexUnavailableError)(self.failure.message)


_KINDS: Final[dict[str, type[CachesyncError]]] = {
    "consent": ConsentError,
    "refused": RefusedError,
    "usage": UsageError,
    "unusable": IndexUnusableError,
    "unavailable": IndexUnavailableError,
    "internal": DefectError,
    "other": CachesyncError,
}
"""The names of errors in notes. If several fit an error, the first counts."""


# --- the command's side -----------------------------------------------------------------------------------------------


def carry_out(
    index: Index,
    request: CommandRequest,
    progress: Progress,
    here: Callable[[Writer, str | None], Response],
    root: Path | None,
) -> Response:
    """Let the running service carry out a request, or do it here if no service runs: the outcome is the same.

    Args:
        index: the index to write to.
        request: what to do.
        progress: is called with the progress.
        here: does it in this process, with the writer and the generation that an earlier attempt was about to promote.
        root: the root that must exist before anything is done here; None: it isn't needed.

    Raises:
        CachesyncError: the request failed.
    """
    index.require_rights()
    response = ask(index, request, progress)
    if response.finished:
        return response
    if root:
        require_root(root)  # before the index creates anything on disk
    with ExitStack() as stack:
        try:
            writer = stack.enter_context(index.writer(WRITER_WAIT))
        except IndexUnavailableError:  # a service may have been started in the meantime
            again = ask(index, msgspec.structs.replace(request, generation=response.generation), progress)
            if again.finished:
                return again
            raise
        return here(writer, response.generation)


def ask(index: Index, request: CommandRequest, progress: Progress) -> Response:
    """Send a request to the running service and wait. The response is unfinished if no service runs, or it ends.

    Raises:
        CachesyncError: the service's error.
        IndexUnavailableError: the index can't be reached.
    """
    status = index.status()
    if not status.service:
        return Response(generation=request.generation)
    asking = PendingRequest(index, request)
    try:
        asking.begin()
        _log.info("handed to the running service", action="request.sent", command=request.command, holder=status.holder)
        response = asking.wait(progress, status.sign)
    finally:
        asking.end()
    response.raise_failure()
    return response


def _no_progress(_done: int, _pages: int) -> None:
    """Ignore the progress."""


class PendingRequest:
    """One request, seen by the command that waits for its response."""

    def __init__(self, index: Index, request: CommandRequest) -> None:
        self._index = index
        self._notes = index.notes()
        self._request = request
        self._signs = 0
        self._response = self._none = Response(generation=request.generation)

    def begin(self) -> None:
        """Write the request and signal the service."""
        request = msgspec.structs.replace(self._request, generation=self._response.generation)
        self._notes.put(_REQUEST + request.id, msgspec.json.encode(request))
        self._sign()
        self._index.signal()

    def wait(self, progress: Progress, sign: str | None) -> Response:
        """Return the response once it is finished or the service has ended. ``sign`` is the service's last sign."""
        now = started = time.monotonic()
        alive = answered = signed = now
        is_logged = False
        while True:
            try:
                self._poll(progress)
                if self._response.finished:
                    return self._response
                if now - signed >= SIGN_SECONDS:
                    signed = now
                    self._keep_alive()
                    status = self._index.status()
                    if status.sign is None or status.sign != sign:
                        sign, alive = status.sign, now
                    if not status.service or now - alive > _SERVICE_SILENT_SECONDS:
                        self._poll(progress)  # its final response may have arrived since
                        return self._response
                answered = now
                if not is_logged and now - started > _BUSY_LOG_SECONDS and self._response == self._none:
                    _log.info(
                        "the service is busy with something else; waiting for it",
                        action="request.waiting",
                        command=self._request.command,
                    )
                    is_logged = True
            except IndexUnavailableError:
                if now - answered > WRITER_WAIT:
                    raise
            current().wait(POLL_SECONDS)
            now = time.monotonic()

    def _keep_alive(self) -> None:
        """Give a sign. If the request was dropped, since this process was suspended, write it again."""
        if self._notes.get(_REQUEST + self._request.id) is None:
            self._poll(_no_progress)
            if not self._response.finished:
                self.begin()
        else:
            self._sign()

    def end(self) -> None:
        """Remove the notes. The service drops what can't be removed now, since no sign follows."""
        for key in (_REQUEST, _SIGN, _RESPONSE):
            with suppress(CachesyncError), shielded(_CLOSE_SECONDS):
                self._notes.remove(key + self._request.id)

    def _sign(self) -> None:
        self._signs += 1
        self._notes.put(_SIGN + self._request.id, str(self._signs).encode())

    def _poll(self, progress: Progress) -> None:
        text = self._notes.get(_RESPONSE + self._request.id)
        if text is None:
            return
        try:
            self._response = msgspec.json.decode(text, type=Response)
        except msgspec.MsgspecError as error:
            raise UsageError(
                f"the service's response can't be parsed, since it is of another version ({error}): restart the service"
            ) from None
        if self._response.pages:
            progress(self._response.done, self._response.pages)


# --- the service's side -----------------------------------------------------------------------------------------------


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
    return key.startswith(_EARLIER) or (kind + separator in (_SIGN, _RESPONSE) and id not in ids)


class Requests:
    """The requests that the service knows of. All methods are for one thread."""

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
        """Yield the requests of commands that still wait, the oldest first.

        Raises:
            IndexUnavailableError: the index doesn't answer.
        """
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
            self._log_once(known, known.request)
            yield known.request

    def is_waited_for(self, id: str) -> bool:
        """Return whether the command still waits, as far as is known."""
        return id in self._known

    def consents(self, id: str) -> bool:
        """Return whether the command that consented is waiting at this moment: wait for its next sign.

        Raises:
            IndexUnavailableError: the index doesn't answer.
        """
        known = self._known.get(id)
        if known is None:
            return False
        now = self._clock()
        known.sign, known.signed_at, known.checked_at, known.is_alive = self._notes.get(_SIGN + id), now, now, False
        while id in self._known and not known.is_alive:
            current().wait(POLL_SECONDS)
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
                self._notes.put(_RESPONSE + id, msgspec.json.encode(response))
            except CachesyncError as error:
                errors.append(error)
            else:
                del self._to_respond[id]
        if errors:
            raise errors[0]

    def note_promotion(self, id: str | None, generation: str) -> None:
        """Note that a generation is about to go live for a request, if ``id`` is a known one.

        Raises:
            IndexUnavailableError: the index doesn't answer. Nothing may be promoted then.
        """
        if id in self._known:
            self._notes.put(_RESPONSE + id, msgspec.json.encode(Response(generation=generation)))

    def progress(self, id: str | None, done: int, pages: int) -> None:
        """Write the progress for the command that waits, at most once a second. Failures are ignored."""
        known = self._known.get(id or "")
        if known and known.request and pages and self._clock() - self._progress_at >= PROGRESS_SECONDS:
            self._progress_at = self._clock()
            response = Response(done=done, pages=pages, generation=known.request.generation)
            with suppress(IndexUnavailableError), within(PROGRESS_SECONDS):
                self._notes.put(_RESPONSE + known.request.id, msgspec.json.encode(response))

    def _find(self) -> None:
        """Read new requests, and remove leftover notes."""
        keys = self._notes.list_keys()
        ids = {key.removeprefix(_REQUEST) for key in keys if key.startswith(_REQUEST)}
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
        text = self._notes.get(_REQUEST + id)
        if text is None:  # withdrawn since
            return None
        sign, response = self._notes.get(_SIGN + id), self._notes.get(_RESPONSE + id)
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
        sign, now = self._notes.get(_SIGN + id), self._clock()
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
        for key in (_REQUEST, _SIGN, _RESPONSE):
            self._notes.remove(key + id)

    @staticmethod
    def _log_once(known: _Known, request: CommandRequest) -> None:
        if not known.is_logged:
            known.is_logged = True
            _log.info("carrying out a command's request", action="request.received", command=request.command)

"""Commands ask the running service for what only it may do, so that an operator never has to stop it.

A command leaves a *request* in the index's notes, signals the service, and raises a number beside the request every
second: the sign that somebody still waits. The service carries out a request only while it sees that number change, and
leaves a *response*. So nothing is ever done for a command that has ended, whatever it had consented to, and whoever
finds a request after a reboot knows nothing of it but that nobody asks any more.

What makes a generation live is done once, however often it is begun: before the swap the response names the generation
that is about to go live, and whoever comes to the request again (the next service, or the command itself) looks first
whether it is.
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
"""Seconds that a writing command waits for another writer to end, or for the index to be reached again."""

SILENT_SECONDS: Final = 10.0
"""A command that has given no sign for so long has ended."""

_SIGN_SECONDS: Final = 1.0
_POLL_SECONDS: Final = 0.2
_SERVICE_SILENT_SECONDS: Final = 15.0
"""A service that has given no sign for so long has ended; its lease lasts less."""

_IDLE_SECONDS: Final = 1.5
_BUSY_SECONDS: Final = 0.5
"""How often the service looks for new requests, and at those that it knows."""

_TURN_SECONDS: Final = 15.0
"""After how long a command says that the service hasn't come to its request yet."""

_TELL_SECONDS: Final = 1.0
_CLOSE_SECONDS: Final = 2.0

_REQUEST: Final = "request-"
_SIGN: Final = "sign-"
_RESPONSE: Final = "response-"
_EARLIER: Final = ("errand-", "reply-")
"""What versions before 0.1.0 left. Nobody waits for it."""


class CommandRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a command asks for."""

    command: Literal["sync", "reindex", "rollback"]
    id: str = msgspec.field(default_factory=lambda: uuid.uuid4().hex)
    asked_at: str = msgspec.field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="microseconds"))
    consent: bool = False
    """Any loss is meant, as long as the command waits."""
    suspects: list[str] = []
    """Pages whose documents are to be looked at whatever the ledger says."""
    generation: str | None = None
    """What an earlier try was about to make live. If that is live, the request has been carried out."""
    root: "RootNames | None" = None
    """The folder whose pages are meant; None: no page is read, or an earlier version asks."""


class RootNames(msgspec.Struct, frozen=True):
    """What a root is called, as configured and without symbolic links. Who asks may see it from another machine."""

    configured: str
    real: str

    @classmethod
    def of(cls, root: Path) -> "RootNames":
        """Name a root."""
        return cls(str(root.absolute()), os.path.realpath(root))

    def require_same(self, asked: "RootNames | None") -> None:
        """Make sure that whoever asks means this root.

        Raises:
            UsageError: it is called otherwise.
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
    """How far a request is, and at last what came of it."""

    finished: bool = False
    done: int = 0
    pages: int = 0
    generation: str | None = None
    """What is about to go live, or has by now."""
    report: Report | None = None
    failure: Failure | None = None

    @classmethod
    def done_with(cls, report: Report) -> "Response":
        """Respond with what was done; of long lists only the beginning, so that it fits into a note."""
        return cls(finished=True, report=report.shortened())

    @classmethod
    def live(cls, generation: str) -> "Response":
        """Respond that a rollback has gone back to this generation."""
        return cls(finished=True, generation=generation)

    @classmethod
    def failed(cls, error: CachesyncError) -> "Response":
        """Respond that it couldn't be done."""
        kind = next(kind for kind, each in _KINDS.items() if isinstance(error, each))
        return cls(finished=True, failure=Failure(kind, spelled(str(error))))

    def raise_failure(self) -> None:
        """Raise what the service couldn't do, as if it had been tried here."""
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
"""What failures are called in notes. Of several that fit an error the first counts."""


# --- the command's side -----------------------------------------------------------------------------------------------


def carry_out(
    index: Index,
    request: CommandRequest,
    progress: Progress,
    here: Callable[[Writer, str | None], Response],
    root: Path | None,
) -> Response:
    """Let the running service carry out a request, or do it here where there is none: the outcome is the same.

    Args:
        index: to be written.
        request: what is asked for.
        progress: is told how far it is.
        here: does it as the one writer. It is told which generation an earlier try was about to make live.
        root: must be there before anything is done here; None: it isn't needed.

    Raises:
        CachesyncError: it couldn't be done.
    """
    index.require_rights()
    response = ask(index, request, progress)
    if response.finished:
        return response
    if root:
        require_root(root)  # before the index leaves anything on disk
    with ExitStack() as held:
        try:
            writer = held.enter_context(index.writer(WRITER_WAIT))
        except IndexUnavailableError:  # perhaps a service was started meanwhile
            again = ask(index, msgspec.structs.replace(request, generation=response.generation), progress)
            if again.finished:
                return again
            raise
        return here(writer, response.generation)


def ask(index: Index, request: CommandRequest, progress: Progress) -> Response:
    """Ask the running service, and wait for its response. It isn't finished where no service is there to the end.

    Raises:
        CachesyncError: what the service couldn't do.
        IndexUnavailableError: the index can't be reached.
    """
    status = index.status()
    if not status.service:
        return Response(generation=request.generation)
    asking = _Asking(index, request)
    try:
        asking.begin()
        _log.info("handed to the running service", command=request.command, holder=status.holder)
        response = asking.wait(progress, status.sign)
    finally:
        asking.end()
    response.raise_failure()
    return response


def _no_progress(_done: int, _pages: int) -> None:
    """Nobody is told."""


class _Asking:
    """One request, from its side that waits."""

    def __init__(self, index: Index, request: CommandRequest) -> None:
        self._index = index
        self._notes = index.notes()
        self._request = request
        self._signs = 0
        self._response = self._none = Response(generation=request.generation)

    def begin(self) -> None:
        """Leave the request, and signal that it is there."""
        request = msgspec.structs.replace(self._request, generation=self._response.generation)
        self._notes.put(_REQUEST + request.id, msgspec.json.encode(request))
        self._sign()
        self._index.signal()

    def wait(self, progress: Progress, sign: str | None) -> Response:
        """Wait for what comes of it, or until the service is gone, whose last sign was this."""
        now = started = time.monotonic()
        alive = answered = signed = now
        is_told = False
        while True:
            try:
                self._look(progress)
                if self._response.finished:
                    return self._response
                if now - signed >= _SIGN_SECONDS:
                    signed = now
                    self._go_on()
                    status = self._index.status()
                    if status.sign is None or status.sign != sign:
                        sign, alive = status.sign, now
                    if not status.service or now - alive > _SERVICE_SILENT_SECONDS:
                        self._look(progress)  # its last word may have come since
                        return self._response
                answered = now
                if not is_told and now - started > _TURN_SECONDS and self._response == self._none:
                    _log.info("the service is busy with something else; waiting for it", command=self._request.command)
                    is_told = True
            except IndexUnavailableError:
                if now - answered > WRITER_WAIT:
                    raise
            current().wait(_POLL_SECONDS)
            now = time.monotonic()

    def _go_on(self) -> None:
        """Show that somebody still waits. If this process was frozen, and its request dropped, it is left anew."""
        if self._notes.get(_REQUEST + self._request.id) is None:
            self._look(_no_progress)
            if not self._response.finished:
                self.begin()
        else:
            self._sign()

    def end(self) -> None:
        """Leave nothing behind. What can't be removed now the service drops, since nobody gives a sign any more."""
        for key in (_REQUEST, _SIGN, _RESPONSE):
            with suppress(CachesyncError), shielded(_CLOSE_SECONDS):
                self._notes.remove(key + self._request.id)

    def _sign(self) -> None:
        self._signs += 1
        self._notes.put(_SIGN + self._request.id, str(self._signs).encode())

    def _look(self, progress: Progress) -> None:
        text = self._notes.get(_RESPONSE + self._request.id)
        if text is None:
            return
        try:
            self._response = msgspec.json.decode(text, type=Response)
        except msgspec.MsgspecError as error:
            raise UsageError(
                f"the service is of another version, and its response can't be read ({error}): restart the service"
            ) from None
        if self._response.pages:
            progress(self._response.done, self._response.pages)


# --- the service's side -----------------------------------------------------------------------------------------------


class _Known(msgspec.Struct):
    """A request that the service has found."""

    request: CommandRequest | None
    """None: it can't be read."""
    sign: bytes | None
    signed_at: float
    """When the sign was last seen to be another one."""
    looked_at: float
    """When the sign was last looked at."""
    lives: bool = False
    """It was just seen to change, so somebody waits."""
    is_told: bool = False
    is_settled: bool = False

    @property
    def asked_at(self) -> str:
        """When it was asked for, by the clock of who asked."""
        return self.request.asked_at if self.request else ""


def _is_left(key: str, ids: Container[str]) -> bool:
    """Tell whether a note is of a request that isn't there, or of an earlier version."""
    kind, separator, id = key.partition("-")
    return key.startswith(_EARLIER) or (kind + separator in (_SIGN, _RESPONSE) and id not in ids)


class Requests:
    """The requests that the service has to deal with. All methods are for one thread."""

    def __init__(self, writer: Writer, notes: Notes, clock: Callable[[], float] = time.monotonic) -> None:
        self.due = 0.0
        """When to :meth:`look` again, by the clock."""
        self._writer = writer
        self._notes = notes
        self._clock = clock
        self._signals: int | None = None
        self._known: dict[str, _Known] = {}
        self._to_respond: dict[str, Response] = {}
        self._told_at = 0.0

    def look(self) -> Iterator[CommandRequest]:
        """Yield what is asked for by commands that still wait, those that came first first.

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
            self._observe(id, known)  # just before it is carried out: the one before may have taken minutes
            if id not in self._known or known.is_settled or known.request is None:
                continue
            if not known.lives:
                break  # none overtakes another: a rollback that came after a reindex is about that one
            self._tell(known, known.request)
            yield known.request

    def is_waited_for(self, id: str) -> bool:
        """Tell whether whoever asked still waits, as far as is known."""
        return id in self._known

    def consents(self, id: str) -> bool:
        """Make sure that whoever consented is there at this moment: wait until the next sign is seen.

        Raises:
            IndexUnavailableError: the index doesn't answer.
        """
        known = self._known.get(id)
        if known is None:
            return False
        now = self._clock()
        known.sign, known.signed_at, known.looked_at, known.lives = self._notes.get(_SIGN + id), now, now, False
        while id in self._known and not known.lives:
            current().wait(_POLL_SECONDS)
            self._observe(id, known)
        return known.lives

    def settle(self, id: str | None, response: Response) -> None:
        """Remember what has come of a request, if it was one, until the response is written."""
        if id in self._known and not self._known[id].is_settled:
            self._known[id].is_settled = True
            self._to_respond[id] = response

    def respond(self) -> None:
        """Write the responses that are still to be written.

        Raises:
            CachesyncError: one of them can't be written. It is tried again the next time.
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

    def goes_live(self, id: str | None, generation: str) -> None:
        """Note that a generation is about to go live for a request, if it was one.

        Raises:
            IndexUnavailableError: the index doesn't answer. The swap must wait then.
        """
        if id in self._known:
            self._notes.put(_RESPONSE + id, msgspec.json.encode(Response(generation=generation)))

    def progress(self, id: str | None, done: int, pages: int) -> None:
        """Tell who asked how far it is, every now and then. Where that fails, so be it."""
        known = self._known.get(id or "")
        if known and known.request and pages and self._clock() - self._told_at >= _TELL_SECONDS:
            self._told_at = self._clock()
            response = Response(done=done, pages=pages, generation=known.request.generation)
            with suppress(IndexUnavailableError), within(_TELL_SECONDS):
                self._notes.put(_RESPONSE + known.request.id, msgspec.json.encode(response))

    def _find(self) -> None:
        """Take in new requests, and remove what nobody will ever come back for."""
        keys = self._notes.list_keys()
        ids = {key.removeprefix(_REQUEST) for key in keys if key.startswith(_REQUEST)}
        found = {id: known for id in ids - self._known.keys() if (known := self._read(id))}
        for id, known in sorted(found.items(), key=lambda each: each[1].asked_at):
            self._known[id] = known
            if known.request is None:
                self.settle(id, Response.failed(UsageError("the service is of another version: restart it")))
        left = [key for key in keys if _is_left(key, ids | self._known.keys())]
        for key in left:
            self._notes.remove(key)
        if left:
            _log.info("removed what earlier commands have left", notes=len(left))

    def _read(self, id: str) -> _Known | None:
        text = self._notes.get(_REQUEST + id)
        if text is None:  # withdrawn by now
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
            if request and before.generation:  # a service before this one has begun it
                known.request = msgspec.structs.replace(request, generation=before.generation)
        return known

    def _observe(self, id: str, known: _Known) -> None:
        """Look whether whoever asked still waits; what nobody waits for any more is dropped."""
        sign, now = self._notes.get(_SIGN + id), self._clock()
        was_away, known.looked_at = now - known.looked_at > SILENT_SECONDS, now
        if sign is None and known.sign:  # withdrawn
            self._drop(id)
        elif was_away:  # whatever there is to see now may be as old as that: judge by what is seen from now on
            known.sign, known.signed_at, known.lives = sign, now, False
        elif sign != known.sign:
            known.sign, known.signed_at, known.lives = sign, now, True
        elif now - known.signed_at > SILENT_SECONDS:
            self._drop(id)
            if not known.is_settled and known.request:
                _log.warning(
                    "dropped the request of a command that has ended",
                    command=known.request.command,
                    asked_at=known.request.asked_at,
                )

    def _drop(self, id: str) -> None:
        del self._known[id]
        self._to_respond.pop(id, None)
        for key in (_REQUEST, _SIGN, _RESPONSE):
            self._notes.remove(key + id)

    @staticmethod
    def _tell(known: _Known, request: CommandRequest) -> None:
        if not known.is_told:
            known.is_told = True
            _log.info("asked for by a command", command=request.command)

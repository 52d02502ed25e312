"""Commands beside a running service are handed to it, so that an operator never has to stop it.

The command leaves an *errand* in the index's notes and knocks; the service carries it out and leaves a *reply*.
"""

import time
import uuid
from typing import Final, Literal

import msgspec

from cachesync import errors
from cachesync.errors import CachesyncError, IndexUnavailableError
from cachesync.index.base import Index
from cachesync.log import get_logger, spelled
from cachesync.sync.passes import Progress
from cachesync.sync.report import Report

_log = get_logger()

_POLL_SECONDS: Final = 0.2
_LOOK_SECONDS: Final = 1.0
_SILENT_SECONDS: Final = 15.0
"""A service that hasn't shown a sign of life for so long is dead; its lease lasts less."""


class Errand(msgspec.Struct, frozen=True):
    """What a command wants to be done."""

    command: Literal["sync", "reindex", "rollback"]
    consent: bool = False
    """Any loss is meant."""
    suspects: list[str] = []
    """Pages whose documents are to be looked at whatever the ledger says."""


class Reply(msgspec.Struct, frozen=True):
    """How far an errand is, and at last what came of it."""

    done: int = 0
    pages: int = 0
    report: Report | None = None
    generation: str | None = None
    """What a rollback has gone back to."""
    failure: tuple[str, str] | None = None
    """The name of an error's class, and its text."""

    @property
    def is_last(self) -> bool:
        """Nothing follows."""
        return bool(self.report or self.generation or self.failure)

    @classmethod
    def failed(cls, error: CachesyncError) -> "Reply":
        """Reply that it couldn't be done."""
        return cls(failure=(type(error).__name__, spelled(str(error))))


class Held(msgspec.Struct, frozen=True):
    """What the guard of the running service holds back; it is in the note :data:`HELD`, for ``status`` to tell."""

    pages: int = 0
    specs: int = 0
    """How many would be lost."""
    lost: int = 0
    """How many were lost already when it stopped more from being lost."""

    def encoded(self) -> bytes:
        """Return what is written down of it."""
        return msgspec.json.encode(self)

    @classmethod
    def decoded(cls, text: bytes | None) -> "Held":
        """Read that again; what can't be read says that nothing is held."""
        try:
            return msgspec.json.decode(text, type=cls) if text else cls()
        except msgspec.MsgspecError:
            return cls()


HELD: Final = "held"


def errand_key(id: str) -> str:
    """Return the key of the note with an errand."""
    return f"errand-{id}"


def reply_key(id: str) -> str:
    """Return the key of the note with its reply."""
    return f"reply-{id}"


def hand_over(index: Index, errand: Errand, progress: Progress) -> Reply | None:
    """Let the running service carry out an errand, and wait for it; None: there is no service, or it died over it.

    Raises:
        CachesyncError: what the service couldn't do, as if it had been tried here.
        IndexUnavailableError: the index can't be reached.
    """
    status = index.status()
    if not status.service:
        return None
    id = uuid.uuid4().hex
    notes = index.notes()
    notes.put(errand_key(id), msgspec.json.encode(errand))
    try:
        index.knock(id)
        _log.info("handed to the running service", command=errand.command, holder=status.holder)
        reply = _wait(index, id, status.sign, progress)
    finally:
        index.unknock(id)
        notes.remove(errand_key(id))
        notes.remove(reply_key(id))
    if reply and reply.failure:
        kind, text = reply.failure
        raise getattr(errors, kind, IndexUnavailableError)(text)
    return reply


def _wait(index: Index, id: str, sign: str | None, progress: Progress) -> Reply | None:
    notes = index.notes()
    alive = looked = time.monotonic()
    while True:
        text = notes.get(reply_key(id))
        reply = msgspec.json.decode(text, type=Reply) if text else Reply()
        if reply.is_last:
            return reply
        if reply.pages:
            progress(reply.done, reply.pages)
        now = time.monotonic()
        if now - looked >= _LOOK_SECONDS:
            looked = now
            status = index.status()
            if not status.service:
                return None
            if status.sign is None or status.sign != sign:
                sign, alive = status.sign, now
            elif now - alive > _SILENT_SECONDS:
                return None
        time.sleep(_POLL_SECONDS)

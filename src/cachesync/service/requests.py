"""Requests, with which commands ask the running service for work that only the writer may do.

Thanks to requests, an operator never has to stop the service. A command writes a *request* to the index's notes and
signals the service. Every second, the command increments a number beside the request: the heartbeat that shows that the
command is still waiting. The service carries out a request only while it sees the heartbeat change, and then writes a
*response*. Nothing is therefore ever done for a command that has exited, whatever the command had consented to, and a
request that is found after a reboot is recognized as abandoned.

A generation is promoted only once, however often a request is started. Before the promotion, the response names the
generation that is about to go live. The process that resumes the request (the next service, or the command itself)
first checks whether that generation is already live.
"""

import os
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import msgspec

from cachesync.errors import (
    CachesyncError,
    ConsentError,
    DefectError,
    IndexUnavailableError,
    IndexUnusableError,
    RefusedError,
    UsageError,
)
from cachesync.log import spelled
from cachesync.sync.report import Report

REQUEST: Final = "request-"
"""The prefix of the key of a request's note; the request's ID follows it. The next two prefixes work the same way."""

SIGN: Final = "sign-"
RESPONSE: Final = "response-"


class CommandRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a command asks the service to do."""

    command: Literal["sync", "reindex", "rollback"]
    id: str = msgspec.field(default_factory=lambda: uuid.uuid4().hex)
    asked_at: str = msgspec.field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="microseconds"))
    consent: bool = False
    """Whether the command consents to any loss, for as long as the command waits."""
    suspects: list[str] = []
    """The pages whose documents are checked even if the pages agree with the ledger."""
    generation: str | None = None
    """The generation that an earlier attempt was about to promote. If it is live, the request is already done."""
    root: "RootNames | None" = None
    """The command's ``pages.root``; None if the command doesn't need pages or belongs to an earlier version."""


class RootNames(msgspec.Struct, frozen=True):
    """A root's path, as configured and with links resolved. A command on another host may share only one of the two."""

    configured: str
    real: str

    @classmethod
    def of(cls, root: Path) -> "RootNames":
        """Return the names of a root."""
        return cls(str(root.absolute()), os.path.realpath(root))

    def require_same(self, asked: "RootNames | None") -> None:
        """Check that a command's root is this one.

        Raises:
            UsageError: neither of the two names matches.
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
        """Return the response to a request that was carried out. Long lists in it are shortened to fit into a note."""
        return cls(finished=True, report=report.shortened())

    @classmethod
    def live(cls, generation: str) -> "Response":
        """Return the response to a rollback that made ``generation`` live."""
        return cls(finished=True, generation=generation)

    @classmethod
    def failed(cls, error: CachesyncError) -> "Response":
        """Return the response to a request that failed."""
        kind = next(kind for kind, each in _KINDS.items() if isinstance(error, each))
        return cls(finished=True, failure=Failure(kind, spelled(str(error))))

    def raise_failure(self) -> None:
        """Raise the service's error, if there is one, as if it had occurred in this process."""
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
"""The classes of errors by their names in notes. If an error is of several classes, the first of them counts."""

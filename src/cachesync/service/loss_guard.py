"""Limits how much all the service's passes lose in total. Withheld deletes stay withheld until the pages return."""

import time
from collections.abc import Callable
from typing import Final

import msgspec

from cachesync.index.base import Notes
from cachesync.log import get_logger
from cachesync.service.state import ServiceState
from cachesync.sync.guard import Consent, Guard, no_consent, question
from cachesync.sync.report import Report

_log = get_logger()

WITHHELD: Final = "held"
"""The key of the note with :class:`Withheld`."""

_NO_LOSS: Final = Guard(0)

WINDOW_SECONDS: Final = 3600.0
"""How long losses add up if pages never stop changing."""


class Withheld(msgspec.Struct, frozen=True):
    """The deletes that the running service's guard withholds, noted for ``status`` and for the next service."""

    pages: int = 0
    specs: int = 0
    """How many specs would be lost."""
    lost: int = 0
    """How many specs had been lost before the guard refused more."""

    def encoded(self) -> bytes:
        """Return the text of the note."""
        return msgspec.json.encode(self)

    @classmethod
    def decoded(cls, text: bytes | None) -> "Withheld":
        """Parse the note. A note that is missing or can't be parsed means that nothing is withheld."""
        try:
            return msgspec.json.decode(text, type=cls) if text else cls()
        except msgspec.MsgspecError:
            return cls()


class LossGuard:
    """Provides the guard for each pass.

    Losses add up until no change is waiting, as if a single pass had caused them. While deletes are withheld, nothing
    resets the losses, not even a restart: partial passes may lose no more, and full passes continue from those losses.
    :meth:`load` and :meth:`withhold` raise IndexUnavailableError if the index doesn't answer.
    """

    def __init__(self, make: Callable[[Consent], Guard], notes: Notes, state: ServiceState) -> None:
        """``make`` returns a guard that calls the given function to ask for consent."""
        self._make = make
        self._notes = notes
        self._state = state
        self._changed = self._is_logged = False
        self._noted = Withheld()
        self._is_noted = True
        """Whether the note is known to be in the index."""
        self.reset()

    def load(self) -> None:
        """Continue with the losses of the previous service if it was withholding deletes when it stopped."""
        self._noted = Withheld.decoded(self._notes.get(WITHHELD))
        if self._is_withholding:
            self._guard.lost = self._noted.lost

    def for_full_pass(self, consent: Consent | None = None) -> Guard:
        """Return the guard for a full pass; ``consent`` returns whether a person consents to any loss."""
        current = self._current()
        if consent is None:
            return current
        guard = self._make(consent)
        guard.lost = current.lost
        return guard

    def for_partial_pass(self) -> Guard:
        """Return the guard for a partial pass."""
        return _NO_LOSS if self._is_withholding else self._current()

    def record_pass(self, report: Report, guard: Guard) -> None:
        """Add a pass's losses to the total. Losses that a person consented to don't count against later passes."""
        if guard.consented:
            self.reset()
        else:
            self._guard.record_pass(report)

    def all_scanned(self) -> None:
        """Reset the losses now that no known change is waiting, unless deletes are withheld."""
        if not self._is_withholding:
            self.reset()

    def reset(self) -> None:
        """Start counting losses from zero."""
        self._guard = self._make(no_consent)
        self._since = time.monotonic()

    def invalidate_note(self) -> None:
        """Assume that the note may be lost, because something has happened to the index."""
        self._is_noted = False

    @property
    def _is_withholding(self) -> bool:
        return self._noted.pages > 0

    @property
    def should_recheck(self) -> bool:
        """Whether the withheld deletes have changed since the last full pass, so that a new one may withhold fewer."""
        return self._is_withholding and self._changed

    def withhold(self, withheld: dict[str, int], *, is_full_pass: bool) -> None:
        """Record the withheld pages, and how many specs each would lose. Log when withholding begins and ends.

        ``is_full_pass`` says whether a full pass found them.
        """
        self._changed = not is_full_pass and (self._changed or withheld != self._state.withheld)
        self._state.withheld = withheld
        note = Withheld(len(withheld), self._state.lost, self._guard.lost) if withheld else Withheld()
        if note != self._noted or not self._is_noted:
            self._notes.put(WITHHELD, note.encoded())
        before, self._noted, self._is_noted = self._noted, note, True
        if withheld and not self._is_logged:
            _log.warning(
                "stopped for safety: too many specs would be lost, so these pages stay as they are in the index, and "
                "those that follow",
                action="guard.withheld",
                reason=question(),
                pages=note.pages,
                specs=note.specs,
                first=min(withheld),
            )
        elif before.pages and not withheld:
            _log.info("nothing is withheld any more", action="guard.released", pages=before.pages)
        self._is_logged = self._is_withholding

    def _current(self) -> Guard:
        if not self._is_withholding and time.monotonic() - self._since > WINDOW_SECONDS:
            self.reset()
        return self._guard

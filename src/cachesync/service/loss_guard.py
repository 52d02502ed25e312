"""How much the service may lose, all its passes together: what is held back stays so until the pages are back."""

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

_WINDOW_SECONDS: Final = 3600.0
"""For how long losses add up where pages change without end."""


class Withheld(msgspec.Struct, frozen=True):
    """What the guard of the running service holds back, for ``status`` to tell."""

    pages: int = 0
    specs: int = 0
    """How many would be lost."""
    lost: int = 0
    """How many were lost already when it stopped more from being lost."""

    def encoded(self) -> bytes:
        """Return what is written down of it."""
        return msgspec.json.encode(self)

    @classmethod
    def decoded(cls, text: bytes | None) -> "Withheld":
        """Read that again; what can't be read says that nothing is held."""
        try:
            return msgspec.json.decode(text, type=cls) if text else cls()
        except msgspec.MsgspecError:
            return cls()


class LossGuard:
    """Gives each pass its guard.

    What passes lose from one quiet moment to the next counts as if one had lost it. While something is held back there
    is no quiet moment: partial passes lose nothing more, and looks at everything go on from what was lost already, also
    after a restart.
    """

    def __init__(self, make: Callable[[Consent], Guard], notes: Notes, state: ServiceState) -> None:
        """``make`` makes a guard that asks for consent so."""
        self._make = make
        self._notes = notes
        self._state = state
        self._is_withholding = self._changed = self._is_logged = False
        self._noted = Withheld()
        self._is_noted = True
        """The index has the note, as far as anybody knows."""
        self.reset()

    def load(self) -> None:
        """Go on holding back what was held back when the service ended.

        Raises:
            IndexUnavailableError: the index doesn't answer.
        """
        self._noted = Withheld.decoded(self._notes.get(WITHHELD))
        self._is_withholding = self._noted.pages > 0
        if self._is_withholding:
            self._guard.lost = self._noted.lost

    def for_full_pass(self, consent: Consent | None = None) -> Guard:
        """Return the guard for what looks at everything, for whoever can give consent to any loss."""
        current = self._current()
        if consent is None:
            return current
        guard = self._make(consent)
        guard.lost = current.lost
        return guard

    def for_partial_pass(self) -> Guard:
        """Return the guard for a partial pass."""
        return _NO_LOSS if self._is_withholding else self._current()

    def passed(self, report: Report, guard: Guard) -> None:
        """A pass has done this with a guard. What somebody has consented to doesn't count for what follows."""
        if guard.consented:
            self.reset()
        else:
            self._guard.passed(report)

    def all_scanned(self) -> None:
        """All changes that are known of have been looked at."""
        if not self._is_withholding:
            self.reset()

    def reset(self) -> None:
        """Let what was lost until now count no more."""
        self._guard = self._make(no_consent)
        self._since = time.monotonic()

    def invalidate_note(self) -> None:
        """Something has happened to the index, perhaps also to what is noted in it."""
        self._is_noted = False

    @property
    def should_recheck(self) -> bool:
        """What is held back has changed since everything was looked at: perhaps the rest needn't be any more."""
        return self._is_withholding and self._changed

    def withhold(self, withheld: dict[str, int], *, is_full_pass: bool) -> None:
        """Remember what is held back: pages, and how many specs each would lose. Tell it when that begins and ends.

        ``everything``: all pages were looked at.

        Raises:
            IndexUnavailableError: the index doesn't answer.
        """
        self._changed = not is_full_pass and (self._changed or withheld != self._state.withheld)
        self._state.withheld = withheld
        note = Withheld(len(withheld), self._state.lost, self._guard.lost) if withheld else Withheld()
        if note != self._noted or not self._is_noted:
            self._notes.put(WITHHELD, note.encoded())
        before, self._noted, self._is_noted = self._noted, note, True
        self._is_withholding = bool(withheld)
        if withheld and not self._is_logged:
            _log.warning(
                "stopped for safety: too many specs would be lost, so these pages stay as they are in the index, and "
                "those that follow",
                reason=question(),
                pages=note.pages,
                specs=note.specs,
                first=min(withheld),
            )
        elif before.pages and not withheld:
            _log.info("nothing is held back any more", pages=before.pages)
        self._is_logged = self._is_withholding

    def _current(self) -> Guard:
        if not self._is_withholding and time.monotonic() - self._since > _WINDOW_SECONDS:
            self.reset()
        return self._guard

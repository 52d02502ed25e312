"""How much the service may lose, over all its passes: what is held back stays so until the pages are back."""

from collections.abc import Callable
from typing import Final

from cachesync.index.base import Notes
from cachesync.log import get_logger
from cachesync.service.handover import HELD, Held
from cachesync.service.state import State
from cachesync.sync.guard import Guard
from cachesync.sync.report import Report

_log = get_logger()

_NO_LOSS: Final = Guard(0)


class Guarding:
    """Gives each pass its guard.

    To the guard the passes from one quiet moment to the next are as one. While something is held back there is no
    quiet moment: partial passes lose nothing more, and looks at everything go on from what was lost already, also
    after a restart.
    """

    def __init__(self, make: Callable[[bool], Guard], notes: Notes, state: State) -> None:
        """``make`` makes a guard; True: with consent to any loss."""
        self._make = make
        self._notes = notes
        self._state = state
        self._guard = make(False)
        self._holding = self._changed = False

    def remember(self) -> None:
        """Go on holding back what was held back when the service ended.

        Raises:
            IndexUnavailableError: the index doesn't answer.
        """
        held = Held.decoded(self._notes.get(HELD))
        self._holding = held.pages > 0
        if self._holding:
            self._guard.passed(held.lost, held.whole)

    def for_everything(self, *, consent: bool = False) -> Guard:
        """Return the guard for what looks at everything."""
        return self._guard if self._holding and not consent else self._make(consent)

    def for_a_part(self) -> Guard:
        """Return the guard for a partial pass, which is to be told of by :meth:`passed`."""
        return _NO_LOSS if self._holding else self._guard

    def passed(self, report: Report) -> None:
        """A partial pass has done this."""
        if not report.held:
            self._guard.passed(report.lost, report.before, report.specs.added)

    def quiet(self, specs: int) -> None:
        """Nothing waits to be looked at, and the index has so many specs: what is lost from now on counts anew."""
        if not self._holding:
            self._guard = self._make(False)
            self._guard.passed(0, specs)

    @property
    def may_let_go(self) -> bool:
        """Something else is held back than before, so perhaps the rest needn't be: a look at everything tells."""
        return self._holding and self._changed

    def hold(self, held: dict[str, int]) -> None:
        """Remember what is held back, pages and how many specs each would lose, and tell it when that changes.

        Raises:
            IndexUnavailableError: the index doesn't answer.
        """
        before = self._state.held
        self._state.held = held
        self._changed = held != before
        if self._changed or (self._holding and not held):
            note = Held(len(held), self._state.lost, self._guard.lost, self._guard.whole or self._state.specs)
            self._notes.put(HELD, note.encoded())
        self._holding = bool(held)
        if held and not before:
            _log.warning(
                "stopped for safety: too many specs would be lost, so these pages stay as they are in the index, and "
                "those that follow. "
                "Is pages.root mounted and complete? If this is meant: cachesync sync --allow-mass-delete",
                pages=len(held),
                specs=self._state.lost,
                first=min(held),
            )
        elif before and not held:
            _log.info("nothing is held back any more", pages=len(before))

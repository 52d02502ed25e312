"""The life cycle of generations, for all engines: build, promote, prune, roll back.

An engine provides the steps (:class:`GenerationStore`), and this module puts them in an order that makes a crash
harmless: whatever a writer leaves behind when it dies between two steps, readers find one whole generation, and the
next writer removes the rest.

::

    reserve → create → (filled) → settle → remove what rollbacks left → point → remove what isn't kept
                                                                         pin → point to the one before
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from cachesync.context import StoppedError, shielded, within
from cachesync.errors import CachesyncError, IndexUnavailableError, IndexUnusableError, OvertakenError, UsageError
from cachesync.index.catalog import Catalog, GenerationEntry
from cachesync.index.generation import Generation, Reader
from cachesync.log import Once, get_logger

_log = get_logger()

_CLEANUP_PATIENCE: Final = 5.0
"""Seconds that removing generations may take. If the removal fails, the next writer repeats it."""


# Many methods: one for each step; a method of several steps would hide some points at which a crash can happen.
class GenerationStore(Protocol):
    """The steps of the life cycle, as implemented by one engine.

    Each step may raise IndexUnavailableError, and OvertakenError if another process has become the writer.
    """

    name: str
    """The name of the index."""

    def tidy(self) -> None:
        """Remove what interrupted steps have left behind."""

    def claim(self) -> None:
        """Become the process that may change the index, unless we already are."""

    def confirm(self) -> None:
        """Check that no other process has become the writer."""

    def catalog(self) -> Catalog:
        """List the generations."""

    def open(self, entry: GenerationEntry) -> Generation:
        """Open a generation for writing. Raise an IndexUnusableError if it is corrupt or has another layout."""

    def open_ledger(self, entry: GenerationEntry) -> Reader | None:
        """Open a generation for reading its ledger. Return None if the ledger can't be read."""

    def require_room(self, live: str) -> None:
        """Raise an IndexUnavailableError if the disks have no room for another generation beside the live one."""

    def reserve(self, highest: int) -> str:
        """Return a name for a new generation, with a number above ``highest`` that no live generation has ever had."""

    def create(self, name: str) -> Generation:
        """Create an empty generation, marked as being built."""

    def settle(self, name: str) -> None:
        """Make a filled generation durable, with its replicas if possible."""

    def point(self, name: str) -> None:
        """Point readers to a generation in one step. Raise an IndexUnusableError if it or the previous one is gone."""

    def points_to(self, name: str | None) -> bool:
        """Whether readers are still pointed to this generation. The check is cheap."""

    def remove(self, name: str) -> None:
        """Remove a generation."""

    def pins(self, name: str) -> bool:
        """Whether the index is pinned while this generation is live."""

    def pin(self, names: Sequence[str]) -> None:
        """Pin the index while one of these generations is live."""

    def signals(self) -> int:
        """Return a number that changes when a client asks the writer to check for requests."""


# Many methods: one for each step of a generation's life, and their helpers to open, point to and remove generations.
class Writer:
    """The one writer of an index.

    One thread may build a generation while another writes to the live one. Only one thread at a time may promote,
    roll back or discard a generation.
    """

    def __init__(self, store: GenerationStore, keep: int) -> None:
        """Keep ``keep`` generations that a rollback can go back to."""
        self._store = store
        self._keep = keep
        self._known: str | None = None
        """The generation that was live when this writer last opened or changed the live generation."""
        self._building: str | None = None
        """The generation being built, which must not be removed although it was never live."""
        self._logged = Once()
        """Remembers which reason was logged for rebuilding the index."""

    def live(self) -> Generation | None:
        """Open the live generation. Return None if there isn't one yet, or if it is corrupt or has another layout.

        Leftovers of earlier writers are removed, but not a generation that this writer is building.
        """
        self._store.tidy()
        catalog = self._cleaned_up()
        live, problem = catalog.live, catalog.broken
        self._known = None
        if live:
            try:
                generation = self._store.open(live)
            except IndexUnusableError as error:
                problem = str(error)
            else:
                self._logged.over()
                generation.refresh()
                self._known = live.name
                return generation
        if problem and self._logged.is_news(problem):
            _log.warning("the index can't be used and is built anew", action="index.rebuilt", reason=problem)
        return None

    def intact(self) -> bool:
        """Whether readers still find the generation that was live when this writer last opened or changed it.

        The check is cheap. If the result is False, reopen the live generation with :meth:`live`.

        Raises:
            OvertakenError: another process has become the writer.
            IndexUnavailableError: the check isn't possible at the moment.
        """
        return self._store.points_to(self._known)

    def signals(self) -> int:
        """Return a number that changes whenever a client asks to check for requests. The call is cheap."""
        return self._store.signals()

    def replaced(self) -> Reader | None:
        """Open the generation that a new one would replace: the live one, or else what is left of the index.

        The generation's ledger can be read, but its documents might not be readable. Return None if there is no
        finished generation.

        Raises:
            IndexUnusableError: there are generations, but none has a ledger that can be read.
        """
        catalog = self._store.catalog()
        for entry in catalog.latest:
            if reader := self._store.open_ledger(entry):
                return reader
        if catalog.latest:
            raise IndexUnusableError(f"the index {self._store.name} has no ledger that can be read")
        return None

    def pinned(self) -> bool:
        """Whether a rollback has pinned the index to its live generation, which stays unchanged until a reindex."""
        live = self._store.catalog().live
        if live is None or not self._store.pins(live.name):
            return False
        self._known = live.name
        return True

    def build(self) -> Generation:
        """Create a new, empty generation beside the live one. Readers find it only after it has been promoted.

        Generations left unfinished by earlier builds are removed first, so only one is being built at a time. The call
        may take half a minute.

        Raises:
            IndexUnavailableError: there is no room for the generation, or it can't be created.
        """
        self._store.claim()
        self._store.tidy()
        self._building = None
        self._remove(lambda now: now.building)
        catalog = self._store.catalog()
        if catalog.live:
            self._store.require_room(catalog.live.name)
        self._building = name = self._store.reserve(catalog.highest)
        try:
            return self._store.create(name)
        except BaseException:
            with contextlib.suppress(CachesyncError):  # the next build removes it; report the original failure
                self._discard(name)
            raise

    def discard(self, generation: Generation) -> None:
        """Remove a generation that was built, unless it has gone live."""
        self._discard(generation.generation)

    def _discard(self, name: str) -> None:
        if self._building == name:
            self._building = None
        with shielded(_CLEANUP_PATIENCE):
            self._remove(lambda now: [entry for entry in now.building if entry.name == name])

    def settle(self, generation: Generation) -> None:
        """Make a filled generation durable, with its replicas if possible. The call may take a minute.

        Raises:
            IndexUnavailableError: a part of the generation isn't available, so it can't go live.
        """
        self._store.settle(generation.generation)

    def promote(self, generation: Generation) -> None:
        """Make a settled generation live in one step, keep its predecessor for a rollback, and remove older ones.

        Generations that rollbacks have replaced are removed first: if the writer dies before it has finished, none of
        them can be mistaken for the predecessor. Nothing is raised once the generation is live; older generations that
        can't be removed are left for the next writer.
        """
        if self._store.catalog().left_by_rollback:
            self._remove(lambda now: now.left_by_rollback)
        self._point(generation.generation)
        self._building = None
        try:
            self._prune()
        except (CachesyncError, StoppedError) as error:
            _log.warning(
                "older generations are left for the next run to remove", action="generation.left", reason=str(error)
            )

    def rollback(self, to: str | None = None) -> str:
        """Make the previous generation live again, pin the index, and return the generation's name.

        If ``to`` is already live and pinned, do nothing: an earlier attempt at the same rollback has succeeded.

        Raises:
            UsageError: no previous generation is kept.
        """
        self._store.claim()
        catalog = self._store.catalog()
        live = catalog.live
        if live and live.name == to and self._store.pins(to):
            return to
        before = next(iter(catalog.kept(1)), None)
        if before is None or live is None:
            raise UsageError(
                f"no generation before the live one is kept (index.keep_generations); {self._store.name} stays"
            )
        self._store.open(before).size()  # raises if the generation can't be searched
        still = [live.name] if self._store.pins(live.name) else []  # in case the next step fails
        self._store.pin([before.name, *still])  # takes effect once readers are pointed there
        self._point(before.name)
        return before.name

    def _point(self, name: str) -> None:
        self._store.point(name)
        self._known = name

    def _cleaned_up(self) -> Catalog:
        """Remove what earlier writers have left behind, and return the resulting catalog."""
        catalog = self._store.catalog()
        if not self._left_behind(catalog):
            return catalog
        self._store.claim()
        try:
            self._prune()
        except OvertakenError:
            raise
        except IndexUnavailableError as error:
            _log.warning("what an earlier run has left can't be removed", action="generation.left", reason=str(error))
        return self._store.catalog()

    def _left_behind(self, catalog: Catalog) -> list[GenerationEntry]:
        return [entry for entry in catalog.superfluous(self._keep) if entry.name != self._building]

    def _prune(self) -> None:
        """Remove generations that are no longer needed."""
        with within(_CLEANUP_PATIENCE):
            self._remove(self._left_behind)

    def _remove(self, choose: Callable[[Catalog], list[GenerationEntry]]) -> None:
        """Remove the generations that ``choose`` selects from the current catalog, if we are still the writer.

        Public generations are never removed, and neither is the one being built.
        """
        self._store.confirm()
        for entry in choose(self._store.catalog()):
            if not entry.public and entry.name != self._building:
                self._store.remove(entry.name)

"""The generations that an index has, and which of them are kept, for all engines."""

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class GenerationEntry:
    """A generation that exists, complete or not."""

    name: str
    number: int
    building: bool
    """Whether it was never live."""
    public: bool
    """Whether readers are pointed to it, or to a part of it."""
    whole: bool
    """Whether nothing of it is missing."""


@dataclass(frozen=True)
class Catalog:
    """All generations of an index, and which of them is live."""

    entries: Sequence[GenerationEntry]
    live: GenerationEntry | None
    """The generation that readers find."""
    broken: str | None
    """Why there is no live generation although readers are pointed to something; None if they aren't."""
    highest: int
    """The highest number in use, by whatever has the name of a generation."""

    @property
    def building(self) -> list[GenerationEntry]:
        """The generations that are being built, or were left by an interrupted build."""
        return [entry for entry in self.entries if entry.building]

    @property
    def latest(self) -> list[GenerationEntry]:
        """The generations that were live once: public ones first, and then the latest first."""
        once = (entry for entry in self.entries if not entry.building)
        return sorted(once, key=lambda entry: (entry.public, entry.number), reverse=True)

    def kept(self, keep: int | None = None) -> list[GenerationEntry]:
        """Return the generations that a rollback can go back to, the latest first; at most ``keep`` of them.

        Generations newer than the live one were replaced by a rollback. Without a live one, all are candidates.
        """
        return [entry for entry in self.latest if entry.whole and not (self.live and entry.number >= self.live.number)][
            :keep
        ]

    @property
    def left_by_rollback(self) -> list[GenerationEntry]:
        """The generations that rollbacks have replaced: those newer than the live one.

        Once a newer one is live, they would look like ones that a rollback can go back to, so remove them before.
        """
        return [entry for entry in self.latest if self.live and entry.number > self.live.number]

    def superfluous(self, keep: int) -> list[GenerationEntry]:
        """Return the generations that aren't needed any more. Without a live one, finished ones are still needed."""
        if self.live is None:
            return self.building
        kept = self.kept(keep)
        return [entry for entry in self.entries if entry not in kept and not entry.public]


def number_in(index: str, generation: str) -> int | None:
    """Return the number in the name of a generation; None if it isn't the name of a generation of this index."""
    match = re.fullmatch(re.escape(index) + r"-(\d+)", generation)
    return int(match[1]) if match else None

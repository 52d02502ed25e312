"""The generations of an index, and which of them are kept. All engines share this module."""

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class GenerationEntry:
    """A generation that exists, complete or not."""

    name: str
    number: int
    building: bool
    """Whether the generation was never live."""
    public: bool
    """Whether readers are pointed to the generation, or to a part of it."""
    whole: bool
    """Whether no part of the generation is missing, and this version can use all of them."""


@dataclass(frozen=True)
class Catalog:
    """All generations of an index, and which of them is live."""

    entries: Sequence[GenerationEntry]
    live: GenerationEntry | None
    """The generation that readers find."""
    broken: str | None
    """Why there is no live generation although readers are pointed to something; otherwise None."""
    highest: int
    """The highest number in use by anything that is named like a generation."""

    @property
    def building(self) -> list[GenerationEntry]:
        """The generations that are being built, or were left by an interrupted build."""
        return [entry for entry in self.entries if entry.building]

    @property
    def latest(self) -> list[GenerationEntry]:
        """The generations that have been live: public ones first, then the others, each group latest first."""
        once = (entry for entry in self.entries if not entry.building)
        return sorted(once, key=lambda entry: (entry.public, entry.number), reverse=True)

    def kept(self, keep: int | None = None) -> list[GenerationEntry]:
        """Return the generations that a rollback can go back to, latest first, and at most ``keep`` of them.

        Generations newer than the live one were replaced by a rollback, so they are left out. If no generation is live,
        every complete one is a candidate.
        """
        return [entry for entry in self.latest if entry.whole and not (self.live and entry.number >= self.live.number)][
            :keep
        ]

    @property
    def left_by_rollback(self) -> list[GenerationEntry]:
        """The generations that rollbacks have replaced: those newer than the live one.

        Remove these generations before a newer one goes live: after that, they would look like generations that a
        rollback can go back to.
        """
        return [entry for entry in self.latest if self.live and entry.number > self.live.number]

    def superfluous(self, keep: int) -> list[GenerationEntry]:
        """Return the generations that are no longer needed. If none is live, all finished ones are still needed."""
        if self.live is None:
            return self.building
        kept = self.kept(keep)
        return [entry for entry in self.entries if entry not in kept and not entry.public]


def number_in(index: str, generation: str) -> int | None:
    """Return the number in a generation's name, or None if generations of this index aren't named like that."""
    match = re.fullmatch(re.escape(index) + r"-(\d+)", generation)
    return int(match[1]) if match else None

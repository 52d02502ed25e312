"""Decides which generations to keep, for all engines."""

from collections.abc import Iterable


def to_keep(finished: Iterable[int], live: int | None, keep: int) -> list[int]:
    """Return the numbers of the generations that a rollback can go back to from ``live``, the latest first.

    ``finished`` are those that were live once. Generations newer than the live one were replaced by a rollback and
    aren't kept. If ``live`` is None, all of them are candidates.
    """
    return sorted((number for number in finished if live is None or number < live), reverse=True)[:keep]


def left_by_rollback(finished: Iterable[int], live: int | None) -> list[int]:
    """Return the numbers of the generations that rollbacks have replaced: those newer than ``live``.

    Once a newer generation is live, they would look like ones that a rollback can go back to, so remove them before.
    """
    return [number for number in finished if live is not None and number > live]

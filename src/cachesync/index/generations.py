"""Which generations to keep, for every engine alike."""

from collections.abc import Iterable


def to_keep(finished: Iterable[int], live: int | None, keep: int) -> list[int]:
    """Return the numbers of the generations that a rollback can go back to from ``live``, the latest first.

    ``finished`` are those that were live once. What is newer than the live one was left by a rollback and isn't kept;
    where none is live, nothing is.
    """
    return sorted((number for number in finished if live is None or number < live), reverse=True)[:keep]


def left_by_rollback(finished: Iterable[int], live: int | None) -> list[int]:
    """Return the numbers of the generations that rollbacks have gone back from: they are newer than ``live``.

    Once another generation is live they look like what a rollback can go back to, so they are removed before.
    """
    return [number for number in finished if live is not None and number > live]

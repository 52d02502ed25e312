"""Normalize typed names, and find names that differ by one or two typos."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

MIN_LETTERS: Final = 3
"""Shorter words aren't checked for typos because one letter more or less turns them into any other short name."""

LONG: Final = 8
"""Words of at least this many letters may have two typos."""

_SEPARATORS: Final = re.compile(r"[^\w+]|_")
_USUAL: Final = re.compile(r"[a-z0-9._\n-]*")
_WITHOUT_SEPARATORS: Final = str.maketrans("", "", "-_.")
_WORD: Final = re.compile(r"[^\W_]+\+*")


def plain(text: str) -> str:
    """Return only letters and digits, in lowercase and without accents, and ``+``, because ``g++`` isn't ``g``.

    ``SuperLU_DIST``, ``superlu-dist`` and ``superlu dist`` all become ``superludist``.
    """
    return _SEPARATORS.sub("", _folded(text))


def plain_all(names: Sequence[str]) -> list[str]:
    """Return the result of :func:`plain` for each name. Thousands of usual names take a tenth of the time."""
    joined = "\n".join(names)
    if joined.count("\n") < len(names) and _USUAL.fullmatch(joined):
        return joined.translate(_WITHOUT_SEPARATORS).split("\n") if names else []
    return [plain(name) for name in names]


def parts(text: str) -> list[str]:
    """Split a name into its parts at all separators, and normalize each part as :func:`plain` does."""
    return _WORD.findall(_folded(text))


def _folded(text: str) -> str:
    if text.isascii():
        return text.lower()
    letters = unicodedata.normalize("NFKD", text)
    return "".join(letter for letter in letters if not unicodedata.combining(letter)).lower()


def mistyped(typed: str, candidates: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield the number of typos and the index of each candidate that a mistyped word may mean.

    A typo is a letter dropped, added or replaced, or two adjacent letters swapped, and may also affect the first letter
    (the optimal string alignment distance).
    """
    if len(typed) < MIN_LETTERS:
        return
    from rapidfuzz.distance import OSA  # noqa: PLC0415 - the import takes 20 ms, and most searches don't need it
    from rapidfuzz.process import extract  # noqa: PLC0415 - as above

    for candidate, distance, place in extract(typed, candidates, scorer=OSA.distance, score_cutoff=2, limit=None):
        allowed = 2 if max(len(typed), len(candidate)) >= LONG else 1
        if 0 < distance <= allowed and len(candidate) >= MIN_LETTERS:
            yield distance, place


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that a word most likely means, or None if all differ by more typos than allowed.

    A candidate with the fewest typos is preferred, then one with the same first letter, then the alphabetically first.
    """
    named = {plain(each): each for each in sorted(candidates, reverse=True)}
    typed = plain(word)
    if typed in named:
        return named[typed]
    spelled = sorted(named)
    found = [(distance, spelled[place][0] != typed[0], spelled[place]) for distance, place in mistyped(typed, spelled)]
    return named[min(found)[2]] if found else None

"""What of a name counts, however it is typed, and which words are one or two typos apart."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

MIN_LETTERS: Final = 3
"""Shorter words have no typos: one letter more or less makes every other short name of them."""

LONG: Final = 8
"""From so many letters on a word may have two typos."""

_BETWEEN: Final = re.compile(r"[^\w+]|_")
_USUAL: Final = re.compile(r"[a-z0-9._\n-]*")
_WITHOUT_SEPARATORS: Final = str.maketrans("", "", "-_.")
_WORD: Final = re.compile(r"[^\W_]+\+*")


def plain(text: str) -> str:
    """Return letters and digits alone, in lowercase and without accents; and ``+``, by which ``g++`` isn't ``g``.

    ``SuperLU_DIST``, ``superlu-dist`` and ``superlu dist`` are all ``superludist``.
    """
    return _BETWEEN.sub("", _folded(text))


def plain_all(names: Sequence[str]) -> list[str]:
    """Return what :func:`plain` returns of each; of thousands of usual names in a tenth of the time."""
    joined = "\n".join(names)
    if joined.count("\n") < len(names) and _USUAL.fullmatch(joined):
        return joined.translate(_WITHOUT_SEPARATORS).split("\n") if names else []
    return [plain(name) for name in names]


def parts(text: str) -> list[str]:
    """Split at everything that can stand between the parts of a name, each part as :func:`plain` has it."""
    return _WORD.findall(_folded(text))


def _folded(text: str) -> str:
    if text.isascii():
        return text.lower()
    letters = unicodedata.normalize("NFKD", text)
    return "".join(letter for letter in letters if not unicodedata.combining(letter)).lower()


def allowed_typos(typed: str, meant: str) -> int:
    """Return by how many typos two words may differ: one, or two from eight letters on."""
    longer = max(len(typed), len(meant))
    return 0 if min(len(typed), len(meant)) < MIN_LETTERS else 1 if longer < LONG else 2


def mistyped(typed: str, candidates: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield which of the candidates may be meant by a mistyped word: how many typos apart, and its place.

    A letter dropped, added or replaced, or two neighbours swapped, is one typo, in the first letter too: the distance
    of optimal string alignment.
    """
    if len(typed) < MIN_LETTERS:
        return
    from rapidfuzz.distance import OSA  # noqa: PLC0415 - it takes 20 ms, which most searches can do without
    from rapidfuzz.process import extract  # noqa: PLC0415 - as above

    for candidate, distance, place in extract(typed, candidates, scorer=OSA.distance, score_cutoff=2, limit=None):
        if 0 < distance <= allowed_typos(typed, candidate):
            yield distance, place


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that is most likely meant by a word; None where none is within the typos allowed.

    That is the one with the fewest typos, then one with the same first letter, then by the alphabet.
    """
    named = {plain(each): each for each in sorted(candidates, reverse=True)}
    typed = plain(word)
    if typed in named:
        return named[typed]
    spelled = sorted(named)
    found = [(distance, spelled[place][0] != typed[0], spelled[place]) for distance, place in mistyped(typed, spelled)]
    return named[min(found)[2]] if found else None

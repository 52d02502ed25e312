"""What to say where nothing is found: which condition stands in the way, what is near, and what no document has."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from cachesync.search.conditions import Piece
from cachesync.search.parser import HASH_LENGTH
from cachesync.search.query import And, In, Or, Query, Term
from cachesync.search.request import LATEST
from cachesync.search.spelling import nearest
from cachesync.search.vocabulary import Vocabulary

_MOST: Final = 5
"""So many packages are named that may have been meant."""

_KNOWN: Final = frozenset(
    {
        *("os", "target", "platform", "stacks", "tag", "compiler", "compiler_name", "compiler_version"),
        *("variants", "variant_names", "variant_values"),
    }
)
"""Fields whose values are so few that all are known."""

_VARIANTS: Final = frozenset({"variants", "variant_names", "variant_values"})
_HASHES: Final = frozenset({"hash", "binary"})


class Near(NamedTuple):
    """What there would be instead of nothing."""

    total: int
    without: str | None = None
    """The condition that is left out for it."""
    package: str | None = None
    """The package that is asked for instead."""


class Index(Protocol):
    """What is asked."""

    def count(self, queries: Sequence[Query]) -> list[int]:
        """Count the documents that match each of some queries."""


def near(pieces: Sequence[Piece], name: Piece | None, index: Index, vocabulary: Vocabulary) -> Iterator[Near]:
    """Yield what there would be without each single condition, and for packages whose names are near.

    Args:
        pieces: all that has to be met, which nothing does.
        name: which of them names the package.
        index: what is asked.
        vocabulary: what its documents have.
    """
    if len(pieces) > 1:
        rest = [And(tuple(each.query for each in pieces if each is not one)) for one in pieces]
        for piece, total in zip(pieces, index.count(rest), strict=True):
            if total:
                yield Near(total, without=piece.text)
    if name is None:
        return
    packages = [match.package for match in vocabulary.names.find(name.text.split())[:_MOST]]
    others = tuple(each.query for each in pieces if each is not name)
    counts = index.count([And((Term("package", package), *others)) for package in packages])
    for package, total in zip(packages, counts, strict=True):
        if total:
            yield Near(total, package=package)


def unknown_values(pieces: Sequence[Piece], vocabulary: Vocabulary) -> Iterator[str]:
    """Say of each condition that no document can meet, since none has such a value, what may have been meant."""
    for piece in pieces:
        match piece.query:
            case Term(field, str(value)) | Or((Term(field, str(value)),)) if field in _HASHES:
                if len(value) < HASH_LENGTH:
                    yield f"{piece.text} asks for a whole hash; /{value} finds those that begin so."
            case query if _is_unknown(query, vocabulary):
                yield f"No document has {piece.text}{_instead(query, vocabulary)}"


def _is_unknown(query: Query, vocabulary: Vocabulary) -> bool:
    match query:
        case Term(field, value) if field in _KNOWN:
            return value not in vocabulary.values(field)
        case In(field, values) if field in _KNOWN:
            return not set(values).intersection(vocabulary.values(field))
        case And(parts):
            return any(_is_unknown(part, vocabulary) for part in parts)
        case Or(parts):
            return all(_is_unknown(part, vocabulary) for part in parts)
    return False


def _instead(query: Query, vocabulary: Vocabulary) -> str:
    """Return the end of the sentence: what may have been meant, where it is one value of a field."""
    match query:
        case Term("tag", value) | Or((Term("tag", value),)) if value == LATEST:
            return f"; --tag {LATEST} is the newest tag with a date."
        case Term(field, str(value)) | Or((Term(field, str(value)),)) if field not in _VARIANTS:
            meant = nearest(value, vocabulary.values(field))
            return f"; did you mean {meant}?" if meant else "."
    return "."

"""Help for searches without hits: which condition rules out all hits, which names are similar, and what is unknown."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from cachesync.errors import UsageError
from cachesync.search import targets
from cachesync.search.conditions import Piece
from cachesync.search.parser import HASH_LENGTH
from cachesync.search.query import And, In, Or, Prefix, Query, Term
from cachesync.search.request import LATEST, Countable
from cachesync.search.typos import nearest
from cachesync.search.vocabulary import Vocabulary

_MAX_PACKAGES: Final = 5
"""The maximum number of packages that are suggested."""

_VARIANTS: Final = frozenset({"variants", "variant_names", "variant_values"})
_KNOWN: Final = _VARIANTS.union(
    ("os", "target", "platform", "stacks", "tag", "compiler", "compiler_name", "compiler_version")
)
"""Fields with so few values that the vocabulary contains all of the values."""

_HASH: Final = re.compile(rf"[a-z2-7]{{4,{HASH_LENGTH}}}")
_HASHES: Final = frozenset({"hash", "binary"})


class Near(NamedTuple):
    """A similar search that has hits."""

    total: int
    without: str | None = None
    """The condition that the similar search leaves out."""
    package: str | None = None
    """The package that the similar search names instead."""


def near(pieces: Sequence[Piece], name: Piece | None, index: Countable, vocabulary: Vocabulary) -> Iterator[Near]:
    """Yield similar searches with hits. Each leaves out one condition, or names a package with a similar name.

    No document meets all of ``pieces``. The piece ``name`` is the one that names the package.
    """
    if len(pieces) > 1:
        rest = [And(tuple(each.query for each in pieces if each is not one)) for one in pieces]
        for piece, total in zip(pieces, index.count(rest), strict=True):
            if total:
                yield Near(total, without=piece.text)
    if name is None:
        return
    packages = [match.package for match in vocabulary.names.find(name.text.split())[:_MAX_PACKAGES]]
    others = tuple(each.query for each in pieces if each is not name)
    counts = index.count([And((Term("package", package), *others)) for package in packages])
    for package, total in zip(packages, counts, strict=True):
        if total:
            yield Near(total, package=package)


def why_nothing(
    pieces: Sequence[Piece], found: Sequence[Near], index: Countable, vocabulary: Vocabulary
) -> Iterator[str]:
    """Yield a note for each condition that no document meets, with suggestions of what may have been meant.

    ``found`` are the similar searches with hits that :func:`near` yields.
    """
    unknown = [piece for piece in pieces if _is_unknown(piece.query, vocabulary)]
    for piece in pieces:
        match piece.query:
            case Term(field, str(value)) | Or((Term(field, str(value)),)) if field in _HASHES:
                if len(value) < HASH_LENGTH:
                    yield f"{piece.text} asks for a whole hash; /{value} finds hashes that begin with it."
            case Prefix("hash", start) if index.count([piece.query]) == [0]:
                yield f"No hash begins with {start}."
            case query if piece in unknown and not _is_unknown_variant(query, vocabulary):
                others = And(tuple(each.query for each in pieces if each is not piece))
                yield f"No document has {piece.text}{_instead(piece, others, index, vocabulary)}"
    if len(pieces) > 1 and not unknown and not found:
        yield "No single condition stands in the way: whichever is left out, nothing is found."


def _is_unknown_variant(query: Query, vocabulary: Vocabulary) -> bool:
    """Whether no package has the queried variant. The interpretation of the query has already added a note about it."""
    match query:
        case Term("variant_values", str(value)):
            return value.lstrip("+~").partition("=")[0].rstrip(":") not in vocabulary.values("variant_names")
        case Term("variant_names", _):
            return True
    return False


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


def _instead(piece: Piece, others: Query, index: Countable, vocabulary: Vocabulary) -> str:
    """Return the end of a note, which suggests what may have been meant."""
    match piece.query:
        case In("target", (value,)) | Term("target", str(value)) | Or((Term("target", str(value)),)):
            return _runs_there(value, others, index) or _nearest(value, vocabulary.values("target"))
        case Term("tag", value) | Or((Term("tag", value),)) if value == LATEST:
            return f"; --tag {LATEST} is the newest tag with a date."
        case Term("compiler_name", "intel-oneapi-compilers-classic"):
            return "; Intel's current compiler is %oneapi."
        case Term("variant_values", str(value)) if "=" in value:
            return _another_value(value, vocabulary)
        case Term(field, str(value)) | Or((Term(field, str(value)),)) if field not in _VARIANTS:
            return _nearest(value, vocabulary.values(field))
    return _another_sense(piece.text, others, index)


def _nearest(value: str, values: Iterable[str]) -> str:
    meant = nearest(value, values)
    return f"; did you mean {meant}?" if meant else "."


def _runs_there(target: str, others: Query, index: Countable) -> str | None:
    """Return the end of a note on specs that run on a target but aren't built for it; None for an unknown target."""
    try:
        runs = targets.runs_on(target)
    except targets.UnknownTargetError:
        return None
    (count,) = index.count([And((In("target", runs), others))])
    if not count:
        return f", and none runs on {target}."
    return f"; {count:,} run on {target}: ask for target=:{target}."


def _another_value(written: str, vocabulary: Vocabulary) -> str:
    """Suggest another value of a variant, or a version if the variant's name is the name of a package."""
    name, _, value = written.partition("=")
    if value[:1].isdigit() and vocabulary.names.is_name([name]):
        return f"; did you mean {name}@{value}?"
    of_name = [each for each in vocabulary.values("variant_values") if each.startswith(f"{name}=")]
    return _nearest(written, of_name)


def _another_sense(word: str, others: Query, index: Countable) -> str:
    """Suggest another sense of a word that matches nothing: a hash, a target or a machine."""
    if runs := _runs_there(word, others, index):
        return runs
    if _HASH.fullmatch(word):
        (count,) = index.count([And((Prefix("hash", word), others))])
        if count:
            return f"; /{word} finds hashes that begin with it."
    try:
        targets.runs_on(targets.parse_machine(word).target)
    except UsageError:
        return "."
    return f"; --arch {word} finds what runs on such a machine."

"""What is typed → what is asked: which words are conditions, which name a package, and what is to be said of that.

As a *spec*, a query is Spack's language, exactly. As *text* it is words, each of which every hit meets: at most one run
of them names the package, the others are met by its version, compiler, variants, stacks, tag or place. By itself a
query is read as a person means it: what has a sigil of Spack's is a condition, and the names beside it are words.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Final, Literal, NamedTuple

from cachesync.documents import FIELDS, Field, todays_name
from cachesync.errors import QueryError
from cachesync.search import informal
from cachesync.search.conditions import COMPILERS, Piece, conditions
from cachesync.search.lexer import Kind, require_text, tokens
from cachesync.search.names import Match, Split, by_names, by_parts, grouped
from cachesync.search.parser import MAX_CONDITIONS, parse
from cachesync.search.query import All, And, Exists, In, Not, Or, Query
from cachesync.search.request import Countable, Filter, value_of
from cachesync.search.spec import SpecQuery, Variant, Word, canonical
from cachesync.search.typos import nearest, parts, plain
from cachesync.search.vocabulary import Vocabulary
from cachesync.search.words import WordMeanings

Mode = Literal["auto", "spec", "text"]

_GRAMMAR: Final = ("platform", "os", "target", "arch")
"""Keys of Spack's grammar that are no variants."""

_NAMES: Final = frozenset({Kind.NAME, Kind.DOTTED_NAME})
_EDGES: Final = frozenset({Kind.DEPENDENCY, Kind.EDGE_END})

_EVERYTHING: Final = All()

_MOST_NAMED: Final = 3
"""So many packages are named in a note."""


class Interpretation(NamedTuple):
    """How a query was read."""

    mode: Literal["spec", "text"]
    pieces: tuple[Piece, ...] = ()
    """All of them have to be met."""
    ranks: tuple[Query, ...] = ()
    """The packages whose names fit best, then those that fit less well."""
    spec: SpecQuery = SpecQuery()
    words: tuple[str, ...] = ()
    """What is asked for beside that, as it is read."""
    name: Piece | None = None
    """Which of the pieces names the package."""
    notes: tuple[str, ...] = ()

    @property
    def query(self) -> Query:
        """What hits match."""
        return And(tuple(each.query for each in self.pieces)) if self.pieces else All()

    @property
    def canonical(self) -> str:
        """The query as Spack writes it, compilers last; words that it has no grammar for stand before these."""
        start = canonical(self.spec._replace(compilers=()))
        last = [word for word in self.words if word.startswith("%")]
        words = [word for word in self.words if word not in last]
        parts = [start if start != "*" else "", *words, *last, *map(str, self.spec.compilers)]
        return " ".join(filter(None, parts)) or "*"


def read(
    text: str, mode: Mode, index: Countable, vocabulary: Vocabulary, beside: Query = _EVERYTHING
) -> Interpretation:
    """Read a query.

    Args:
        text: as typed.
        mode: how to read it; ``auto`` is as a person means it.
        index: what it is about.
        vocabulary: what the index's documents have.
        beside: what is asked for beside it, which only notes take into account.

    Raises:
        QueryError: it can't be read, or asks for what documents don't tell.
    """
    require_text(text)
    if mode == "spec":
        return _with_conditions(Interpretation("spec"), parse(text), vocabulary)
    if mode == "text":
        informal.require_no_comparison(text)
        return _of_words(Interpretation("text"), _split(text), index, vocabulary, beside)
    asked = informal.read(text)
    if not informal.SIGIL.search(asked.text):
        words = sorted((*_split(asked.text), *asked.words), key=_place)
        return _of_words(Interpretation("text", notes=asked.notes), words, index, vocabulary, beside)
    words, rest = _apart(asked.text)
    words = sorted((*words, *asked.words), key=_place)
    return _of_words(Interpretation("spec", notes=asked.notes), words, index, vocabulary, beside, rest)


def _of_words(
    reading: Interpretation,
    words: Sequence[Word],
    index: Countable,
    vocabulary: Vocabulary,
    beside: Query,
    rest: str = "",
) -> Interpretation:
    """Ask for words, and for the rest of a spec.

    A word may have a version: right behind it in the rest, or at its end, as in ``hdf5-1.14.6`` and ``gcc12``.
    """
    owners = [word for word in words if rest.startswith("@", word.at - 1 + len(word.text))]
    compilers = [word for word in owners if _is_compiler_beside_a_package(word, words, vocabulary)]
    for word in compilers:
        begin, end = max(0, word.at - 2), word.at - 1 + len(word.text)
        compiler = word.text + rest[end:].split(maxsplit=1)[0]
        rest = f"{rest[:begin]}%{word.text}{rest[end:]}"
        reading = reading._replace(notes=(*reading.notes, f"{compiler} beside a package is read as %{compiler}."))
    words = [word for word in words if word not in compilers]
    owner = next((word for word in owners if word not in compilers), None)
    spec = parse(rest)
    pinned = None if spec.versions or not words else _pinned(words, vocabulary)
    if pinned:
        at, name, version = pinned
        note = f"{words[at].text} is read as {name}@{version}."
        reading = reading._replace(notes=(*reading.notes, note))
        spec = spec._replace(versions=parse(f"@{version}").versions)
        words = [*words[:at], Word(name, words[at].at), *words[at + 1 :]]
    if rest or pinned:
        reading = _with_conditions(reading, spec, vocabulary, fields=bool(rest))
    return _with_words(reading, words, index, vocabulary, beside, owner)


def _is_compiler_beside_a_package(word: Word, words: Sequence[Word], vocabulary: Vocabulary) -> bool:
    """Tell whether a word with a version is a compiler: ``hdf5 gcc@11``."""
    others = [each for each in words if each is not word and vocabulary.names.is_name([each.text])]
    return bool(others) and _is_compiler(word.text, vocabulary)


def _is_compiler(name: str, vocabulary: Vocabulary) -> bool:
    return todays_name(name.lower()) in _compilers(vocabulary)


def _pinned(words: Sequence[Word], vocabulary: Vocabulary) -> tuple[int, str, str] | None:
    """Find a word that is no name as it stands, but one with a version behind it.

    Beside another name, that of a compiler is left to be one.
    """
    names = vocabulary.names
    named = [word for word in words if names.is_name([word.text])]
    for at, word in enumerate(words):
        ways = informal.names_and_versions(word.text) if word not in named else ()
        pinned = next((each for each in ways if names.is_name([each[0]])), None)
        if pinned and not (named and _is_compiler(pinned[0], vocabulary)):
            return at, *pinned
    return None


def _place(word: Word) -> int:
    return word.at


def _split(text: str) -> list[Word]:
    return [Word(match[0], match.start() + 1) for match in re.finditer(r"\S+", text) if match[0] != "*"]


def _apart(text: str) -> tuple[list[Word], str]:
    """Take names out of a spec that belong to no compiler or dependency; the rest stays where it is."""
    words: list[Word] = []
    rest = list(text)
    is_of_an_edge = False
    for token in tokens(text):
        if token.kind in _NAMES and token.text != "*" and not is_of_an_edge:
            words.append(Word(token.text, token.at))
            rest[token.at - 1 : token.end - 1] = " " * len(token.text)
        is_of_an_edge = token.kind in _EDGES and "=" not in token.text
    return words, "".join(rest)


# --- conditions -------------------------------------------------------------------------------------------------------


def _with_conditions(
    reading: Interpretation, spec: SpecQuery, vocabulary: Vocabulary, *, fields: bool = False
) -> Interpretation:
    """Ask for what a spec says. ``fields``: keys may be those of documents, too."""
    keyed = [each for each in spec.variants if fields and _is_field(each)]
    spec = spec._replace(variants=tuple(each for each in spec.variants if each not in keyed))
    asked = conditions(spec, _compilers(vocabulary) if spec.compilers else COMPILERS)
    by_field = tuple(map(_of_field, keyed))
    named = next((piece for piece in asked.pieces if spec.name and piece.at == spec.name.at), None)
    return reading._replace(
        pieces=(*asked.pieces, *by_field),
        spec=spec,
        words=tuple(piece.text for piece in by_field),
        name=named,
        notes=(*reading.notes, *asked.notes, *_unknown(spec.variants, vocabulary, fields=fields)),
    )


def _compilers(vocabulary: Vocabulary) -> frozenset[str]:
    """Return what can be asked for as a compiler: what Spack compiles with, and what has compiled something here."""
    return COMPILERS.union(vocabulary.values("compiler_name"))


def _is_field(variant: Variant) -> bool:
    field = FIELDS.get(variant.name)
    return field is not None and field.is_asked_for and isinstance(variant.value, tuple)


def _of_field(variant: Variant) -> Piece:
    """Ask for values of a document's field, any of which will do; without a value, for those that have one."""
    assert isinstance(variant.value, tuple)
    field = FIELDS[variant.name]
    text = f"{variant.name}={','.join(variant.value) or '*'}"
    values = tuple(_value(field, value, variant.at) for value in variant.value)
    return Piece(text, variant.at, Filter(field.name, values).query() if values else Exists(field.name))


def _value(field: Field, value: str, at: int) -> str | int:
    try:
        return value_of(field, value)
    except ValueError as error:
        raise QueryError(at, f"{field.name}={value:.80}: {error}") from None


def _unknown(variants: Sequence[Variant], vocabulary: Vocabulary, *, fields: bool) -> Iterator[str]:
    """Say of each name that no document has as a variant what may have been meant."""
    if not variants:
        return
    known = vocabulary.values("variant_names")
    for name in dict.fromkeys(variant.name for variant in variants):
        if name not in known:
            near = nearest(name, [*known, *_GRAMMAR, *(FIELDS if fields else ())])
            yield f"No package has a variant {name}{f'; did you mean {near}?' if near else '.'}"


# --- words ------------------------------------------------------------------------------------------------------------


def _with_words(
    reading: Interpretation,
    words: Sequence[Word],
    index: Countable,
    vocabulary: Vocabulary,
    beside: Query,
    owner: Word | None,
) -> Interpretation:
    """Ask for what words mean. ``owner``: what has a version right behind it is the package, or a part of its name."""
    if not words:
        return reading
    if len(words) > MAX_CONDITIONS:
        raise QueryError(words[MAX_CONDITIONS].at, f"expected at most {MAX_CONDITIONS} words, not {len(words):,}")
    way = _Ways(words, index, vocabulary, reading.query, beside, owner).best()
    return reading._replace(
        pieces=(*way.pieces, *reading.pieces),
        ranks=way.ranks,
        spec=reading.spec._replace(name=way.package),
        words=(*way.words, *reading.words),
        name=way.pieces[0],
        notes=(*reading.notes, *way.notes),
    )


class _Way(NamedTuple):
    """One way to read words."""

    pieces: tuple[Piece, ...]
    ranks: tuple[Query, ...] = ()
    package: Word | None = None
    """The one that is named, where it is one."""
    words: tuple[str, ...] = ()
    """What else is asked for, as it is read."""
    notes: tuple[str, ...] = ()

    @property
    def query(self) -> Query:
        return And(tuple(each.query for each in self.pieces))


class _Ways:
    """The ways to read words, beside conditions that have to be met anyway."""

    def __init__(
        self,
        words: Sequence[Word],
        index: Countable,
        vocabulary: Vocabulary,
        conditions: Query,
        beside: Query,
        owner: Word | None,
    ) -> None:
        """``conditions`` are those of the text, ``beside`` is what only notes take into account."""
        self._words = words
        self._owner = owner
        self._index = index
        self._vocabulary = vocabulary
        self._conditions = conditions
        self._beside = beside

    @cached_property
    def _meanings(self) -> WordMeanings:
        return WordMeanings(self._vocabulary)

    def best(self) -> _Way:
        """Return the likeliest with hits: with a whole name, else with a part of one or none, else with a mistyped one.

        Where none has hits it is the likeliest of all.
        """
        words = [word.text for word in self._words]
        whole = list(filter(self._is_of_owner, by_names(words, self._vocabulary.names)))
        ways = list(map(self._with_name, whole))
        if len(whole) == 1 and not whole[0].others:
            # A name alone means that package, also if there is none like that.
            return self._with_elsewhere(ways[0])
        found = self._first_with_hits(ways)
        if found is None:
            parts = list(by_parts(words, self._vocabulary.names))
            others = list(filter(self._is_of_owner, parts)) or parts
            more = [self._with_parts([split for split in others if not split.is_mistyped])]
            more += [self._with_name(split) for split in others if split.is_mistyped]
            is_the_only_one = not ways and len(more) == 1
            found = (None if is_the_only_one else self._first_with_hits(more)) or [*ways, *more][0]
            if ways and found not in ways:
                found = found._replace(notes=(*found.notes, self._not_as_name(whole)))
        return self._with_elsewhere(found)

    def _is_of_owner(self, split: Split) -> bool:
        return self._owner is None or self._owner.text in split.name

    def _first_with_hits(self, ways: Sequence[_Way]) -> _Way | None:
        counts = self._index.count([And((way.query, self._conditions)) for way in ways])
        return next((way for way, count in zip(ways, counts, strict=True) if count), None)

    def _not_as_name(self, whole: Sequence[Split]) -> str:
        """Say that what is found isn't of the package that was named."""
        names = " or ".join(dict.fromkeys(" ".join(split.name) for split in whole[:_MOST_NAMED]))
        return f"No {names} has all of it; what is found are packages of other names."

    def _with_name(self, split: Split) -> _Way:
        """Take some of the words for a package's name."""
        meant = [match for match in split.matches if match.tier == split.matches[0].tier]
        packages = tuple(match.package for match in meant)
        typed_name = " ".join(split.name)
        text = packages[0] if len(packages) == 1 else typed_name
        piece = Piece(text, self._at(split.name[0]), In("package", packages))
        others = [self._met(word) for word in split.others]
        package = Word(packages[0], piece.at) if len(packages) == 1 else None
        return _Way(
            pieces=(piece, *(each for each, _, _ in others)),
            ranks=_closest_first(_ranks(meant), tuple(close for _, _, close in others if close)),
            package=package,
            words=(*(() if package else (typed_name,)), *(text for _, text, _ in others)),
            notes=tuple(_naming(typed_name, meant)),
        )

    def _with_parts(self, splits: Sequence[Split]) -> _Way:
        """Take words for parts of names or for something else, whichever is found."""
        text = " ".join(word.text for word in self._words)
        piece = Piece(text, self._words[0].at, Or(tuple(map(self._split_so, splits))))
        return _Way((piece,), _ranks(splits[0].matches, at_all=True), words=(text,))

    def _split_so(self, split: Split) -> Query:
        others = tuple(self._meanings.query(word) for word in split.others)
        if not split.name:
            return And(others)
        return And((In("package", tuple(match.package for match in split.matches)), *others))

    def _met(self, word: str) -> tuple[Piece, str, Query | None]:
        """Ask for a word that isn't a name; return how it is read, too, and what it means in the first place.

        That is None where it means nothing else.
        """
        meanings = list(self._meanings.meanings(word))
        piece = Piece(word, self._at(word), Or(tuple(each.query for each in meanings)))
        close = tuple(each.query for each in meanings if each.is_close)
        text = meanings[0].text if len(meanings) == 1 else word
        return piece, text, Or(close) if 0 < len(close) < len(meanings) else None

    def _with_elsewhere(self, way: _Way) -> _Way:
        """Say of the only word, if it is a package's name, how many others have it elsewhere."""
        if len(self._words) != 1 or len(way.pieces) != 1 or not way.package:
            return way
        word = self._words[0].text
        meanings = list(self._meanings.meanings(word))
        elsewhere = And((Or(tuple(each.query for each in meanings)), Not(way.query), self._conditions, self._beside))
        (count,) = self._index.count([elsewhere]) if meanings else (0,)
        if not count:
            return way
        asked = " or ".join(dict.fromkeys(each.text for each in meanings))
        specs = "1 spec of another package has" if count == 1 else f"{count:,} specs of other packages have"
        note = f"{specs} {word} in other fields: search for {asked} to see those."
        return way._replace(notes=(*way.notes, note))

    def _at(self, text: str) -> int:
        return next(word.at for word in self._words if word.text == text)


def _ranks(matches: Sequence[Match], *, at_all: bool = False) -> tuple[Query, ...]:
    """Return the packages in groups that fit equally well. ``at_all``: other packages are found, too."""
    groups = [In("package", tuple(group)) for group in grouped(matches)]
    return tuple(groups) if at_all or len(groups) > 1 else ()


def _closest_first(ranks: tuple[Query, ...], close: tuple[Query, ...]) -> tuple[Query, ...]:
    """Put before each rank those of it that meet words in the closest sense, and before the rest those others."""
    if not close:
        return ranks
    of_each = [part for rank in ranks for part in (And((rank, *close)), rank)]
    return (*of_each, And(close))


def _naming(name: str, matches: Sequence[Match]) -> Iterator[str]:
    """Say which package is meant by a name that is another one."""
    named = " or ".join(match.package for match in matches[:_MOST_NAMED])
    left = len(matches) - _MOST_NAMED
    more = f" or {left:,} other{'s' if left > 1 else ''}" if left > 0 else ""
    if matches[0].why == "typo":
        yield f"No package is called {name}; {named}{more} is near."
    elif matches[0].why == "alias" or _leaves_out(name, matches):
        yield f"{name} is read as {named}{more}."


def _leaves_out(name: str, matches: Sequence[Match]) -> bool:
    """Tell whether a part of what was typed is in none of the names that it is read as."""
    return any(all(part not in plain(match.package) for match in matches) for part in parts(name))

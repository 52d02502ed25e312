"""Interpret queries: find the conditions, the words that name a package, and notes on how the query was understood.

In mode ``spec``, a query is exactly in Spack's language. In mode ``text``, a query consists of words, and every hit
matches each of them: at most one run of words names the package; the others match its version, compiler, variants, tag
and so on. In mode ``auto``, a query is read as a person means it: parts with one of Spack's sigils are conditions, and
names are words.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
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
"""Keys of Spack's grammar that are not variants."""

_NAMES: Final = frozenset({Kind.NAME, Kind.DOTTED_NAME})
_EDGES: Final = frozenset({Kind.DEPENDENCY, Kind.EDGE_END})

_EVERYTHING: Final = All()

_MAX_NAMED: Final = 3
"""The maximum number of packages that a note names."""


class Interpretation(NamedTuple):
    """The interpretation of a query."""

    mode: Literal["spec", "text"]
    pieces: tuple[Piece, ...] = ()
    """The conditions, all of which every hit meets."""
    ranks: tuple[Query, ...] = ()
    """Queries for the packages whose names fit best, then for packages whose names fit less well."""
    spec: SpecQuery = SpecQuery()
    words: tuple[str, ...] = ()
    """The conditions that are not in ``spec``, as they were interpreted."""
    name: Piece | None = None
    """The piece that names the package."""
    notes: tuple[str, ...] = ()

    @property
    def query(self) -> Query:
        """The query that hits match."""
        return And(tuple(each.query for each in self.pieces)) if self.pieces else All()

    @property
    def canonical(self) -> str:
        """The query as Spack writes it, then the words for which Spack has no grammar, and the compilers last."""
        start = canonical(self.spec._replace(compilers=()))
        last = [word for word in self.words if word.startswith("%")]
        words = [word for word in self.words if word not in last]
        parts = [start if start != "*" else "", *words, *last, *map(str, self.spec.compilers)]
        return " ".join(filter(None, parts)) or "*"


def read(
    text: str, mode: Mode, index: Countable, vocabulary: Vocabulary, context: Query = _EVERYTHING
) -> Interpretation:
    """Interpret a query. The conditions of ``context``, which are given outside the text, affect only notes.

    Raises:
        QueryError: the text can't be read, or asks for something that documents don't contain.
    """
    require_text(text)
    if mode == "spec":
        return _with_conditions(Interpretation("spec"), parse(text), vocabulary)
    if mode == "text":
        informal.require_no_comparison(text)
        return _interpret_words(Interpretation("text"), _split(text), index, vocabulary, context)
    typed = informal.read(text)
    if not informal.SIGIL.search(typed.text):
        words = sorted((*_split(typed.text), *typed.words), key=attrgetter("at"))
        return _interpret_words(Interpretation("text", notes=typed.notes), words, index, vocabulary, context)
    words, rest = _extract_names(typed.text)
    words = sorted((*words, *typed.words), key=attrgetter("at"))
    return _interpret_words(Interpretation("spec", notes=typed.notes), words, index, vocabulary, context, rest)


def _interpret_words(
    reading: Interpretation,
    words: Sequence[Word],
    index: Countable,
    vocabulary: Vocabulary,
    context: Query,
    rest: str = "",
) -> Interpretation:
    """Add conditions for words, and for the rest of the spec from which the words were extracted.

    A word may have a version: directly after it in the rest, or at its end, as in ``hdf5-1.14.6`` and ``gcc12``.
    """
    owners = [word for word in words if rest.startswith("@", word.at - 1 + len(word.text))]
    compilers = [word for word in owners if _is_compiler_next_to_package(word, words, vocabulary)]
    for word in compilers:
        begin, end = max(0, word.at - 2), word.at - 1 + len(word.text)
        compiler = word.text + rest[end:].split(maxsplit=1)[0]
        rest = f"{rest[:begin]}%{word.text}{rest[end:]}"
        reading = reading._replace(notes=(*reading.notes, f"{compiler} next to a package is read as %{compiler}."))
    words = [word for word in words if word not in compilers]
    owner = next((word for word in owners if word not in compilers), None)
    spec = parse(rest)
    versioned = None if spec.versions or not words else _name_with_version(words, vocabulary)
    if versioned:
        at, name, version = versioned
        note = f"{words[at].text} is read as {name}@{version}."
        reading = reading._replace(notes=(*reading.notes, note))
        spec = spec._replace(versions=parse(f"@{version}").versions)
        words = [*words[:at], Word(name, words[at].at), *words[at + 1 :]]
    if rest or versioned:
        reading = _with_conditions(reading, spec, vocabulary, fields=bool(rest))
    if not words:
        return reading
    if len(words) > MAX_CONDITIONS:
        raise QueryError(words[MAX_CONDITIONS].at, f"expected at most {MAX_CONDITIONS} words, not {len(words):,}")
    way = _Ways(words, index, vocabulary, reading.query, context, owner).best()
    return reading._replace(
        pieces=(*way.pieces, *reading.pieces),
        ranks=way.ranks,
        spec=reading.spec._replace(name=way.package),
        words=(*way.words, *reading.words),
        name=way.pieces[0],
        notes=(*reading.notes, *way.notes),
    )


def _is_compiler_next_to_package(word: Word, words: Sequence[Word], vocabulary: Vocabulary) -> bool:
    """Whether a word with a version is a compiler beside a package's name, as in ``hdf5 gcc@11``."""
    others = [each for each in words if each is not word and vocabulary.names.is_name([each.text])]
    return bool(others) and _is_compiler(word.text, vocabulary)


def _is_compiler(name: str, vocabulary: Vocabulary) -> bool:
    return todays_name(name.lower()) in _compilers(vocabulary)


def _name_with_version(words: Sequence[Word], vocabulary: Vocabulary) -> tuple[int, str, str] | None:
    """Find a word that is a package name with a version at its end; return its position, the name and the version.

    If another word is a package name, a word that is a compiler with a version remains a compiler.
    """
    names = vocabulary.names
    named = [word for word in words if names.is_name([word.text])]
    for at, word in enumerate(words):
        ways = informal.names_and_versions(word.text) if word not in named else ()
        versioned = next((each for each in ways if names.is_name([each[0]])), None)
        if versioned and not (named and _is_compiler(versioned[0], vocabulary)):
            return at, *versioned
    return None


def _split(text: str) -> list[Word]:
    return [Word(match[0], match.start() + 1) for match in re.finditer(r"\S+", text) if match[0] != "*"]


def _extract_names(text: str) -> tuple[list[Word], str]:
    """Extract the names that don't belong to a compiler or dependency. The rest of the spec keeps its positions."""
    words: list[Word] = []
    rest = list(text)
    is_after_edge = False
    for token in tokens(text):
        if token.kind in _NAMES and token.text != "*" and not is_after_edge:
            words.append(Word(token.text, token.at))
            rest[token.at - 1 : token.end - 1] = " " * len(token.text)
        is_after_edge = token.kind in _EDGES and "=" not in token.text
    return words, "".join(rest)


# --- conditions -------------------------------------------------------------------------------------------------------


def _with_conditions(
    reading: Interpretation, spec: SpecQuery, vocabulary: Vocabulary, *, fields: bool = False
) -> Interpretation:
    """Add the conditions of a spec. If ``fields`` is set, the spec's keys may also be fields of documents."""
    keyed = [each for each in spec.variants if fields and _is_field(each)]
    spec = spec._replace(variants=tuple(each for each in spec.variants if each not in keyed))
    asked = conditions(spec, _compilers(vocabulary) if spec.compilers else COMPILERS)
    by_field = tuple(map(_field_condition, keyed))
    named = next((piece for piece in asked.pieces if spec.name and piece.at == spec.name.at), None)
    return reading._replace(
        pieces=(*asked.pieces, *by_field),
        spec=spec,
        words=tuple(piece.text for piece in by_field),
        name=named,
        notes=(*reading.notes, *asked.notes, *_unknown_variant_notes(spec.variants, vocabulary, fields=fields)),
    )


def _compilers(vocabulary: Vocabulary) -> frozenset[str]:
    """Return the names that may follow ``%``: Spack's compilers, and the compilers of the binaries in the index."""
    return COMPILERS.union(vocabulary.values("compiler_name"))


def _is_field(variant: Variant) -> bool:
    field = FIELDS.get(variant.name)
    return field is not None and field.is_asked_for and isinstance(variant.value, tuple)


def _field_condition(variant: Variant) -> Piece:
    """Return the condition that a field has one of the given values or, without given values, any value."""
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


def _unknown_variant_notes(variants: Sequence[Variant], vocabulary: Vocabulary, *, fields: bool) -> Iterator[str]:
    """Yield a note for each variant name that no document has, with the name that was probably meant."""
    if not variants:
        return
    known = vocabulary.values("variant_names")
    for name in dict.fromkeys(variant.name for variant in variants):
        if name not in known:
            near = nearest(name, [*known, *_GRAMMAR, *(FIELDS if fields else ())])
            yield f"No package has a variant {name}{f'; did you mean {near}?' if near else '.'}"


# --- words ------------------------------------------------------------------------------------------------------------


class _Way(NamedTuple):
    """One way to interpret words."""

    pieces: tuple[Piece, ...]
    ranks: tuple[Query, ...] = ()
    package: Word | None = None
    """The named package, if the name stands for only one."""
    words: tuple[str, ...] = ()
    """The other conditions, as they were interpreted."""
    notes: tuple[str, ...] = ()

    @property
    def query(self) -> Query:
        return And(tuple(each.query for each in self.pieces))


@dataclass
class _Ways:
    """The ways to interpret words."""

    words: Sequence[Word]
    index: Countable
    vocabulary: Vocabulary
    conditions: Query
    """The conditions of the rest of the query."""
    context: Query
    """The conditions given outside the query's text, which affect only notes."""
    owner: Word | None
    """The word that is directly followed by a version, and therefore belongs to the package's name."""

    @cached_property
    def _meanings(self) -> WordMeanings:
        return WordMeanings(self.vocabulary)

    def best(self) -> _Way:
        """Return the most likely way that has hits, or the most likely way of all if no way has hits.

        Whole names come first, then parts of names or no name at all, then names with typos.
        """
        words = [word.text for word in self.words]
        whole = list(filter(self._includes_owner, by_names(words, self.vocabulary.names)))
        ways = list(map(self._with_name, whole))
        if len(whole) == 1 and not whole[0].others:
            # A name alone means that package, even if none of the package's documents meets the conditions.
            return self._with_note_on_other_fields(ways[0])
        found = self._first_with_hits(ways)
        if found is None:
            parts = list(by_parts(words, self.vocabulary.names))
            others = list(filter(self._includes_owner, parts)) or parts
            more = [self._with_parts([split for split in others if not split.is_mistyped])]
            more += [self._with_name(split) for split in others if split.is_mistyped]
            is_the_only_one = not ways and len(more) == 1
            found = (None if is_the_only_one else self._first_with_hits(more)) or [*ways, *more][0]
            if ways and found not in ways:
                found = found._replace(notes=(*found.notes, self._other_names_note(whole)))
        return self._with_note_on_other_fields(found)

    def _includes_owner(self, split: Split) -> bool:
        return self.owner is None or self.owner.text in split.name

    def _first_with_hits(self, ways: Sequence[_Way]) -> _Way | None:
        counts = self.index.count([And((way.query, self.conditions)) for way in ways])
        return next((way for way, count in zip(ways, counts, strict=True) if count), None)

    def _other_names_note(self, whole: Sequence[Split]) -> str:
        """Return the note that the hits belong to packages other than the named one."""
        names = " or ".join(dict.fromkeys(" ".join(split.name) for split in whole[:_MAX_NAMED]))
        return f"No package called {names} matches the whole query; the hits are packages with other names."

    def _with_name(self, split: Split) -> _Way:
        """Interpret some of the words as a package's name, and the other words as conditions."""
        meant = [match for match in split.matches if match.tier == split.matches[0].tier]
        packages = tuple(match.package for match in meant)
        typed_name = " ".join(split.name)
        text = packages[0] if len(packages) == 1 else typed_name
        piece = Piece(text, self._at(split.name[0]), In("package", packages))
        others = [self._word_condition(word) for word in split.others]
        package = Word(packages[0], piece.at) if len(packages) == 1 else None
        return _Way(
            pieces=(piece, *(each for each, _, _ in others)),
            ranks=_closest_first(_ranks(meant), tuple(close for _, _, close in others if close)),
            package=package,
            words=(*(() if package else (typed_name,)), *(text for _, text, _ in others)),
            notes=tuple(_name_notes(typed_name, meant)),
        )

    def _with_parts(self, splits: Sequence[Split]) -> _Way:
        """Interpret words as parts of names or as conditions. Hits may match any of the splits."""
        text = " ".join(word.text for word in self.words)
        piece = Piece(text, self.words[0].at, Or(tuple(map(self._split_query, splits))))
        return _Way((piece,), _ranks(splits[0].matches, at_all=True), words=(text,))

    def _split_query(self, split: Split) -> Query:
        others = tuple(self._meanings.query(word) for word in split.others)
        if not split.name:
            return And(others)
        return And((In("package", tuple(match.package for match in split.matches)), *others))

    def _word_condition(self, word: str) -> tuple[Piece, str, Query | None]:
        """Return the condition for a word that isn't a name, the word's interpretation, and its closest sense.

        The closest sense is None unless the word also has other senses.
        """
        meanings = list(self._meanings.meanings(word))
        piece = Piece(word, self._at(word), Or(tuple(each.query for each in meanings)))
        close = tuple(each.query for each in meanings if each.is_close)
        text = meanings[0].text if len(meanings) == 1 else word
        return piece, text, Or(close) if 0 < len(close) < len(meanings) else None

    def _with_note_on_other_fields(self, way: _Way) -> _Way:
        """If the only word is a package's name, note how many specs of other packages have it in another field."""
        if len(self.words) != 1 or len(way.pieces) != 1 or not way.package:
            return way
        word = self.words[0].text
        meanings = list(self._meanings.meanings(word))
        elsewhere = And((Or(tuple(each.query for each in meanings)), Not(way.query), self.conditions, self.context))
        (count,) = self.index.count([elsewhere]) if meanings else (0,)
        if not count:
            return way
        asked = " or ".join(dict.fromkeys(each.text for each in meanings))
        specs = "1 spec of another package has" if count == 1 else f"{count:,} specs of other packages have"
        note = f"{specs} {word} in other fields: search for {asked} to see those."
        return way._replace(notes=(*way.notes, note))

    def _at(self, text: str) -> int:
        return next(word.at for word in self.words if word.text == text)


def _ranks(matches: Sequence[Match], *, at_all: bool = False) -> tuple[Query, ...]:
    """Return the packages in groups of equal fit. If ``at_all`` is set, hits may also belong to other packages."""
    groups = [In("package", tuple(group)) for group in grouped(matches)]
    return tuple(groups) if at_all or len(groups) > 1 else ()


def _closest_first(ranks: tuple[Query, ...], close: tuple[Query, ...]) -> tuple[Query, ...]:
    """Within each rank, and among hits of no rank, put the hits first that match words in their closest sense."""
    if not close:
        return ranks
    of_each = [part for rank in ranks for part in (And((rank, *close)), rank)]
    return (*of_each, And(close))


def _name_notes(name: str, matches: Sequence[Match]) -> Iterator[str]:
    """Yield a note on which package a name stands for, unless the name is the package's own."""
    named = " or ".join(match.package for match in matches[:_MAX_NAMED])
    left = len(matches) - _MAX_NAMED
    more = f" or {left:,} other{'s' if left > 1 else ''}" if left > 0 else ""
    if matches[0].why == "typo":
        yield f"No package is called {name}; {named}{more} is near."
    elif matches[0].why == "alias" or _leaves_out(name, matches):
        yield f"{name} is read as {named}{more}."


def _leaves_out(name: str, matches: Sequence[Match]) -> bool:
    """Whether a part of the typed name occurs in none of the names of the packages that were found for it."""
    return any(all(part not in plain(match.package) for match in matches) for part in parts(name))

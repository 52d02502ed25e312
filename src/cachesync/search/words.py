"""Find the meanings of words that don't name a package: the fields and values that match the words.

The fields have few values, so words are compared with the values here, and the engine is asked for exact values.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from cachesync.documents import SHORT_HASH, todays_name
from cachesync.pages.version import INFINITY_WORDS, version_range
from cachesync.search.conditions import of_hash
from cachesync.search.informal import names_and_versions
from cachesync.search.parser import HASH_LENGTH
from cachesync.search.query import And, In, Or, Query, Range, Term
from cachesync.search.vocabulary import Vocabulary, comparable

_FIELDS: Final = ("os", "target", "platform", "stacks", "tag", "compiler_name")
"""Fields whose values may be typed in full or in part."""

_COMPOSED: Final = frozenset({"stacks", "tag"})
"""The fields whose values consist of several words."""

_VERSION: Final = re.compile(r"v?(\d[\w.\-]*)", re.IGNORECASE)
_HASH: Final = re.compile(rf"[a-z2-7]{{{SHORT_HASH},{HASH_LENGTH}}}")
_RANGE: Final = re.compile(r"(?=.*\d)(?:v?(\d[\w.\-]*))?:(?:v?(\d[\w.\-]*))?")
_DIGIT: Final = re.compile(r"\d")
_DAY: Final = re.compile(r"\d{1,2}")
"""A number that may be part of a tag's date but isn't meant as a date."""

_AROUND: Final = re.compile(r"^\W+|[^\w+]+$")
_MIN_PART: Final = 2
"""The minimum number of characters that can match a part of a value."""


class Meaning(NamedTuple):
    """One meaning of a word."""

    text: str
    """The unambiguous way to write the meaning."""
    query: Query
    is_close: bool = True
    """Whether people usually mean this. False for parts of a tag's or stack's name and for versions of compilers."""


class WordMeanings:
    """The meanings of words in an index."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        vocabulary.look_up((*_FIELDS, "variant_names", "variant_values"))
        self._values = vocabulary.values
        self._variants_by_word = vocabulary.variants_by_word

    def query(self, word: str) -> Query:
        """Return the query for all meanings of a word. If the word has no meaning, no document matches."""
        return Or(tuple(each.query for each in self.meanings(word)))

    def meanings(self, word: str) -> Iterator[Meaning]:
        """Yield the meanings of a word. Punctuation around the word is ignored."""
        if between := _RANGE.fullmatch(word):
            yield from _of_version("@", "version_key", between[1], between[2])  # compilers may have any version
            return
        word = _AROUND.sub("", word)
        for field in _FIELDS:
            if found := self._fitting(field, word):
                is_close = field not in _COMPOSED or any(comparable(word) == comparable(value) for value in found)
                yield Meaning(_asked(field, found), In(field, found), is_close)
        yield from self._compilers(word)
        yield from self._versions(word)
        yield from self._variants(word)
        if _HASH.fullmatch(word.lower()) and (_DIGIT.search(word) or len(word) == HASH_LENGTH):
            yield Meaning(f"/{word.lower()}", of_hash(word))

    def _fitting(self, field: str, word: str) -> tuple[str, ...]:
        typed = comparable(word)
        if field == "tag" and _DAY.fullmatch(typed):
            return ()
        return tuple(value for value in self._values(field) if _fits(typed, comparable(value)))

    def _compilers(self, word: str) -> Iterator[Meaning]:
        """Yield compilers that are typed by a former name or with a version: ``clang``, ``gcc12``."""
        name, _, version = word.lower().partition("@")
        known = self._values("compiler_name")
        for prefix, suffix in names_and_versions(name):
            if todays_name(prefix) in known:
                name, version = prefix, suffix
        current = todays_name(name)
        if current not in known:
            return
        if version:
            key = Range("compiler_version_key", *version_range(version, version))
            yield Meaning(f"%{current}@{version}", And((Term("compiler_name", current), key)))
        elif current != name:
            yield Meaning(f"%{current}", Term("compiler_name", current))

    def _versions(self, word: str) -> Iterator[Meaning]:
        match = _VERSION.fullmatch(word)
        version = match[1] if match else word.lower()
        if match or version in INFINITY_WORDS:
            yield from _of_version("@", "version_key", version, version)
            of_compiler = _of_version("%@", "compiler_version_key", version, version)
            yield from (each._replace(is_close=False) for each in of_compiler)

    def _variants(self, word: str) -> Iterator[Meaning]:
        if either := self._variants_by_word.get(comparable(word)):
            yield Meaning(" or ".join(either), In("variant_values", tuple(either)))


def _of_version(sign: str, field: str, low: str | None, high: str | None) -> Iterator[Meaning]:
    """Yield the meaning as a range of versions unless the range is empty."""
    try:
        keys = version_range(low, high)
    except ValueError:
        return
    text = low if low == high else f"{low or ''}:{high or ''}"
    yield Meaning(f"{sign}{text}", Range(field, *keys))


def _asked(field: str, values: tuple[str, ...]) -> str:
    if field == "compiler_name" and len(values) == 1:
        return f"%{values[0]}"
    return f"{field}={','.join(values)}"


def _fits(typed: str, value: str) -> bool:
    """Whether a word is a value or a part of one: letters match where letters begin, digits only as a whole number."""
    if typed == value:
        return True
    if len(typed) < _MIN_PART:
        return False
    start = value.find(typed)
    while start >= 0:
        if _begins(value, start) and _ends(value, start + len(typed)):
            return True
        start = value.find(typed, start + 1)
    return False


def _begins(text: str, place: int) -> bool:
    return place == 0 or _kind(text[place - 1]) != _kind(text[place])


def _ends(text: str, place: int) -> bool:
    """Whether a word may end here. More letters may follow because words may be typed in part, but not more digits."""
    return place == len(text) or not (text[place - 1].isdigit() and text[place].isdigit())


def _kind(character: str) -> int:
    return 1 if character.isdigit() else 2 if character.isalpha() else 0

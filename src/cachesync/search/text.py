"""Free text → the tree: what a person types into a search box."""

import re
from typing import Final

from cachesync.documents import FIELDS
from cachesync.errors import UsageError
from cachesync.search.query import All, And, Or, Prefix, Query, Term, Words
from cachesync.search.request import Request, as_stored, check_text

_BETWEEN: Final = (
    r"\x00-\xA8\xAB\xAC\xAF-\xB4\xB6-\xB9\xBB-\xBF\xD7\xF7"
    r"\u2000-\u200B\u2010-\u2029\u2030-\u203B\u203D\u203E\u2041-\u2048\u204A-\u2053\u2055-\u205F"
)
"""ASCII, and what typeset text has between words: quotes, dashes, blanks [as Elasticsearch 9.5 splits]."""

_IN_LETTERS: Final = r".:'\xB7\u2018\u2019\u2024\u2027"
_IN_DIGITS: Final = r".,;'\u2018\u2019\u2024"
_PART: Final = rf"[A-Za-z](?:[{_IN_LETTERS}][A-Za-z])*|[0-9](?:[{_IN_DIGITS}][0-9])*|[^{_BETWEEN}]"
WORD: Final = rf"_*(?:{_PART})(?:{_PART}|_)*"
"""A word of a text field, by the rules of Unicode annex 29 for ASCII: ``py-pip@24.3.1`` has py, pip and 24.3.1."""

MAX_CHARACTERS: Final = 1_000
"""Of a query. So much is never typed, and its cost grows with every word."""

_WORD: Final = re.compile(WORD)
_SWITCH: Final = re.compile(r"(?:^|(?<=[\w.]))[+~][A-Za-z0-9_][\w-]*|^-[A-Za-z0-9_][\w-]*")


def words(text: str) -> list[str]:
    """Split text as the text fields of an index are split."""
    return [word.lower() for word in _WORD.findall(text)]


def search(text: str) -> Request:
    """Ask for the documents in which each word of ``text`` occurs.

    The last part of a word may be typed in part: ``py-p`` is py, followed by something that begins with p. A word is
    looked for in the spec (package, version, variants, platform, os, target, compiler), in the tag, the stacks and the
    hash. ``+mpi``, ``~mpi`` (or ``-mpi``) and ``key=value`` are variants, ``target=zen4`` also a field, ``/abc`` a
    hash, and ``@=`` is as good as ``@``. Documents whose package is called like a word come first, then those with it
    as parts of the name (``mkl`` in ``intel-oneapi-mkl``), then those where such a part is begun. No text, or ``*``,
    finds everything.

    Raises:
        UsageError: text without a word, not UTF-8, or longer than :data:`MAX_CHARACTERS`.
    """
    if len(text) > MAX_CHARACTERS:
        raise UsageError(f"the query has {len(text):,} characters: expected at most {MAX_CHARACTERS:,}")
    check_text("the query", text)
    typed = dict.fromkeys(text.split())
    switches = [switch for word in typed for switch in _SWITCH.findall(word)]
    plain = [rest for word in typed if (rest := _SWITCH.sub("", word)) and words(rest)]
    parts = [Term("variants", re.sub("^-", "~", switch)) for switch in switches] + [_somewhere(word) for word in plain]
    if not parts:
        if text.strip() not in ("", "*"):
            raise UsageError(
                f"the query {text.strip()!r:.80} has no word to look for; without a query everything is found"
            )
        return Request(All())
    split = [tuple(words(word)) for word in plain]
    ranks = (
        Or(tuple(Term("package", name) for word in plain for name in _spellings(word))),
        Or(tuple(Words("package.text", each, begun=False) for each in split)),
        Or(tuple(Words("package.text", each) for each in split)),
    )
    return Request(And(tuple(parts)), ranks if plain else ())


def _somewhere(word: str) -> Query:
    if word.startswith("/"):
        return Prefix("hash", word[1:].lower())
    key, equals, value = word.partition("=")
    if equals and key != "arch" and not key.endswith("@"):
        return _key_and_value(key.removesuffix(":"), value)
    found: list[Query] = [Words("spec", tuple(words(word)))]
    found += [Prefix(field, start) for field in ("tag", "stacks", "hash") for start in _spellings(word)]
    return Or(tuple(found))


def _key_and_value(key: str, value: str) -> Query:
    """A variant, which pages write with ``=`` or ``:=`` and sometimes in quotes, or a field."""
    found = [Term("variants", f"{key}{sign}{text}") for sign in ("=", ":=") for text in (value, f"'{value}'")]
    if key in FIELDS and FIELDS[key].kind == "keyword":
        found.append(Term(key, as_stored(key, value)))
    return Or(tuple(found))


def _spellings(word: str) -> list[str]:
    """Return a word as typed and in small letters."""
    return list(dict.fromkeys((word, word.lower())))

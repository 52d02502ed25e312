"""Free text → the tree: what a person types into a search box."""

import re
from typing import Final

from cachesync.documents import FIELDS
from cachesync.errors import UsageError
from cachesync.search.query import All, And, Or, Prefix, Query, Term, Words
from cachesync.search.request import Request, check_text

WORD: Final = r"(?:[A-Za-z](?:[.:'][A-Za-z])*|[0-9](?:[.,;'][0-9])*|_|[^\x00-\x7F])+"
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
    hash. Documents whose package is called like a word come first, then those with it as parts of the name (``mkl`` in
    ``intel-oneapi-mkl``), then those where such a part is begun. Without any word everything is found.

    Raises:
        UsageError: a character that isn't UTF-8, or more than :data:`MAX_CHARACTERS`.
    """
    if len(text) > MAX_CHARACTERS:
        raise UsageError(f"the query has {len(text):,} characters: expected at most {MAX_CHARACTERS:,}")
    check_text("the query", text)
    typed = dict.fromkeys(text.split())
    switches = [switch for word in typed for switch in _SWITCH.findall(word)]
    plain = [rest for word in typed if (rest := _SWITCH.sub("", word)) and words(rest)]
    parts = [Term("variants", re.sub("^-", "~", switch)) for switch in switches] + [_somewhere(word) for word in plain]
    if not parts:
        return Request(All())
    split = [tuple(words(word)) for word in plain]
    ranks = (
        Or(tuple(Term("package", word.lower()) for word in plain)),
        Or(tuple(Words("package.text", each, begun=False) for each in split)),
        Or(tuple(Words("package.text", each) for each in split)),
    )
    return Request(And(tuple(parts)), ranks if plain else ())


def _somewhere(word: str) -> Query:
    if word.startswith("/"):
        return Prefix("hash", word[1:].lower())
    found: list[Query] = [Words("spec", tuple(words(word)))]
    found += [Prefix(field, word.lower()) for field in ("tag", "stacks", "hash")]
    key, equals, value = word.partition("=")
    if equals:
        found.append(Term("variants", word))
        if key in FIELDS and FIELDS[key].kind == "keyword":
            found.append(Term(key, value))
    return Or(tuple(found))

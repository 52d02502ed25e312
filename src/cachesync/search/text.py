"""Free text → the tree: what a person types into a search box."""

import re
from typing import Final

from cachesync.search.query import All, And, Or, Prefix, Query, Term
from cachesync.search.request import DEFAULT_ORDER, Request

WORD: Final = r"(?:[A-Za-z](?:[.:'][A-Za-z])*|[0-9](?:[.,;'][0-9])*|_|[^\x00-\x7F])+"
"""A word of a text field, by the rules of Unicode annex 29 for ASCII: ``py-pip@24.3.1`` has py, pip and 24.3.1."""

_WORD: Final = re.compile(WORD)
_SWITCH: Final = re.compile(r"(?:^|(?<=[\w.]))[+~][A-Za-z0-9_][\w-]*")


def words(text: str) -> list[str]:
    """Split text as the text fields of an index are split."""
    return [word.lower() for word in _WORD.findall(text)]


def search(text: str) -> Request:
    """Ask for the documents in which each word of ``text`` occurs.

    A word may be typed in part: it matches the beginning of a word of the spec (its package, version, variants,
    platform, os, target and compiler), of the tag, of a stack or of the hash. ``+mpi``, ``~mpi`` and ``key=value``
    are variants and match whole. Documents whose package has a word of the text as its name come first, then those
    with it as a part of the name (``mkl`` in ``intel-oneapi-mkl``), then those where a part starts with it. Without
    any word everything is found.
    """
    typed = text.split()
    switches = [switch for word in typed for switch in _SWITCH.findall(word)]
    plain = [rest for word in typed if (rest := _SWITCH.sub("", word)) and words(rest)]
    parts = [Term("variants", switch) for switch in switches] + [_somewhere(word) for word in plain]
    if not parts:
        return Request(All())
    ranks = (
        Or(tuple(Term("package", word.lower()) for word in plain)),
        Or(tuple(And(tuple(Term("package.text", part) for part in words(word))) for word in plain)),
        Or(tuple(And(tuple(Prefix("package.text", part) for part in words(word))) for word in plain)),
    )
    return Request(And(tuple(parts)), ranks if plain else (), order=DEFAULT_ORDER)


def _somewhere(word: str) -> Query:
    spec = And(tuple(Prefix("spec", part) for part in words(word)))
    elsewhere = [Prefix(field, word.lower()) for field in ("tag", "stacks", "hash")]
    variants = [Term("variants", word)] if "=" in word else []
    return Or((spec, *elsewhere, *variants))

"""Tokenize Spack's query language: text → tokens."""

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Final, NamedTuple

from cachesync.errors import QueryError

MAX_CHARACTERS: Final = 1_000
"""The maximum number of characters in a query; nobody types this many."""


class Kind(StrEnum):
    """The kind of a token."""

    EDGE_START = "edge_start"
    EDGE_END = "edge_end"
    DEPENDENCY = "dependency"
    GIT_VERSION = "git_version"
    VERSIONS = "versions"
    PROPAGATED_SWITCH = "propagated_switch"
    SWITCH = "switch"
    PROPAGATED_KEY = "propagated_key"
    KEY = "key"
    FILE = "file"
    DOTTED_NAME = "dotted_name"
    NAME = "name"
    HASH = "hash"
    WHITESPACE = "whitespace"


class Token(NamedTuple):
    """A token of a query."""

    kind: Kind
    text: str
    at: int
    """The position of the token's first character, counted from 1."""

    @property
    def end(self) -> int:
        """The position of the character after the token."""
        return self.at + len(self.text)


_IDENTIFIER: Final = "[A-Za-z0-9_][A-Za-z0-9_-]*"
_DOTTED: Final = rf"{_IDENTIFIER}(?:\.{_IDENTIFIER})+"
_KEY: Final = "[A-Za-z0-9_][A-Za-z0-9_.-]*"
_ASSIGNMENT: Final = rf"{_IDENTIFIER}(?:,{_IDENTIFIER})*=(?:{_DOTTED}|{_IDENTIFIER})"
_PLAIN_VALUE: Final = r"[A-Za-z0-9_.,:=%^+~/*\\-]+"
_QUOTED_VALUE: Final = r"""'(?:[^'\\]|\\'?+)*'|"(?:[^"\\]|\\"?+)*\""""
"""A backslash before the quotation mark escapes it; any other backslash is part of the value."""

_VALUE: Final = f"(?:{_PLAIN_VALUE}|{_QUOTED_VALUE})"

_VERSION: Final = "(?>=?[A-Za-z0-9_]+(?:[.-]+[A-Za-z0-9_]+)*)"
_RANGE: Final = rf"(?:{_VERSION})?:(?:{_VERSION}(?!\s*:?=))?"
"""A word before ``=`` is a key, not the end of a range: ``@1.2:target=zen3``."""

_ITEM: Final = f"(?:{_RANGE}|{_VERSION})"
_GIT: Final = r"(?:git\.[A-Za-z0-9_][A-Za-z0-9_./-]*|[A-Fa-f0-9]{40}(?![A-Za-z0-9_]))"

_PATTERNS: Final = {
    Kind.EDGE_START: r"(?:\^|%%?)\[",
    Kind.EDGE_END: rf"\](?:\s*{_ASSIGNMENT})?",
    Kind.DEPENDENCY: rf"(?:\^|%%?)(?:\s*{_ASSIGNMENT})?",
    Kind.GIT_VERSION: f"@{_GIT}(?:=(?!=){_ITEM})?",
    Kind.VERSIONS: rf"@\s*{_ITEM}(?:\s*,\s*{_ITEM})*",
    Kind.PROPAGATED_SWITCH: rf"(?:\+\+|~~|--)\s*{_KEY}",
    Kind.SWITCH: rf"[+~-]\s*{_KEY}",
    Kind.PROPAGATED_KEY: f"{_KEY}:?=={_VALUE}",
    Kind.KEY: f"{_KEY}:?={_VALUE}",
    Kind.FILE: r"(?:\.|[A-Za-z0-9_-]*/)[A-Za-z0-9_./-]*(?:\.json|\.yaml)",
    Kind.DOTTED_NAME: _DOTTED,
    Kind.NAME: rf"{_IDENTIFIER}|\*",
    Kind.HASH: "/[A-Za-z0-9_]+",
    Kind.WHITESPACE: r"\s+",
}
"""The pattern of each kind of token. The first pattern that matches is used [Spack 1.1, ``spack.spec_parser``]."""

_TOKEN: Final = re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in _PATTERNS.items()))
_SURROGATES: Final = re.compile("[\ud800-\udfff]")


def require_text(text: str) -> None:
    """Check that a query is short enough and was UTF-8.

    Raises:
        QueryError: the query is too long, or was not UTF-8.
    """
    if len(text) > MAX_CHARACTERS:
        raise QueryError(MAX_CHARACTERS + 1, f"expected at most {MAX_CHARACTERS:,} characters, not {len(text):,}")
    if broken := _SURROGATES.search(text):
        raise QueryError(broken.start() + 1, "expected text in UTF-8")


def tokens(text: str) -> Iterator[Token]:
    """Split a query into its tokens, without whitespace.

    Raises:
        QueryError: the query is too long, was not UTF-8, or has a character that can't begin a token. The error about
            such a character is raised only when the iterator reaches the character.
    """
    require_text(text)
    position = 0
    while match := _TOKEN.match(text, position):
        kind = Kind(match.lastgroup or "")
        if kind is not Kind.WHITESPACE:
            yield Token(kind, match[0], position + 1)
        position = match.end()
    if position < len(text):
        raise QueryError(position + 1, f"unexpected {text[position]!r}; expected {_expected(text, position)}")


_EXPECTED: Final = {
    "@": "a version after @, such as @1.2, @1.2:1.4, @=1.2 or @git.main",
    **{sign: f"the name of a variant after {sign}" for sign in "+~-"},
    "/": "the beginning of a hash after /",
    ":": "ranges after @ or target= and without spaces, such as @1.2:1.4",
    ",": "lists after @ or =, such as @1.2,1.4 or languages=c,c++",
    "<": "a range of targets as target=:zen3, of versions as @:1.4",
    ">": "a range of targets as target=zen3:, of versions as @1.2:",
    "[": "[ right after % or ^",
    **dict.fromkeys("'\"", "quotes right after ="),
}


def _expected(text: str, position: int) -> str:
    """Return what was expected in place of a character that can't begin a token."""
    if text[position] == "=":
        if text[position + 1 : position + 2] in ("'", '"'):
            return f"a closing {text[position + 1]} after the value"
        return "KEY=VALUE without spaces"
    return _EXPECTED.get(text[position], "a name, @version, +variant, ~variant, key=value, %compiler or /hash")

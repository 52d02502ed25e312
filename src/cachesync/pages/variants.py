"""Variants: from the notation of pages to the values that queries ask for.

A page writes ``+mpi``, ``build_type=Release``, ``languages='c,c++'`` or, from 2025-03-30 on, ``languages:=c,c++``. A
query asks whether a variant is on, whether it has a certain value, or whether its values are exactly these.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

_SIGNS: Final = frozenset("+~-")


class Variants(NamedTuple):
    """The names and values by which a spec's variants can be found."""

    names: list[str]
    values: list[str]
    """``+mpi`` or ``~mpi``; ``key=value`` for each value; and :func:`several` and :func:`exactly` for a variant with
    several values."""


def variants(written: Iterable[str]) -> Variants:
    """Parse the variants of a spec."""
    found = Variants([], [])
    for each in written:
        name, values = _read(each)
        found.names.append(name)
        found.values.extend(values)
    return found


def switched(name: str, *, on: bool) -> str:
    """Return the value in documents for a boolean variant that is on, or off."""
    return f"{'+' if on else '~'}{name}"


def several(name: str) -> str:
    """Return the value in documents for a variant with several values."""
    return f"{name}:=*"


def exactly(name: str, values: Iterable[str]) -> str:
    """Return the value in documents for a variant that has exactly these values, several of them."""
    return f"{name}:={','.join(sorted(set(values)))}"


_BOOLEANS: Final = {"true": True, "false": False}


@lru_cache(maxsize=65_536)
def _read(written: str) -> tuple[str, tuple[str, ...]]:
    if written[:1] in _SIGNS:
        name = written[1:]
        return name, (switched(name, on=written[0] == "+"),)
    name, equals, rest = written.partition("=")
    if not equals:  # neither a switch nor a key with a value: Spack doesn't write this
        return name, ()
    name = name.removesuffix(":")
    values = dict.fromkeys(_unquoted(rest).split(","))
    if len(values) == 1 and (on := _BOOLEANS.get(next(iter(values)).lower())) is not None:
        return name, (switched(name, on=on),)
    each = tuple(f"{name}={value}" for value in values)
    return name, (*each, several(name), exactly(name, values)) if len(values) > 1 else each


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text

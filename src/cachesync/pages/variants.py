"""Translate variants from the notation of pages to the values that queries ask for.

A page writes ``+mpi``, ``build_type=Release``, ``languages='c,c++'`` or, from 2025-03-30 on, ``languages:=c,c++``. A
query asks whether a variant is on, whether it has a certain value, or whether it has exactly the given values.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

_SIGNS: Final = frozenset("+~-")


class Variants(NamedTuple):
    """The names and values by which a spec's variants can be found."""

    names: list[str]
    values: list[str]
    """``+mpi`` or ``~mpi`` for a Boolean variant; ``key=value`` for each value of another variant, followed by the
    results of :func:`several` and :func:`exactly` if the variant has several values."""


def variants(written: Iterable[str]) -> Variants:
    """Parse the variants of a spec."""
    found = Variants([], [])
    for each in written:
        name, values = _read(each)
        found.names.append(name)
        found.values.extend(values)
    return found


def switched(name: str, *, on: bool) -> str:
    """Return the value that documents contain for a Boolean variant that is on or off."""
    return f"{'+' if on else '~'}{name}"


def several(name: str) -> str:
    """Return the value that documents contain for every variant that has several values."""
    return f"{name}:=*"


def exactly(name: str, values: Iterable[str]) -> str:
    """Return the value that documents contain for a variant whose values are exactly these, if there are several."""
    return f"{name}:={','.join(sorted(set(values)))}"


_BOOLEANS: Final = {"true": True, "false": False}


@lru_cache(maxsize=65_536)
def _read(written: str) -> tuple[str, tuple[str, ...]]:
    if written[:1] in _SIGNS:
        name = written[1:]
        return name, (switched(name, on=written[0] == "+"),)
    name, equals, rest = written.partition("=")
    if not equals:  # neither a Boolean variant nor a key with a value: Spack doesn't write this
        return name, ()
    name = name.removesuffix(":")
    values = dict.fromkeys(_unquoted(rest).split(","))
    if len(values) == 1 and (on := _BOOLEANS.get(next(iter(values)).lower())) is not None:
        return name, (switched(name, on=on),)
    each = tuple(f"{name}={value}" for value in values)
    return name, (*each, several(name), exactly(name, values)) if len(values) > 1 else each


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text

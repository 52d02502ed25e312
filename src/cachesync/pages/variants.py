"""Variants as pages write them, and as queries ask for them.

A page writes ``+mpi``, ``build_type=Release``, ``languages='c,c++'`` or, from 2025-03-30 on, ``languages:=c,c++``. A
query asks whether a variant is on, whether one of its values is a certain one, or whether its values are exactly these.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

_SIGNS: Final = frozenset("+~-")


class Variants(NamedTuple):
    """What a spec's variants can be asked for by."""

    names: list[str]
    values: list[str]
    """``+mpi`` or ``~mpi``; ``key=value`` for each value; and of a variant with several values :func:`several` and
    :func:`exactly`."""


def variants(written: Iterable[str]) -> Variants:
    """Read the variants of a spec."""
    found = Variants([], [])
    for each in written:
        name, values = _read(each)
        found.names.append(name)
        found.values.extend(values)
    return found


def switched(name: str, *, on: bool) -> str:
    """Return what a document has where a boolean variant is on, or off."""
    return f"{'+' if on else '~'}{name}"


def valued(name: str, value: str) -> str:
    """Return what a document has where one of a variant's values is this."""
    return f"{name}={value}"


def several(name: str) -> str:
    """Return what a document has where a variant has several values."""
    return f"{name}:=*"


def exactly(name: str, values: Iterable[str]) -> str:
    """Return what a document has where a variant has just these values, several of them."""
    return f"{name}:={','.join(sorted(set(values)))}"


def as_switch(value: str) -> bool | None:
    """Tell whether a value turns a variant on or off; None: it is no boolean."""
    return _BOOLEANS.get(value.lower())


_BOOLEANS: Final = {"true": True, "false": False}


@lru_cache(maxsize=65_536)
def _read(written: str) -> tuple[str, tuple[str, ...]]:
    if written[:1] in _SIGNS:
        name = written[1:]
        return name, (switched(name, on=written[0] == "+"),)
    name, equals, rest = written.partition("=")
    if not equals:  # neither on nor off nor one of several: nothing that Spack writes
        return name, ()
    name = name.removesuffix(":")
    values = dict.fromkeys(_unquoted(rest).split(","))
    if len(values) == 1 and (on := as_switch(*values)) is not None:
        return name, (switched(name, on=on),)
    each = tuple(valued(name, value) for value in values)
    return name, (*each, several(name), exactly(name, values)) if len(values) > 1 else each


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text

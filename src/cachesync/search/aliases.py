"""Read tables of aliases: other names by which people know Spack's packages."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from cachesync.errors import UsageError
from cachesync.search.typos import plain

_TABLE: Final = Path(__file__).with_name("aliases.txt")
_EXPECTED: Final = "expected NAME…: PACKAGE…"

Aliases = Mapping[str, tuple[str, ...]]
"""The packages of each alias, the preferred first. Aliases are normalized by :func:`cachesync.search.typos.plain`."""


def load_aliases(more: Iterable[str] = (), source: str = "aliases") -> Aliases:
    """Return the built-in table, extended and overridden by the lines of a user's table.

    The lines have the form that aliases.txt describes. ``source`` is the name of the user's table in errors.

    Raises:
        UsageError: a line has a different form. The error names the line.
    """
    with _TABLE.open(encoding="utf-8") as lines:
        return read_aliases(lines, _TABLE.name) | read_aliases(more, source)


def read_aliases(lines: Iterable[str], source: str) -> dict[str, tuple[str, ...]]:
    """Read a table of aliases.

    Raises:
        UsageError: a line has no alias or no package, or repeats an alias of an earlier line.
    """
    table: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(lines, start=1):
        for alias, packages in _entries(line, f"{source}, line {number}"):
            if alias in table:
                raise UsageError(f"{source}, line {number}: {alias} is already in an earlier line: expected it once")
            table[alias] = packages
    return table


def _entries(line: str, place: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    text = line.partition("#")[0].strip()
    if not text:
        return
    aliases, colon, packages = text.partition(":")
    if not (colon and aliases.split() and packages.split()):
        raise UsageError(f"{place}: {text!r:.80} has no colon with names on both sides: {_EXPECTED}")
    for alias in aliases.split():
        if not plain(alias):
            raise UsageError(f"{place}: {alias!r:.80} has no letter and no digit: {_EXPECTED}")
        yield plain(alias), tuple(packages.split())

"""What a shell offers for the word that is being typed: fields, and where an index is at hand, values.

Nothing is said of what goes wrong: whoever presses Tab has asked for nothing yet.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import click

from cachesync.commands.components import Components
from cachesync.context import within
from cachesync.documents import FIELDS
from cachesync.errors import CachesyncError
from cachesync.index.base import Reader
from cachesync.search.request import LATEST

Complete = Callable[[click.Context, click.Parameter, str], list[str]]
"""Returns what begins like what is typed, as click asks for it."""

_SECONDS: Final = 0.2
"""So long the index is waited for."""

_MOST: Final = 200
"""So many values are offered; of more, none is found by looking at them."""

_MANY: Final = frozenset({"binary", "hash", "short_hash", "page"})
"""Fields with about as many values as there are documents."""

_LEAST_OF_MANY: Final = 2
"""So many characters of such a value are typed before others are looked for."""

_SIGNS: Final = {"+": "variant_names", "~": "variant_names", "%": "compiler_name", "/": "hash"}
"""What stands behind a sign of Spack's grammar, at the beginning of a word."""

_GRAMMAR: Final = ("os", "target", "platform", "tag", "stacks", "package", "version", "compiler")
"""Keys of a query that are offered."""


def fields(*, many: bool = True, numbers: bool = True, ending: str = "") -> Complete:
    """Complete the name of a field.

    Args:
        many: also fields that have several values.
        numbers: also fields that are numbers.
        ending: what stands behind it.
    """
    names = [
        name
        for name, field in FIELDS.items()
        if field.is_asked_for and (many or not field.many) and (numbers or field.kind != "long")
    ]
    return lambda _context, _parameter, typed: [f"{name}{ending}" for name in names if name.startswith(typed)]


def order(context: click.Context, parameter: click.Parameter, typed: str) -> list[str]:
    """Complete ``FIELD`` or ``FIELD:desc``."""
    name, colon, direction = typed.partition(":")
    if not colon:
        return fields(many=False)(context, parameter, typed)
    return [f"{name}:{each}" for each in ("asc", "desc") if each.startswith(direction)]


def columns(names: Sequence[str]) -> Complete:
    """Complete the last of several names with commas between them."""

    def complete(_context: click.Context, _parameter: click.Parameter, typed: str) -> list[str]:
        before, comma, last = typed.rpartition(",")
        return [f"{before}{comma}{name}" for name in names if name.startswith(last)]

    return complete


def filters(context: click.Context, parameter: click.Parameter, typed: str) -> list[str]:
    """Complete ``FIELD=VALUE``."""
    field, equals, value = typed.partition("=")
    if not equals:
        return fields(ending="=")(context, parameter, typed)
    return [f"{field}={each}" for each in _values(context, field, value)]


def tags(context: click.Context, _parameter: click.Parameter, typed: str) -> list[str]:
    """Complete a tag."""
    return _values(context, "tag", typed)


def tags_or_latest(context: click.Context, parameter: click.Parameter, typed: str) -> list[str]:
    """Complete a tag, or the word for the newest."""
    latest = [LATEST] if LATEST.startswith(typed) else []
    return [*latest, *tags(context, parameter, typed)]


def hashes(context: click.Context, _parameter: click.Parameter, typed: str) -> list[str]:
    """Complete a hash, with or without a slash before it."""
    slash = "/" if typed.startswith("/") else ""
    return [f"{slash}{each}" for each in _values(context, "hash", typed.removeprefix("/"))]


def query(context: click.Context, _parameter: click.Parameter, typed: str) -> list[str]:
    """Complete a word of a query: a package, or what is asked of it."""
    if typed[:1] in _SIGNS:
        return [f"{typed[0]}{each}" for each in _values(context, _SIGNS[typed[0]], typed[1:])]
    key, equals, value = typed.partition("=")
    if equals and key in FIELDS:
        return [f"{key}={each}" for each in _values(context, key, value)]
    if equals:
        start = f"{key}={value}"
        return [each for each in _values(context, "variant_values", start) if ":=" not in each]
    keys = [f"{name}=" for name in _GRAMMAR if typed and name.startswith(typed)]
    return [*_values(context, "package", typed), *keys]


def _values(context: click.Context, field: str, start: str) -> list[str]:
    """Return the values of a field that begin so, if an index is at hand. A server isn't asked while somebody types."""
    if field not in FIELDS or (field in _MANY and len(start) < _LEAST_OF_MANY) or context.params.get("server"):
        return []
    file: Path | None = context.find_root().params.get("config_file")
    try:
        with within(_SECONDS):
            return _beginning(Components(file, quiet=True).reader(), field, start)
    except (CachesyncError, OSError):
        return []


def _beginning(reader: Reader, field: str, start: str) -> list[str]:
    folded = start.lower() if FIELDS[field].any_case else start
    return reader.vocabulary(field, folded)[:_MOST]

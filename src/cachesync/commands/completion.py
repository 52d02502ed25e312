"""Shell completion: offers fields and, if the index can be read, values for the word being typed.

Errors are not reported: pressing Tab must not print anything.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import click
from click.shell_completion import BashComplete, CompletionItem, add_completion_class, split_arg_string

from cachesync.commands.components import Components
from cachesync.context import within
from cachesync.documents import FIELDS
from cachesync.errors import CachesyncError
from cachesync.search.request import LATEST

Complete = Callable[[click.Context, click.Parameter, str], list[str]]
"""A function with the signature that click expects, which returns the completions of the text typed so far."""

_TIMEOUT_SECONDS: Final = 0.2
"""How long to wait for the index."""

_MAX_VALUES: Final = 200
"""The maximum number of values that are offered. Users don't find a value by reading a longer list."""

_HIGH_CARDINALITY: Final = frozenset({"binary", "hash", "short_hash", "page"})
"""Fields with about as many values as there are documents."""

_MIN_TYPED: Final = 2
"""How many characters must be typed before the values of a high-cardinality field are looked up."""

_SIGIL_FIELDS: Final = {"+": "variant_names", "~": "variant_names", "%": "compiler_name", "/": "hash"}
"""The sigils of Spack's grammar that may begin a word, each with the field whose values follow the sigil."""

_QUERY_KEYS: Final = ("os", "target", "platform", "tag", "stacks", "package", "version", "compiler")
"""The keys that are offered in a query."""

_BASH_BREAKS: Final = frozenset("=:@")


def fields(*, many: bool = True, numbers: bool = True, ending: str = "") -> Complete:
    """Return a completer of field names: ``many`` includes fields with several values, ``numbers`` numeric ones."""
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
    """Return a completer for a comma-separated list of names, which completes the last name."""

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
    """Complete a tag, or the keyword for the newest tag."""
    latest = [LATEST] if LATEST.startswith(typed) else []
    return [*latest, *tags(context, parameter, typed)]


def hashes(context: click.Context, _parameter: click.Parameter, typed: str) -> list[str]:
    """Complete a hash, with or without a leading slash."""
    slash = "/" if typed.startswith("/") else ""
    return [f"{slash}{each}" for each in _values(context, "hash", typed.removeprefix("/"))]


def query(context: click.Context, _parameter: click.Parameter, typed: str) -> list[str]:
    """Complete a word of a query: a package, or a condition on it."""
    if typed[:1] in _SIGIL_FIELDS:
        return [f"{typed[0]}{each}" for each in _values(context, _SIGIL_FIELDS[typed[0]], typed[1:])]
    key, equals, value = typed.partition("=")
    if equals and key in FIELDS:
        return [f"{key}={each}" for each in _values(context, key, value)]
    if equals:
        start = f"{key}={value}"
        return [each for each in _values(context, "variant_values", start) if ":=" not in each]
    keys = [f"{name}=" for name in _QUERY_KEYS if typed and name.startswith(typed)]
    return [*_values(context, "package", typed), *keys]


def _values(context: click.Context, field: str, start: str) -> list[str]:
    """Return the values of a field that begin with ``start``, if the index can be read. A --server is never queried."""
    is_too_short = field in _HIGH_CARDINALITY and len(start) < _MIN_TYPED
    if field not in FIELDS or is_too_short or context.params.get("server"):
        return []
    file: Path | None = context.find_root().params.get("config_file")
    try:
        with within(_TIMEOUT_SECONDS):
            folded = start.lower() if FIELDS[field].any_case else start
            return Components(file, quiet=True).reader().vocabulary(field, folded)[:_MAX_VALUES]
    except (CachesyncError, OSError):
        return []


class _Bash(BashComplete):
    """Completion for bash, which splits words at ``=``, ``:`` and ``@`` and replaces only the last part of a word."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the cursor, with split words rejoined, and the word to complete."""
        words = split_arg_string(os.environ["COMP_WORDS"])
        number = int(os.environ["COMP_CWORD"])
        whole: list[str] = []
        for word in [*words, ""][1 : number + 1]:
            if whole and word and (set(word) <= _BASH_BREAKS or whole[-1][-1:] in _BASH_BREAKS):
                whole[-1] += word
            else:
                whole.append(word)
        last = whole.pop()
        end = max(last.rfind(each) for each in _BASH_BREAKS) + 1
        self._kept = last[:end]
        return whole, last

    def format_completion(self, item: CompletionItem) -> str:
        """Remove from a completion the text that bash keeps, or the end of that text with which it begins."""
        value: str = item.value
        starts = (self._kept[place:] for place in range(len(self._kept)))
        kept = next((start for start in starts if value.startswith(start)), "")
        return f"{item.type},{value.removeprefix(kept)}"


def register() -> None:
    """Make click use this module's classes for shells for which click's own classes don't suffice."""
    add_completion_class(_Bash)

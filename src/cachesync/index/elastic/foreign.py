"""Creates our indices, and detects changes that index templates, or other settings of a cluster, have made to them.

Each new index is compared with what was asked for: its ``mappings``, ``settings`` (flat, without ``index.``) and
``aliases``. This module lists the settings that don't affect what is stored, how it is returned, or how long it is
kept. Any other difference is reported.
"""

from collections.abc import Iterator
from typing import Any, Final

from elasticsearch import BadRequestError

from cachesync.errors import UsageError
from cachesync.index.elastic import mapping
from cachesync.index.elastic.connection import Connection, kind_of, reason_of

_SET_BY_SERVER: Final = ("creation_date", "history.", "provided_name", "routing.allocation.", "uuid", "version.")
"""Settings that the server adds to each index, and settings of where an index's shards may be."""

_COSTS: Final = (
    *("allocation.", "codec", "fielddata.", "gc_deletes", "highlight.", "indexing.slowlog."),
    *("load_fixed_bitset_filters_eagerly", "mapping.depth.", "mapping.dimension_fields.", "mapping.field_name_length."),
    *("mapping.nested_fields.", "mapping.nested_objects.", "mapping.total_fields.", "max_", "merge."),
    *("number_of_replicas", "number_of_routing_shards", "priority", "queries.cache.", "query.default_field"),
    *("query_string.", "recovery.", "refresh_interval", "requests.cache.", "routing.rebalance.", "search.idle."),
    *("search.slowlog.", "shard.", "soft_deletes.", "store.", "translog.", "unassigned."),
)
"""Settings that affect only time and space, and limits that searches don't exceed."""

_DEFAULTS: Final = {
    "auto_expand_replicas": "false",
    **{f"blocks.{each}": "false" for each in ("metadata", "read", "read_only", "read_only_allow_delete", "write")},
    "default_pipeline": "_none",
    "final_pipeline": "_none",
    "mapping.source.mode": "stored",
    "mode": "standard",
}
"""Values that have the same effect as leaving the setting unset."""


def create(connection: Connection, name: str, index: str, asked: dict[str, Any]) -> bool:
    """Create one of the server's indices for the index called ``name``. Return False if it already exists.

    Raises:
        UsageError: an index template that isn't ours prevents the creation.
    """
    try:
        connection.call(
            lambda client: client.indices.create(index=index, **asked, wait_for_active_shards="0"), (BadRequestError,)
        )
    except BadRequestError as error:
        kind, reason = kind_of(error), reason_of(error)
        if kind == "resource_already_exists_exception":
            return False
        if kind in _TEMPLATE_ERRORS and "template" in reason:
            raise UsageError(f"{reason}.\n{_exclude(name)}") from error
        raise connection.explained(error) from error
    return True


def require_unchanged(connection: Connection, name: str, index: str, asked: dict[str, Any]) -> None:
    """Check that a new index is as it was asked for.

    Raises:
        UsageError: an index template that isn't ours has changed the index.
    """
    made = connection.call(lambda client: client.indices.get(index=index))[index]
    if changed := difference(asked, made):
        raise UsageError(
            f"an index template changes the index {index}, which therefore was not used: {changed}.\n{_exclude(name)}"
        )


_TEMPLATE_ERRORS: Final = ("illegal_argument_exception", "invalid_index_template_exception")


def _exclude(name: str) -> str:
    return f"Exclude {name}-* from that template's index_patterns, or choose another index.name"


def difference(wanted: dict[str, Any], made: dict[str, Any]) -> str | None:
    """Describe how an index, as the server returns it, differs from what was asked for. Return None if it doesn't."""
    changed = mapping.difference(wanted["mappings"], made["mappings"])
    return changed or _of_settings(wanted["settings"], made["settings"]) or _of_aliases(wanted["aliases"], made)


def _of_settings(wanted: dict[str, Any], made: dict[str, Any]) -> str | None:
    found = dict(_flat(made["index"]))
    for name, value in wanted.items():
        if found.get(name) != _text(value):
            return f"{name} is {found.get(name)} instead of {_text(value)}"
    for name, value in found.items():
        if name not in wanted and not name.startswith((*_SET_BY_SERVER, *_COSTS)) and _DEFAULTS.get(name) != value:
            return f"{name} is {value}"
    return None


def _of_aliases(wanted: dict[str, Any], made: dict[str, Any]) -> str | None:
    for name, value in made["aliases"].items():
        if name not in wanted:
            return f"it has the alias {name}"
        if value != wanted[name]:
            return f"its alias {name} is {value}"
    return None


def _flat(settings: dict[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Yield settings as strings, by their full names."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", _text(value)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

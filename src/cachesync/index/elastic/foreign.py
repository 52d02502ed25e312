"""What others have had a say in: an index template or the like may change every index that is made.

What an index has become is compared with what was asked for. Settings that change neither what is stored, nor how it
comes back, nor for how long, are listed here; of any other it is said that it was changed.
"""

from collections.abc import Iterator
from typing import Any, Final

from elasticsearch import ApiError

from cachesync.errors import UsageError
from cachesync.index.elastic import mapping
from cachesync.index.elastic.connection import kind_of, reason_of

_OF_THE_SERVER: Final = (
    "creation_date",
    "history.",
    "provided_name",
    "routing.allocation.",
    "uuid",
    "version.",
)
"""What the server notes of each index, and where its shards may be."""

_OF_COST: Final = (
    "allocation.",
    "codec",
    "fielddata.",
    "gc_deletes",
    "highlight.",
    "indexing.slowlog.",
    "load_fixed_bitset_filters_eagerly",
    "mapping.depth.",
    "mapping.dimension_fields.",
    "mapping.field_name_length.",
    "mapping.nested_fields.",
    "mapping.nested_objects.",
    "mapping.total_fields.",
    "max_",
    "merge.",
    "number_of_replicas",
    "number_of_routing_shards",
    "priority",
    "queries.cache.",
    "query.default_field",
    "query_string.",
    "recovery.",
    "refresh_interval",
    "requests.cache.",
    "routing.rebalance.",
    "search.idle.",
    "search.slowlog.",
    "shard.",
    "soft_deletes.",
    "store.",
    "translog.",
    "unassigned.",
)
"""What takes or saves time and room, and limits, which searches keep to."""

_AS_IF_NONE: Final = {
    "auto_expand_replicas": "false",
    "blocks.metadata": "false",
    "blocks.read": "false",
    "blocks.read_only": "false",
    "blocks.read_only_allow_delete": "false",
    "blocks.write": "false",
    "default_pipeline": "_none",
    "final_pipeline": "_none",
    "mapping.source.mode": "stored",
    "mode": "standard",
}
"""Settings of these values are as if there were none."""


def difference(wanted: dict[str, Any], made: dict[str, Any]) -> str | None:
    """Say what is different in an index from what was asked for.

    Args:
        wanted: its ``mappings``, ``settings`` (flat, without ``index.``) and ``aliases``.
        made: how the server describes it.
    """
    changed = mapping.difference(wanted["mappings"], made["mappings"])
    return changed or _of_settings(wanted["settings"], made["settings"]) or _of_aliases(wanted["aliases"], made)


def _of_settings(wanted: dict[str, Any], made: dict[str, Any]) -> str | None:
    found = dict(_flat(made["index"]))
    for name, value in wanted.items():
        if found.get(name) != _text(value):
            return f"{name} is {found.get(name)} instead of {_text(value)}"
    for name, value in found.items():
        if name not in wanted and not name.startswith((*_OF_THE_SERVER, *_OF_COST)) and _AS_IF_NONE.get(name) != value:
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
    """Yield settings by their whole names, as texts."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", _text(value)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def changed(name: str, index: str, difference: str) -> UsageError:
    """Say what has changed an index of ours, and what to do. ``name`` is ``index.name``."""
    return UsageError(
        f"an index template changes the index {index}, which therefore was not used: {difference}.\n{_exclude(name)}"
    )


def prevented(name: str, error: ApiError) -> UsageError | None:
    """Say that a template keeps an index of ours from being made, if that is what an error means."""
    reason = reason_of(error)
    if kind_of(error) in _BY_A_TEMPLATE and "template" in reason:
        return UsageError(f"{reason}.\n{_exclude(name)}")
    return None


_BY_A_TEMPLATE: Final = ("illegal_argument_exception", "invalid_index_template_exception")


def _exclude(name: str) -> str:
    return f"Exclude {name}-* from that template's index_patterns, or choose another index.name"

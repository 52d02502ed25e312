"""The layout of documents and ledger in Elasticsearch, and checks of whether an index has this layout.

Mappings are strict and explicit, so the server never infers a field from a document. ``_meta`` identifies an index as
ours, and records the version of the fields with which the index was made.
"""

from typing import Any, Final

from cachesync.documents import FIELDS, Field, fingerprint

LAYOUT: Final = 1
"""Raise this number when an index with an older layout becomes unusable, even until the next ``reindex``."""

DIGESTS: Final = "digests"

_TYPES: Final[dict[str, dict[str, Any]]] = {
    "keyword": {"type": "keyword"},
    "text": {"type": "text", "norms": False},
    "date": {"type": "date", "format": "strict_date"},
    "long": {"type": "long"},
}

_PAGE_FIELDS: Final[dict[str, dict[str, Any]]] = {
    "page": {"type": "keyword"},
    "package": {"type": "keyword"},
    "tag": {"type": "keyword"},
    "digest": {"type": "keyword", "index": False, "doc_values": False},
    "signature": {"type": "object", "enabled": False},
    "settled": {"type": "boolean"},
    "pending": {"type": "boolean"},
    "specs": {"type": "integer"},
    "versions": {"type": "keyword"},
    "compilers": {"type": "keyword"},
    "stacks": {"type": "keyword"},
    "synced": {"type": "date", "format": "strict_date_time_no_millis"},
    "problem": {"type": "keyword", "ignore_above": 8191},
    "line": {"type": "integer"},
    DIGESTS: {"type": "binary"},
}


def _meta(name: str) -> dict[str, Any]:
    return {"cachesync": {"index": name, "layout": LAYOUT, "fields": fingerprint()}}


def specs_mapping(name: str) -> dict[str, Any]:
    """Return the mapping of spec documents."""
    return {
        "dynamic": "strict",
        "_meta": _meta(name),
        "properties": {field.name: _property(field) for field in FIELDS.values()},
    }


def pages_mapping(name: str) -> dict[str, Any]:
    """Return the mapping of the ledger, which has one entry for each page."""
    return {"dynamic": "strict", "_meta": _meta(name), "properties": _PAGE_FIELDS}


def state_mapping(name: str) -> dict[str, Any]:
    """Return the mapping of the state index. Nothing in it is searchable."""
    return {"dynamic": False, "_meta": _meta(name), "properties": {}}


def _property(field: Field) -> dict[str, Any]:
    found = dict(_TYPES[field.kind])
    if field.any_case:
        found["normalizer"] = "lowercase"  # built into every server
    if field.counted:
        found["index"] = False
    if field.words:
        found["fields"] = {"text": _TYPES["text"]}
    return found


def is_ours(found: dict[str, Any], name: str) -> bool:
    """Whether a mapping belongs to an index that cachesync made under this name."""
    meta = found.get("_meta", {}).get("cachesync", {})
    return isinstance(meta, dict) and meta.get("index") == name


def is_usable(found: dict[str, Any]) -> bool:
    """Whether this version can read and write an index of ours."""
    return bool(found["_meta"]["cachesync"].get("layout") == LAYOUT)


def is_outdated(found: dict[str, Any]) -> bool:
    """Whether an index of ours was made by a version with other fields or documents."""
    return bool(found["_meta"]["cachesync"].get("fields") != fingerprint())


def difference(wanted: dict[str, Any], found: dict[str, Any]) -> str | None:
    """Describe how an index's mapping differs from the one that was asked for. Return None if they are equal."""
    for key in sorted({*wanted, *found} - {"properties"}):
        if _plain(wanted.get(key)) != _plain(found.get(key)):
            return f"{key} is {found.get(key)!r} instead of {wanted.get(key)!r}"
    properties = found.get("properties", {})
    for name in sorted({*wanted["properties"], *properties}):
        expected = wanted["properties"].get(name)
        if properties.get(name) != expected:
            return f"field {name} is {properties.get(name)!r} instead of {expected!r}"
    return None


def _plain(value: Any) -> Any:
    """Return booleans as strings, because the server returns ``dynamic: false`` as a string."""
    return str(value).lower() if isinstance(value, bool) else value

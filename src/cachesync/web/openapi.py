"""The API's description in OpenAPI, generated from the endpoints themselves."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from cachesync import __version__
from cachesync.documents import ABOUT, FIELDS, Field
from cachesync.search.request import FILTERABLE, ID, LATEST, MAX_FACET_SIZE
from cachesync.web.endpoint import JSON, Endpoint, Operation
from cachesync.web.parameters import MAX_LIMIT

Schema = Mapping[str, Any]

TEXT: Final[Schema] = {"type": "string"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
TEXTS: Final[Schema] = {"type": "array", "items": TEXT}
NAME: Final[Schema] = {**TEXT, "minLength": 1}


def optional(schema: Schema) -> Schema:
    """Return a schema that also allows null."""
    return {"anyOf": [schema, {"type": "null"}]}


def an_object(required: Mapping[str, Schema], others: Mapping[str, Schema] | None = None) -> Schema:
    """Return the schema of an object with these properties and no others."""
    properties = {**required, **(others or {})}
    return {"type": "object", "required": list(required), "properties": properties, "additionalProperties": False}


def a_list(of: Schema) -> Schema:
    """Return the schema of a list whose items have this schema."""
    return {"type": "array", "items": of}


def _of_field(field: Field) -> Schema:
    about = {"description": ABOUT[field.name].meaning, "examples": [ABOUT[field.name].example]}
    if field.kind == "long":
        return {"type": "integer", "description": about["description"]}
    return {"type": "array", "items": TEXT, "description": about["description"]} if field.many else {**TEXT, **about}


_INSTALL: Final = an_object({"mirror": TEXT, "commands": TEXTS})
_FIELDS: Final = {name: _of_field(field) for name, field in FIELDS.items()}
_RUNS: Final = {"enum": ["same os", "other os"]}
HIT: Final = an_object({ID: TEXT}, {**_FIELDS, "tags": TEXTS, "runs": _RUNS, "install": _INSTALL})
ERROR: Final = an_object(
    {"error": {**TEXT, "description": "What is wrong, and what was expected."}, "at": optional(COUNT)}
)
_COUNTS: Final = a_list(an_object({"value": TEXT, "count": COUNT}))
_QUERY: Final = an_object({"text": TEXT, "mode": {"enum": ["spec", "text"]}, "canonical": TEXT, "notes": TEXTS})
ANSWER: Final = an_object(
    {
        "total": {**COUNT, "description": "How many documents match."},
        "binaries": optional({**COUNT, "description": "How many binaries these documents are of."}),
        "hits": a_list(HIT),
        "facets": {"type": "object", "additionalProperties": _COUNTS},
        "query": _QUERY,
        "took_ms": {"type": "number"},
        "next": optional({**TEXT, "description": "The cursor of the next hits."}),
    },
    {
        "approximate": {**TEXTS, "description": "Facets whose counts aren't exact, and `binaries`."},
        "near": {
            "description": "Searches like this one that find something.",
            **a_list(an_object({"total": COUNT}, {"without": TEXT, "package": TEXT})),
        },
    },
)
_FOUND: Final = {"documents": a_list(HIT), "tags": TEXTS, "stacks": TEXTS, "install": optional(_INSTALL)}
BINARY: Final = an_object({"binary": TEXT, **_FOUND, "query": _QUERY})
_WHY: Final = {"enum": ["name", "alias", "prefix", "part", "typo"]}
SUGGESTIONS: Final = an_object({"suggestions": a_list(an_object({"package": TEXT, "specs": COUNT, "why": _WHY}))})
_LISTED: Final = a_list(an_object({"package": TEXT, "hash": optional(TEXT), "spec": TEXT}))
_COUNTED_PACKAGES: Final = a_list(an_object({"package": TEXT, "added": COUNT, "gone": COUNT}))
DIFFERENCE: Final = an_object(
    {"from": TEXT, "to": TEXT, "added": _LISTED, "gone": _LISTED, "packages": _COUNTED_PACKAGES}
)
_TAG: Final = an_object({"tag": TEXT, "date": optional(TEXT), "specs": COUNT, "stacks": TEXTS})
TAGS: Final = an_object({"tags": a_list(_TAG)})
HEALTH: Final = an_object({"ready": {"type": "boolean"}, "reason": optional(TEXT), "degraded": TEXTS})


def parameter(name: str, schema: Schema, description: str, *, required: bool = False, place: str = "query") -> Schema:
    """Return the description of a parameter. Requests give a list by repeating the parameter for each value."""
    entry = {"name": name, "in": place, "schema": schema, "description": description, "required": required}
    return {**entry, "style": "form", "explode": True} if schema.get("type") == "array" else entry


def a_number(least: int, most: int, default: int) -> Schema:
    """Return the schema of a number within bounds."""
    return {"type": "integer", "minimum": least, "maximum": most, "default": default}


def _of_filter(name: str) -> Schema:
    latest = f" `{LATEST}`, alone, is the newest tag with a date." if name == "tag" else ""
    return parameter(
        name, a_list(_VALUES.get(FIELDS[name].kind, TEXT)), f"{ABOUT[name].meaning}; one of these.{latest}"
    )


def _named(fields: Iterable[str], suffix: str) -> Schema:
    """Return the schema of a list of fields, each followed by what ``suffix`` matches; items may be empty."""
    return a_list({**TEXT, "pattern": f"^(({'|'.join(fields)}){suffix})?$"})


_VALUES: Final[Mapping[str, Schema]] = {
    "long": {"type": "integer", "minimum": 0, "maximum": 10**18 - 1},
    "date": {**TEXT, "format": "date"},
}
_COUNTED: Final = _named((name for name in FILTERABLE if FIELDS[name].kind != "long"), "(:([1-9][0-9]{0,3}|10000))?")
_MACHINE: Final = {**TEXT, "pattern": r"^([^\s-]+-\S+-[^\s-]+)?$"}
_SORTED: Final = _named((name for name in FILTERABLE if not FIELDS[name].many), "(:(asc|desc)?)?")

FILTER_PARAMETERS: Final = tuple(map(_of_filter, FILTERABLE))
SEARCH_PARAMETERS: Final = (
    parameter("q", {**TEXT, "maxLength": 1_000}, "A spec in Spack's language, words, or both; empty is everything."),
    parameter("mode", {"enum": ["auto", "spec", "text"], "default": "auto"}, "How `q` is read."),
    *FILTER_PARAMETERS,
    parameter("arch", _MACHINE, "Only what runs on a machine, given as `spack arch` prints it."),
    parameter(
        "facet", _COUNTED, f"`FIELD` or `FIELD:N`: count the N (20; at most {MAX_FACET_SIZE:,}) commonest values."
    ),
    parameter("sort", _SORTED, "`FIELD`, `FIELD:asc` or `FIELD:desc`; further ones order the hits that are equal."),
    parameter("limit", a_number(0, MAX_LIMIT, 20), "How many hits. By default `csv` and `ndjson` have all of them."),
    parameter("distinct", {"enum": ["true", "false"], "default": "false"}, "Each binary once, with all its tags."),
    parameter("cursor", TEXT, "Continue where a response ended: its `next`, with the other parameters unchanged."),
    parameter("format", {"enum": ["json", "ndjson", "csv"], "default": "json"}, "One object, a stream, or a table."),
)


def content(schema: Schema, media_type: str = JSON) -> dict[str, Any]:
    """Return the content of a response: its schema, by media type."""
    return {media_type: {"schema": schema}}


_ERRORS: Final = {
    "400": "The request is invalid: `error` says why, and `at` at which character of the query.",
    "404": "Not found.",
    "409": "There are several; `error` lists some.",
    "414": "The URL is longer than 64 KB.",
    "503": "The index can't be searched now, or there are too many requests: retry after `Retry-After` seconds.",
    "504": "The request took too long: ask for less.",
}

_ETAG: Final = {
    "schema": TEXT,
    "description": "With it as `If-None-Match`, the response is 304 until something changes.",
}
_RETRY_AFTER: Final = {"schema": COUNT, "description": "Seconds.", "required": True}


def operation(
    summary: str,
    answers: Mapping[str, Any],
    parameters: Sequence[Schema] = (),
    errors: Sequence[str] = (),
    *,
    reads_index: bool = False,
) -> Operation:
    """Return an OpenAPI operation.

    ``answers`` is the content of a successful response by media type; ``errors`` are statuses besides the usual ones.
    With ``reads_index``, the operation can fail like any search, and its responses have an ``ETag``.
    """
    responses: dict[str, Any] = {"200": {"description": "Success.", "content": dict(answers)}}
    if reads_index:
        errors = (*errors, "400", "503", "504")
        responses["200"]["headers"] = {"ETag": _ETAG}
        responses["304"] = {
            "description": "Nothing has changed since the response with this `ETag`.",
            "headers": {"ETag": {**_ETAG, "required": True}},
        }
    for status in (*errors, "414"):
        headers = {"headers": {"Retry-After": _RETRY_AFTER}} if status == "503" else {}
        responses[status] = {"description": _ERRORS[status], **headers, "content": content(ERROR)}
    return {"summary": summary, "parameters": list(parameters), "responses": responses}


def described(base_path: str, endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """Return the OpenAPI 3.1 description of the endpoints."""
    paths = {
        each.path.replace(":path", ""): {"get": {"operationId": _id_of(each.path), **each.operation}}
        for each in endpoints
        if each.operation
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "cachesync",
            "version": __version__,
            "description": "Which binaries Spack's build caches have. Everything is read-only.",
        },
        "servers": [{"url": base_path or "/"}],
        "paths": paths,
    }


def _id_of(path: str) -> str:
    """Return the ``operationId`` of a path."""
    return path.removeprefix("/api").strip("/").partition("/")[0].removesuffix(".json")

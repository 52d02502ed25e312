"""The structure of responses, as far as commands rely on it. Other keys are passed through."""

from datetime import datetime
from typing import Any, Final, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from cachesync.pages.page import Problem

_Text = str | UnsetType

Shape = TypeVar("Shape")

MALFORMED: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""The exceptions that malformed JSON raises."""


class _Install(msgspec.Struct):
    mirror: str
    commands: list[str]


# Many fields: one for each key of a hit that commands rely on.
class Hit(msgspec.Struct):
    """A hit of a search, or a document of a binary."""

    package: str
    version: str
    variants: list[str]
    spec: str
    page: str
    id: str = msgspec.field(name="_id")
    binary: _Text = UNSET
    hash: _Text = UNSET
    compiler: _Text = UNSET
    os: _Text = UNSET
    platform: _Text = UNSET
    target: _Text = UNSET
    tag: _Text = UNSET
    runs: _Text = UNSET
    tags: list[str] = []
    stacks: list[str] = []
    size: int | UnsetType = UNSET
    install: _Install | None = None


class _Count(msgspec.Struct):
    value: str
    count: int


class _Near(msgspec.Struct):
    total: int
    without: str | None = None
    package: str | None = None


class _Query(msgspec.Struct):
    notes: list[str]


class SearchResponse(msgspec.Struct):
    """The response to a search."""

    total: int
    hits: list[Hit]
    facets: dict[str, list[_Count]]
    query: _Query
    next: str | None
    binaries: int | None = None
    near: list[_Near] = []
    approximate: list[str] = []


class BinaryDocument(Hit, kw_only=True):
    """A document of a binary that is shown in full."""

    binary: str


class Shown(msgspec.Struct):
    """The response to a request for one binary."""

    documents: list[BinaryDocument]
    tags: list[str]
    stacks: list[str]
    query: dict[str, Any]


class _Listed(msgspec.Struct):
    package: str
    spec: str
    hash: str | None = None


class _Changed(msgspec.Struct):
    package: str
    added: int
    gone: int


class DiffResponse(msgspec.Struct):
    """The response to a comparison of two tags."""

    added: list[_Listed]
    gone: list[_Listed]
    packages: list[_Changed]


class _Warning(msgspec.Struct):
    path: str
    message: str


class _Rollback(msgspec.Struct):
    generation: str
    made: datetime | None = None


class _WithheldDeletes(msgspec.Struct):
    pages: int = 0
    specs: int = 0


# Many fields: one for each key of the status that commands show.
class StatusResponse(msgspec.Struct, kw_only=True):
    """The state of a server and its index. A public server leaves out most of the fields."""

    specs: int
    pages: int
    in_sync: bool | None = None
    lag_seconds: float | None = None
    last_written: datetime | None = None
    url: str | None = None
    generation: str | None = None
    holder: str | None = None
    service: bool | None = None
    problems: list[Problem] | None = None
    warnings: list[_Warning] = []
    held_deletes: _WithheldDeletes = msgspec.field(default_factory=_WithheldDeletes)
    held_after_rollback: bool = False
    last_reindex: datetime | None = None
    next_reindex: datetime | None = None
    rollback: _Rollback | None = None
    reindex_needed: bool = False
    reason: str | None = None
    degraded: list[str] = []

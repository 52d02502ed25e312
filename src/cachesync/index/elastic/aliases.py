"""Swaps the aliases by which clients find the live generation."""

from typing import Any, Final

from elasticsearch import NotFoundError

from cachesync.context import within
from cachesync.errors import IndexUnusableError
from cachesync.index.elastic.catalog import read_catalog
from cachesync.index.elastic.connection import Connection, reason_of
from cachesync.index.elastic.lease import Lease
from cachesync.index.elastic.reader import IndexNames

CHECK_PATIENCE: Final = 5.0
"""Seconds that one call of :func:`point_to` may take. Such calls are made every few seconds."""


def swap(connection: Connection, name: str, to: str, lease: Lease) -> None:
    """Point both public aliases to a generation in one atomic request.

    The aliases are read before the lease is confirmed, and the request fails if they have changed since. So a late
    request can't undo a newer swap.

    Raises:
        IndexUnusableError: the aliases or the generation have changed since they were read.
        OvertakenError: another process has become the writer.
    """
    catalog = read_catalog(connection, name)
    entry = catalog.named(to)
    names = entry.names
    old = [(index, alias) for alias, there in catalog.aliases.items() for index in there]
    if entry.building:
        old += zip(names.indices, names.aliases(building=True), strict=True)
    hidden = zip(names.indices, names.aliases(building=False), strict=True)
    actions: list[dict[str, Any]] = [
        *({"remove": {"index": index, "alias": alias, "must_exist": True}} for index, alias in old),
        *({"add": {"index": index, "alias": alias, "is_hidden": True}} for index, alias in hidden),
        *({"add": {"index": index, "alias": alias}} for index, alias in zip(names.indices, names.public, strict=True)),
    ]
    lease.confirm()
    try:
        connection.call(lambda client: client.indices.update_aliases(actions=actions), (NotFoundError,))
    except NotFoundError as error:
        live = read_catalog(connection, name).live
        if live is None or live.name != to:  # otherwise our swap succeeded, but its response was lost
            raise IndexUnusableError(
                f"the indices of {name} changed while {to} was to go live: {reason_of(error)}"
            ) from error


def point_to(connection: Connection, names: IndexNames) -> bool:
    """Whether the public aliases point to the indices of this generation, and to no others."""
    expected = dict(zip(names.indices, ([alias] for alias in names.public), strict=True))
    try:
        with within(CHECK_PATIENCE):
            found = connection.call(lambda client: client.indices.get_alias(name=list(names.public)), (NotFoundError,))
    except NotFoundError:
        return False
    return {index: list(each["aliases"]) for index, each in found.items()} == expected

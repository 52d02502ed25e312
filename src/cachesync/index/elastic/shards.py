"""Whether the shards of an index have found a place in the cluster, and why not.

A cluster makes an index also where none of its nodes may hold it: allocation is switched off, disks are full, an index
template asks for nodes that aren't there. Such an index is red, and each write to it hangs for a minute.
"""

import time
from collections.abc import Sequence
from typing import Any, Final, Literal

from elasticsearch import ApiError, NotFoundError

from cachesync.context import current
from cachesync.errors import IndexUnavailableError
from cachesync.index.elastic.connection import Connection
from cachesync.log import Once, get_logger

_log = get_logger()


class NotPlacedError(IndexUnavailableError):
    """The cluster has no place for a shard."""


Health = Literal["red", "yellow", "green"]

_RANKS: Final[tuple[Health, ...]] = ("red", "yellow", "green")
_GLANCE_SECONDS: Final = 2.0
"""How long one request lets the server wait, which is less than any request may take."""

_LOOK_SECONDS: Final = 5.0
"""How often to ask, and to tell, what keeps the shards of a new index from their place."""

PLACED_SECONDS: Final = 30.0
"""How long to wait until the shards of a new index have a place: long enough for a node to come back."""


def reach(connection: Connection, indices: Sequence[str], wanted: Health, seconds: float) -> Health:
    """Wait for at most so many seconds until indices are as healthy as ``wanted``, and return how they are."""
    until = time.monotonic() + seconds
    while True:
        glance = max(0.0, min(_GLANCE_SECONDS, until - time.monotonic()))
        found = _health(connection, indices, wanted, glance)
        current().check()
        if _RANKS.index(found) >= _RANKS.index(wanted) or time.monotonic() >= until:
            return found


def _health(connection: Connection, indices: Sequence[str], wanted: Health, seconds: float) -> Health:
    timeout = f"{seconds * 1000:.0f}ms"
    health = connection.call(
        lambda client: client.options(ignore_status=408).cluster.health(
            index=indices, wait_for_status=wanted, timeout=timeout
        )
    )
    found: Health = health["status"]
    return found


def require_placed(connection: Connection, indices: Sequence[str]) -> None:
    """Make sure that every primary shard of new indices finds a place, and say what is waited for if it takes long.

    Raises:
        NotPlacedError: one doesn't; the text says why, in the server's words.
        IndexUnusableError: an index has been deleted, which the cluster's health tells nobody.
    """
    told = Once()
    until = time.monotonic() + PLACED_SECONDS
    while reach(connection, indices, "yellow", _LOOK_SECONDS) == "red":
        reason = not_placed(connection, indices)
        if time.monotonic() >= until:
            raise reason
        if told.is_news(str(reason)):
            _log.warning("waiting for a place for the shards of a new index", reason=str(reason))


def not_placed(connection: Connection, indices: Sequence[str]) -> NotPlacedError:
    """Say why a primary shard of some indices has no place.

    Raises:
        IndexUnusableError: one of the indices isn't there.
    """
    index, why = _first_reason(connection, indices)
    return NotPlacedError(
        f"{connection.server.url} has no place for a shard of {index}: {why}\n"
        "GET _cluster/allocation/explain says more: look at the nodes' disks and at cluster.routing.allocation.*"
    )


def _first_reason(connection: Connection, indices: Sequence[str]) -> tuple[str, str]:
    for index in indices:
        found = _explained(connection, index)
        if found and found.get("current_state") == "unassigned":
            return index, _reason(found)
    return ", ".join(indices), "it is not available"


def _explained(connection: Connection, index: str) -> dict[str, Any] | None:
    """Ask about the first shard; None where it has its place, or nobody can tell."""
    try:
        found: dict[str, Any] = connection.call(
            lambda client: client.cluster.allocation_explain(index=index, shard=0, primary=True), (ApiError,)
        )
    except NotFoundError as error:
        raise connection.explained(error) from error
    except ApiError:
        return None
    return found


def _reason(found: dict[str, Any]) -> str:
    """Return what forbids the nodes to take a shard, each reason once."""
    nodes = found.get("node_allocation_decisions", [])
    deciders = [decider for node in nodes for decider in node.get("deciders", [])]
    reasons = dict.fromkeys(decider.get("explanation", "") for decider in deciders)
    told = "; ".join(reason for reason in reasons if reason)
    return told or str(found.get("allocate_explanation") or found.get("unassigned_info", {}).get("reason", "unknown"))

"""Checks that nodes have room for an index's shards and that the shards are allocated, and explains failures.

A cluster creates an index even if none of its nodes may hold it, because allocation is switched off, disks are full, or
an index template requires nodes that don't exist. Such an index is red, and each write to it hangs for a minute.
"""

import time
from collections.abc import Sequence
from typing import Any, Final, Literal, cast

from elasticsearch import ApiError, NotFoundError

from cachesync.context import current
from cachesync.errors import IndexUnavailableError
from cachesync.index.elastic.connection import Connection
from cachesync.log import Once, get_logger

_log = get_logger()


class NotPlacedError(IndexUnavailableError):
    """The cluster has no node to which a shard can be allocated."""


Health = Literal["red", "yellow", "green"]

_RANKS: Final[tuple[Health, ...]] = ("red", "yellow", "green")
_POLL_SECONDS: Final = 2.0
"""How long one request lets the server wait, which is less than any request may take."""

_EXPLAIN_SECONDS: Final = 5.0
"""How often to ask, and log, why the shards of a new index aren't allocated."""

_ROOM: Final = 1.2
"""How much disk space a new generation needs, as a multiple of the live one's size."""

PLACED_SECONDS: Final = 30.0
"""How long to wait until the shards of a new index are allocated: long enough for a node to come back."""


def require_room(connection: Connection, indices: Sequence[str], shards: int) -> None:
    """Check that indices as large as these, each with the given number of primary shards, fit on the nodes' disks.

    Raises:
        IndexUnavailableError: the indices don't fit.
    """
    stats = connection.call(lambda client: client.indices.stats(index=indices, metric="store"))
    sizes = [each["primaries"]["store"]["size_in_bytes"] for each in stats["indices"].values()]
    needed = [size * _ROOM / shards for size in sizes for _ in range(shards)]
    nodes = connection.call(lambda client: client.nodes.stats(metric="fs"))["nodes"].values()
    free = {node["name"]: node["fs"]["total"]["available_in_bytes"] for node in nodes if _has_data(node)}
    if not fits(needed, list(free.values())):
        there = ", ".join(f"{room / 1e6:,.0f} MB on {name}" for name, room in sorted(free.items()))
        raise IndexUnavailableError(
            f"no room for a new generation at {connection.server.url}: it needs about "
            f"{sum(needed) / 1e6:,.0f} MB, {max(needed) / 1e6:,.0f} MB of it on one node, but there are {there}"
        )


def fits(sizes: list[float], rooms: list[float]) -> bool:
    """Whether all shards fit if each goes, the largest first, into the room with the most space left."""
    left = sorted(rooms)
    for size in sorted(sizes, reverse=True):
        if not left or left[-1] < size:
            return False
        left = sorted([*left[:-1], left[-1] - size])
    return True


def _has_data(node: dict[str, Any]) -> bool:
    """Whether a node may hold indices that are written. A frozen node only holds searchable snapshots."""
    return any(role.startswith("data") and role != "data_frozen" for role in node["roles"])


def reach(connection: Connection, indices: Sequence[str], wanted: Health, seconds: float) -> Health:
    """Wait at most ``seconds`` until the health of indices is at least ``wanted``, and return their health."""
    until = time.monotonic() + seconds
    while True:
        timeout = max(0.0, min(_POLL_SECONDS, until - time.monotonic()))
        found = _health(connection, indices, wanted, timeout)
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
    return cast("Health", health["status"])


def require_placed(connection: Connection, indices: Sequence[str]) -> None:
    """Wait until every primary shard of new indices is allocated, and log the reason if the allocation takes long.

    Raises:
        NotPlacedError: a shard isn't allocated in time; the message includes the server's reason.
        IndexUnusableError: an index has been deleted, which the cluster's health doesn't show.
    """
    logged = Once()
    until = time.monotonic() + PLACED_SECONDS
    while reach(connection, indices, "yellow", _EXPLAIN_SECONDS) == "red":
        reason = not_placed(connection, indices)
        if time.monotonic() >= until:
            raise reason
        if logged.is_news(str(reason)):
            _log.warning(
                "waiting for a place for the shards of a new index", action="shards.waiting", reason=str(reason)
            )


def not_placed(connection: Connection, indices: Sequence[str]) -> NotPlacedError:
    """Return the error for a primary shard of these indices that isn't allocated, including the reason.

    Raises:
        IndexUnusableError: one of the indices doesn't exist.
    """
    index, why = _first_reason(connection, indices)
    return NotPlacedError(
        f"{connection.server.url} has no place for a shard of {index}: {why}\n"
        "GET _cluster/allocation/explain shows more: check the nodes' disks and cluster.routing.allocation.*"
    )


def _first_reason(connection: Connection, indices: Sequence[str]) -> tuple[str, str]:
    for index in indices:
        found = _explained(connection, index)
        if found and found.get("current_state") == "unassigned":
            return index, _reason(found)
    return ", ".join(indices), "it is not available"


def _explained(connection: Connection, index: str) -> dict[str, Any] | None:
    """Return the server's explanation for the first shard; None if the server can't give one."""
    try:
        return connection.call(
            lambda client: client.cluster.allocation_explain(index=index, shard=0, primary=True), (ApiError,)
        )
    except NotFoundError as error:
        raise connection.explained(error) from error
    except ApiError:
        return None


def _reason(found: dict[str, Any]) -> str:
    """Return the distinct reasons why no node may hold a shard."""
    nodes = found.get("node_allocation_decisions", [])
    deciders = [decider for node in nodes for decider in node.get("deciders", [])]
    reasons = dict.fromkeys(decider.get("explanation", "") for decider in deciders)
    joined = "; ".join(reason for reason in reasons if reason)
    return joined or str(found.get("allocate_explanation") or found.get("unassigned_info", {}).get("reason", "unknown"))

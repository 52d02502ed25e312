"""The disk space of a cluster: whether a second generation fits beside the live one."""

from typing import Any, Final

from cachesync.errors import IndexUnavailableError
from cachesync.index.elastic.connection import Connection

_ROOM: Final = 1.2
"""How much disk space a new generation needs, as a multiple of the live one's size."""


def require_room(connection: Connection, indices: list[str], shards: int) -> None:
    """Make sure that indices as large as these, of so many primary shards each, fit on the nodes' disks.

    Raises:
        IndexUnavailableError: they don't.
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
    """Whether all shards fit, each into one room: the largest first, into the room with the most space left."""
    left = sorted(rooms)
    for size in sorted(sizes, reverse=True):
        if not left or left[-1] < size:
            return False
        left = sorted([*left[:-1], left[-1] - size])
    return True


def _has_data(node: dict[str, Any]) -> bool:
    """Whether a node may hold indices that are written; a frozen one only holds searchable snapshots."""
    return any(role.startswith("data") and role != "data_frozen" for role in node["roles"])

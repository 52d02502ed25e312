"""What the credentials must allow in a cluster, and what of it they lack.

The privileges and what they comprise: the server's own ``IndexPrivilege`` and ``ClusterPrivilegeResolver``.
"""

from typing import Any, Final

from elasticsearch import BadRequestError

from cachesync.errors import IndexUnavailableError
from cachesync.index.elastic.connection import Connection

CLUSTER: Final = ("monitor",)
"""The cluster's health, and the room that its nodes have."""

WRITING: Final = ("manage", "read", "index", "delete")
"""On every index of ours, by name: to make, swap and remove indices and aliases; to look, and to write documents."""


def require(connection: Connection, name: str) -> None:
    """Make sure that the credentials allow all that a writer does. It is asked once, before anything is done.

    Raises:
        IndexUnavailableError: they don't; the text names each right that is missing.
    """
    indices = [name, f"{name}-*"]
    try:
        answer = connection.call(
            lambda client: client.security.has_privileges(
                cluster=list(CLUSTER), index=[{"names": indices, "privileges": list(WRITING)}]
            ),
            (BadRequestError,),
        )
    except BadRequestError:
        return  # a server without security has nothing to answer this with
    missing = _missing(answer)
    if missing:
        raise IndexUnavailableError(
            f"the user {answer['username']} at {connection.server.url} lacks rights: {'; '.join(missing)}.\n"
            "docs/elasticsearch.md lists those that are needed"
        )


def _missing(answer: dict[str, Any]) -> list[str]:
    """Say which rights are missing, and where."""
    missing = [_lacking("the cluster", answer["cluster"])]
    missing += [_lacking(place, granted) for place, granted in sorted(answer["index"].items())]
    return [each for each in missing if each]


def _lacking(place: str, granted: dict[str, bool]) -> str:
    names = [right for right, is_granted in granted.items() if not is_granted]
    return f"{', '.join(names)} on {place}" if names else ""

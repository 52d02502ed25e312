"""Checks that the credentials have the privileges that a writer needs in a cluster.

The privileges and what they include are defined by the server's ``IndexPrivilege`` and ``ClusterPrivilegeResolver``.
"""

from typing import Final

from elasticsearch import BadRequestError

from cachesync.errors import IndexUnavailableError
from cachesync.index.elastic.connection import Connection

CLUSTER: Final = ("monitor",)
"""For the cluster's health, and the disk space of its nodes."""

WRITING: Final = ("manage", "read", "index", "delete")
"""On each of our indices, by name: to manage indices and aliases, and to read and write documents."""


def require(connection: Connection, name: str) -> None:
    """Make sure that the credentials allow everything that a writer does, by one request.

    Raises:
        IndexUnavailableError: they don't; the message names each missing right.
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
        return  # a server without security doesn't have this API
    missing = [
        f"{', '.join(lacking)} on {place}"
        for place, granted in (("the cluster", answer["cluster"]), *sorted(answer["index"].items()))
        if (lacking := [right for right, is_granted in granted.items() if not is_granted])
    ]
    if missing:
        raise IndexUnavailableError(
            f"the user {answer['username']} at {connection.server.url} lacks rights: {'; '.join(missing)}.\n"
            "docs/elasticsearch.md lists those that are needed"
        )

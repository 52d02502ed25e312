"""Checks that the credentials have the privileges that a writer needs in a cluster.

The server's ``IndexPrivilege`` and ``ClusterPrivilegeResolver`` define the privileges and what they include.
"""

from typing import Final

from elasticsearch import BadRequestError

from cachesync.errors import IndexUnavailableError
from cachesync.index.elastic.connection import Connection

CLUSTER: Final = ("monitor",)
"""The privileges on the cluster: to read its health, and the disk space of its nodes."""

WRITING: Final = ("manage", "read", "index", "delete")
"""The privileges on each of our indices, by name: to manage indices and aliases, and to read and write documents."""


def require(connection: Connection, name: str) -> None:
    """Check, by one request, that the credentials allow everything that a writer does.

    Raises:
        IndexUnavailableError: the credentials don't suffice; the message names each missing privilege.
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

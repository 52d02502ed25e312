"""The small index ``NAME-state``: documents that outlive generations, each read and written by its id.

The first write creates the index. All writes go through a hidden alias with ``require_alias``, so a late request can't
create an index in place of this one.
"""

import contextlib
from typing import Any, Final, NamedTuple

from elasticsearch import ConflictError, Elasticsearch, NotFoundError

from cachesync.context import shielded
from cachesync.errors import CachesyncError, IndexUnavailableError, UsageError
from cachesync.index.base import note_key
from cachesync.index.elastic import foreign, mapping, shards
from cachesync.index.elastic.connection import Connection

HIDDEN: Final = {"hidden": True}
"""A setting of all our indices, so that a search for ``NAME*`` matches only the public aliases."""

_VERIFY_SECONDS: Final = 60.0
"""How long the checks of a new index may take."""

_MOST_DOCUMENTS: Final = 10_000


class Revision(NamedTuple):
    """A document's revision, by which the server can detect that the document has changed."""

    seq_no: int
    primary_term: int


class StateIndex:
    """The state index, whether or not it exists yet."""

    def __init__(self, connection: Connection, name: str) -> None:
        """``name`` is ``index.name``, without the suffix."""
        self._connection = connection
        self._name = name
        self.name = f"{name}-state"
        self._alias = f"{name}-state-writing"

    def get(self, id: str) -> tuple[dict[str, Any], Revision] | None:
        """Return a document, even if it hasn't been refreshed yet; None if the document or the index doesn't exist."""
        try:
            found = self._connection.call(lambda client: client.get(index=self.name, id=id), (NotFoundError,))
        except NotFoundError:
            return None
        return found["_source"], Revision(found["_seq_no"], found["_primary_term"])

    def put(self, id: str, document: dict[str, Any]) -> None:
        """Store a document unconditionally."""
        self._put(id, document, {}, {})

    def replace(self, id: str, document: dict[str, Any], seen: Revision | None) -> Revision:
        """Store a document if the stored one still has the revision ``seen`` or, if that is None, doesn't exist.

        If the index was deleted in the meantime, create a new one, and store the document if it doesn't exist there.

        Raises:
            ConflictError: another revision is stored.
        """
        new = {"op_type": "create"}
        condition = {"if_seq_no": seen.seq_no, "if_primary_term": seen.primary_term} if seen else new
        return self._put(id, document, condition, new)

    def remove(self, id: str) -> None:
        """Remove a document, if it exists."""
        self._connection.call(lambda client: client.options(ignore_status=404).delete(index=self._alias, id=id))

    def _put(self, id: str, document: dict[str, Any], condition: dict[str, Any], if_new: dict[str, Any]) -> Revision:
        """Store a document under ``condition``, or under ``if_new`` if the index has to be created first."""

        def write(client: Elasticsearch) -> Any:
            return client.index(index=self._alias, id=id, document=document, require_alias=True, **condition)

        try:
            done = self._connection.call(write, (ConflictError, NotFoundError))
        except NotFoundError:
            self._create()
            condition = if_new
            done = self._connection.call(write, (ConflictError,))
        return Revision(done["_seq_no"], done["_primary_term"])

    def _create(self) -> None:
        """Create the index, unless another process has just done so. Remove a new index that is unusable.

        Raises:
            IndexUnavailableError: no node may hold the index.
            UsageError: an index template that isn't ours changes the index, or an index that isn't ours has its name.
        """
        asked: dict[str, Any] = {
            "mappings": mapping.state_mapping(self._name),
            "settings": {"number_of_shards": 1, "auto_expand_replicas": "0-1", **HIDDEN},
            "aliases": {self._alias: {"is_hidden": True}},
        }
        if not foreign.create(self._connection, self._name, self.name, asked):
            self._adopt()
            return
        with shielded(_VERIFY_SECONDS):  # even if less time is left for the write itself
            try:
                foreign.require_unchanged(self._connection, self._name, self.name, asked)
                shards.require_placed(self._connection, [self.name])
            except (UsageError, shards.NotPlacedError):  # if a check fails for another reason, the index may be in use
                with contextlib.suppress(CachesyncError):
                    self._connection.call(
                        lambda client: client.options(ignore_status=404).indices.delete(index=self.name)
                    )
                raise

    def _adopt(self) -> None:
        """Use the existing index, if it is ours."""
        found = self._connection.call(lambda client: client.indices.get_mapping(index=self.name))
        if not all(mapping.is_ours(each["mappings"], self._name) for each in found.values()):
            raise UsageError(
                f"the index {self.name} is not cachesync's, and was left alone: choose another index.name"
            ) from None
        self._connection.call(
            lambda client: client.indices.update_aliases(
                actions=[{"add": {"index": self.name, "alias": self._alias, "is_hidden": True}}]
            )
        )

    def ids(self) -> list[str]:
        """Return the ids of all current documents, at most ten thousand."""
        try:
            self._connection.call(lambda client: client.indices.refresh(index=self.name), (NotFoundError,))
            found = self._connection.call(
                lambda client: client.search(index=self.name, size=_MOST_DOCUMENTS, source=False), (NotFoundError,)
            )
        except NotFoundError:
            return []
        return [hit["_id"] for hit in found["hits"]["hits"]]


class ElasticNotes:
    """Notes as documents of the state index."""

    def __init__(self, state: StateIndex) -> None:
        self._state = state

    def get(self, key: str) -> bytes | None:
        """Return a note."""
        found = self._state.get(_id(key))
        if found is None:
            return None
        text = found[0].get(_TEXT)
        if not isinstance(text, str):
            raise IndexUnavailableError(f"the note {_id(key)} in {self._state.name} is damaged: delete that document")
        return text.encode()

    def put(self, key: str, text: bytes) -> None:
        """Write a note."""
        self._state.put(_id(key), {_TEXT: text.decode()})

    def remove(self, key: str) -> None:
        """Remove a note."""
        self._state.remove(_id(key))

    def list_keys(self) -> list[str]:
        """List the documents that are notes."""
        return [id.removeprefix(_PREFIX) for id in self._state.ids() if id.startswith(_PREFIX)]


_TEXT: Final = "text"


_PREFIX: Final = "note-"


def _id(key: str) -> str:
    return _PREFIX + note_key(key)

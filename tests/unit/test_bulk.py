"""Encoded bulk operations, without a server."""

import json

from cachesync.index.elastic import bulk
from cachesync.index.generation import Put


def test_an_operation_is_a_line_with_id_and_version_and_a_line_with_the_document() -> None:
    action, source, rest = bulk.put('a/é"\n', 7, b'{"x":1}').split(b"\n")
    assert json.loads(action) == {"index": {"_id": 'a/é"\n', "version": 7, "version_type": "external_gte"}}
    assert (source, rest) == (b'{"x":1}', b"")
    action, rest = bulk.delete("a/b", 7).split(b"\n")
    assert json.loads(action) == {"delete": {"_id": "a/b", "version": 7, "version_type": "external_gte"}}
    assert rest == b""


def test_only_deletions_are_deletions() -> None:
    assert bulk.is_delete(bulk.delete("a", 1))
    assert not bulk.is_delete(bulk.put("a", 1, b"{}"))


def test_the_documents_of_a_page_are_stored_as_each_would_be() -> None:
    documents = [Put("a/x", b"{}", is_new=True), Put("a/é", b'{"x":"\\n"}', is_new=False)]
    assert bulk.puts(documents, 7) == [bulk.put(each.id, 7, each.source) for each in documents]
    assert bulk.puts([], 7) == []

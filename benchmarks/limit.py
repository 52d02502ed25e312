"""The limit: the most documents that the server can take from a client that does nothing else.

The documents that ``reindex`` writes, of specs and of pages, are prepared as NDJSON before the clock starts. They are
sent by plain HTTP over two connections that always have a request in flight, into indices with the same mapping and the
same settings for loading, in requests of the same size and with the same filter of responses as cachesync's. Nothing is
versioned, paced or checked before the clock stops, which it does at the last response. So this is the time that the
server needs, wherever the documents come from.
"""

import http.client
import time
import urllib.parse
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from queue import Empty, SimpleQueue
from typing import Any, Final, NamedTuple

import msgspec

from benchmarks.measuring import Cost, now
from cachesync.index.elastic import ledger, mapping
from cachesync.index.elastic.pace import START_BYTES
from cachesync.index.elastic.reader import IndexNames
from cachesync.index.elastic.store import LOADING
from cachesync.index.generation import PageChange
from tests.support import elasticsearch

CONNECTIONS: Final = 2
"""As many as cachesync starts with: with a second request in its queue, the server never waits for the next one."""

_FILTER: Final = "filter_path=took,errors,items.*.status,items.*.error"
_HEADERS: Final = {"Content-Type": "application/x-ndjson"}


class Request(NamedTuple):
    """A prepared bulk request."""

    kind: str
    """``specs`` or ``pages``."""
    body: bytes
    operations: int


class _Answer(NamedTuple):
    """The response to a request."""

    request: Request
    status: int
    body: bytes


def requests(changes: Iterable[PageChange]) -> list[Request]:
    """Prepare all requests."""
    specs, pages = [], []
    for change in changes:
        assert change.record
        specs += [_operation(put.id, put.source) for put in change.puts]
        pages.append(_operation(change.page, ledger.page_document(change.record, change.digests)))
    return [*_requests("specs", specs), *_requests("pages", pages)]


def load(url: str, name: str, ready: list[Request]) -> tuple[Cost, float]:
    """Send all requests into a new generation, and return their cost and the seconds of the refresh after them."""
    names = IndexNames(name, 1)
    _create(f"{url}/{names.specs}", mapping.specs_mapping(name))
    _create(f"{url}/{names.pages}", mapping.pages_mapping(name))
    queue: SimpleQueue[Request] = SimpleQueue()
    for request in ready:
        queue.put(request)
    paths = {"specs": f"/{names.specs}/_bulk?{_FILTER}", "pages": f"/{names.pages}/_bulk?{_FILTER}"}
    address = urllib.parse.urlsplit(url).netloc
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        start = now()
        senders = [threads.submit(_send, address, paths, queue) for _ in range(CONNECTIONS)]
        answers = list(chain.from_iterable(sender.result() for sender in senders))
        cost = now().since(start)
    _require_success(ready, answers)
    refreshing = time.perf_counter()
    elasticsearch.request(f"{url}/{names.specs},{names.pages}/_refresh", "POST")
    refresh = time.perf_counter() - refreshing
    for kind, index in (("specs", names.specs), ("pages", names.pages)):
        sent = sum(each.operations for each in ready if each.kind == kind)
        counted = elasticsearch.request(f"{url}/{index}/_count")["count"]
        assert counted == sent, f"{index} has {counted:,} of {sent:,} documents"
    return cost, refresh


def _operation(id: str, source: bytes) -> bytes:
    return b'{"index":{"_id":%b}}\n%b\n' % (msgspec.json.encode(id), source)


def _requests(kind: str, operations: list[bytes]) -> Iterator[Request]:
    """Split operations into requests of the size that cachesync starts with, and keeps on a healthy server."""
    part: list[bytes] = []
    size = 0
    for operation in operations:
        if size + len(operation) > START_BYTES and part:
            yield Request(kind, b"".join(part), len(part))
            part, size = [], 0
        part.append(operation)
        size += len(operation)
    if part:
        yield Request(kind, b"".join(part), len(part))


def _create(url: str, wanted: dict[str, Any]) -> None:
    elasticsearch.request(url, "PUT", {"mappings": wanted, "settings": {"number_of_shards": 1, **LOADING}})


def _send(address: str, paths: dict[str, str], queue: SimpleQueue[Request]) -> list[_Answer]:
    """Send requests over one connection until the queue is empty."""
    connection = http.client.HTTPConnection(address)
    answers = []
    try:
        while True:
            request = queue.get_nowait()
            connection.request("POST", paths[request.kind], request.body, _HEADERS)
            answer = connection.getresponse()
            answers.append(_Answer(request, answer.status, answer.read()))
    except Empty:
        return answers
    finally:
        connection.close()


def _require_success(ready: list[Request], answers: list[_Answer]) -> None:
    """Check that every operation has a response, and that none failed."""
    assert len(answers) == len(ready)
    for request, status, body in answers:
        assert status == http.HTTPStatus.OK, body[:1000]
        answer = msgspec.json.decode(body)
        assert not answer["errors"], body[:1000]
        assert len(answer["items"]) == request.operations

"""The ledger in the index of pages: one document for each page, with the page's record and digests."""

import base64
from collections import Counter
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any, Final

import msgspec

from cachesync.errors import IndexUnusableError
from cachesync.index.distinct import first_of_each
from cachesync.index.elastic import query_dsl
from cachesync.index.elastic.limits import Limits
from cachesync.index.elastic.mapping import DIGESTS
from cachesync.index.elastic.searcher import IndexSearcher, batches
from cachesync.index.elastic.walk import walk_hits
from cachesync.index.generation import Remembered
from cachesync.ledger import Digests, PageRecord
from cachesync.search.query import All, Or, Prefix, Query

_DIGESTS_KEY: Final = f',"{DIGESTS}":'.encode()
_encode: Final = msgspec.json.Encoder().encode  # bytes become base64
_encode_digests: Final = msgspec.msgpack.Encoder().encode
_decode_digests: Final = msgspec.msgpack.Decoder(Digests).decode


def records(searcher: IndexSearcher, below: Sequence[str]) -> Iterator[PageRecord]:
    """Yield the records of all pages or, if ``below`` names folders, of the pages below them."""
    if not below:
        yield from _records(searcher, All())
    for folders in batches(_outermost(below)):
        yield from _records(searcher, Or(tuple(Prefix("page", folder) for folder in folders)))


def _records(searcher: IndexSearcher, chosen: Query) -> Iterator[PageRecord]:
    listing = searcher.by_values(bounded=False)

    def body(limits: Limits) -> dict[str, Any]:
        return {"_source": {"excludes": [DIGESTS]}, "query": query_dsl.query(chosen, listing(limits))}

    for hit in first_of_each(walk_hits(searcher, body, []), itemgetter("_id")):
        yield _record(hit["_source"])


def _outermost(folders: Sequence[str]) -> list[str]:
    """Return the folders that aren't below another one of the folders."""
    outermost: list[str] = []
    for folder in sorted(folders):
        if not outermost or not folder.startswith(outermost[-1]):
            outermost.append(folder)
    return outermost


def remembered(searcher: IndexSearcher, pages: Sequence[str]) -> dict[str, Remembered]:
    """Look up pages, including records that haven't been refreshed yet."""
    return {found["_id"]: _remembered(found["_source"]) for found in searcher.get(pages)}


def packages(searcher: IndexSearcher) -> dict[str, int]:
    """Add up the number of specs by package. The sum is cheap because there are far fewer pages than specs."""
    counts: Counter[str] = Counter()
    by_package = {"package": {"terms": {"field": "package"}}}
    for each in searcher.buckets(by_package, {"specs": {"sum": {"field": "specs"}}}):
        counts[each["key"]["package"].lower()] += round(each["specs"]["value"])
    return {package: specs for package, specs in counts.items() if specs}


def page_document(record: PageRecord, digests: Digests) -> bytes:
    """Return the fields of a page's ledger entry as JSON."""
    return b"".join((_encode(record)[:-1], _DIGESTS_KEY, _encode(_encode_digests(digests)), b"}"))


def _record(source: dict[str, Any]) -> PageRecord:
    """Decode a page's ledger entry without its digests.

    Raises:
        IndexUnusableError: the entry is corrupt.
    """
    try:
        return msgspec.convert(source, PageRecord)
    except msgspec.ValidationError as error:
        raise IndexUnusableError(f"the page document {source.get('page')} is damaged: {error}") from None


def _remembered(source: dict[str, Any]) -> Remembered:
    """Decode a page's ledger entry with its digests.

    Raises:
        IndexUnusableError: the entry is corrupt.
    """
    try:
        return Remembered(_record(source), _decode_digests(base64.b64decode(source[DIGESTS])))
    except (KeyError, TypeError, ValueError, msgspec.MsgspecError) as error:
        raise IndexUnusableError(f"the page document {source.get('page')} is damaged: {error!r}") from None

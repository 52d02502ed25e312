"""The ledger: one tantivy document for each page, with the page's record and digests as bytes that only we decode."""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
import tantivy

from cachesync.index.embedded import schema as layout
from cachesync.index.embedded.searcher import CommitSearcher
from cachesync.index.generation import PageChange, Remembered
from cachesync.ledger import Digests, PageRecord
from cachesync.search.query import Exists, Or, Prefix, Term

_decode_record: Final = msgspec.json.Decoder(PageRecord).decode
_decode_digests: Final = msgspec.msgpack.Decoder(Digests).decode


def records(searcher: CommitSearcher, below: Sequence[str]) -> Iterator[PageRecord]:
    """Yield the records of all pages or, if ``below`` names folders, of the pages below them."""
    chosen = Or(tuple(Prefix(layout.PAGE, folder) for folder in below)) if below else Exists(layout.PAGE)
    return map(_record, searcher.records(chosen))


def remembered(searcher: CommitSearcher, pages: Sequence[str]) -> dict[str, Remembered]:
    """Look up pages in the ledger."""
    found = ((page, each) for page in pages for each in searcher.records(Term(layout.PAGE, page), 1))
    return {page: Remembered(_record(each), _decode_digests(_bytes(each, layout.DIGESTS))) for page, each in found}


def page_document(change: PageChange) -> dict[str, str | bytes]:
    """Return the fields of a page's ledger entry."""
    record, digests = msgspec.json.encode(change.record), msgspec.msgpack.encode(change.digests)
    return {layout.PAGE: change.page, layout.RECORD: record, layout.DIGESTS: digests}


def _record(document: tantivy.Document) -> PageRecord:
    return _decode_record(_bytes(document, layout.RECORD))


def _bytes(document: tantivy.Document, field: str) -> bytes:
    return bytes(document.get_first(field) or b"")

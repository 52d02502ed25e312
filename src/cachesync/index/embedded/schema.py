"""How documents and ledger are laid out in a tantivy index.

Both live in one index, since one commit is what makes them change together. A spec document has an ``_id``, a page's
record a ``_page``.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec
import tantivy

from cachesync.documents import FIELDS
from cachesync.index.base import PageChange, Put, Remembered
from cachesync.ledger import Digests, PageRecord
from cachesync.search.request import Hit

ID: Final = "_id"
PAGE: Final = "_page"
_RECORD: Final = "_record"
_DIGESTS: Final = "_digests"
_UNSPLIT: Final = "words"
"""Finds no words, so text is only stored. Indices of earlier versions have an analyzer of this name."""

_LOWER: Final = "lower"
"""Takes a value whole, in lower case."""

_IS_MANY: Final = [(field.name, field.many) for field in FIELDS.values()]
"""Read for every document that is found: a field's own attributes cost more than all the rest."""

_decode_record: Final = msgspec.json.Decoder(PageRecord).decode
_decode_digests: Final = msgspec.msgpack.Decoder(Digests).decode


def schema() -> tantivy.Schema:
    """Lay out the fields of :data:`cachesync.documents.FIELDS`."""
    builder = tantivy.SchemaBuilder()
    for name in (ID, PAGE):
        builder.add_text_field(name, stored=True, fast=True, tokenizer_name="raw", index_option="basic")
    for name in (_RECORD, _DIGESTS):
        builder.add_bytes_field(name, stored=True)
    for field in FIELDS.values():
        match field.kind:
            case "keyword" | "date":  # dates are ISO texts, which sort and compare as dates do
                whole = _LOWER if field.any_case else "raw"
                builder.add_text_field(field.name, stored=True, fast=True, tokenizer_name=whole, index_option="basic")
            case "text":
                builder.add_text_field(field.name, stored=True, tokenizer_name=_UNSPLIT)
            case "long":
                builder.add_integer_field(field.name, stored=True, indexed=not field.counted, fast=True)
    return builder.build()


def register_analyzers(index: tantivy.Index) -> None:
    """Teach an opened index what it has to know of the values of text and keyword fields."""
    for name, tokenizer in ((_UNSPLIT, tantivy.Tokenizer.regex(r"[^\s\S]")), (_LOWER, tantivy.Tokenizer.raw())):
        analyzer = tantivy.TextAnalyzerBuilder(tokenizer).filter(tantivy.Filter.lowercase()).build()
        index.register_tokenizer(name, analyzer)
        index.register_fast_field_tokenizer(name, analyzer)


def spec_documents(change: PageChange) -> Iterator[str]:
    """Return what tantivy takes for each document of a page's change."""
    return map(spec_json, change.puts)


def spec_json(put: Put) -> str:
    """Return what tantivy takes for a document: its ready fields behind the id."""
    return f'{{"_id":{msgspec.json.encode(put.id).decode()},{put.source[1:].decode()}'


def encoded_record(change: PageChange) -> dict[str, str | bytes]:
    """Return the fields of a page's record."""
    record, digests = msgspec.json.encode(change.record), msgspec.msgpack.encode(change.digests)
    return {PAGE: change.page, _RECORD: record, _DIGESTS: digests}


def hit(document: tantivy.Document) -> Hit:
    """Return a spec document as it was given, with its ``_id``."""
    stored: dict[str, list[Any]] = document.to_dict()
    fields: Hit = {ID: stored[ID][0]}
    for name, many in _IS_MANY:
        if many:
            fields[name] = stored.get(name, [])
        elif name in stored:
            fields[name] = stored[name][0]
    return fields


def record(document: tantivy.Document) -> PageRecord:
    """Return a page's record."""
    return _decode_record(bytes(document.get_first(_RECORD) or b""))


def remembered(document: tantivy.Document) -> Remembered:
    """Return a page's record and the digests beside it."""
    return Remembered(record(document), _decode_digests(bytes(document.get_first(_DIGESTS) or b"")))

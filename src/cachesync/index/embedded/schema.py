"""The layout of documents and ledger in a tantivy index.

Documents and ledger are in one index, so one commit changes both. A spec document has an ``_id``, and a page's ledger
entry has a ``_page``.
"""

from typing import Any, Final

import msgspec
import tantivy

from cachesync.documents import FIELDS
from cachesync.index.generation import Put
from cachesync.search.request import Hit

ID: Final = "_id"
PAGE: Final = "_page"
RECORD: Final = "_record"
DIGESTS: Final = "_digests"
_UNSPLIT: Final = "words"
"""An analyzer that produces no tokens, so text is only stored. Indices of earlier versions refer to it by this name."""

_LOWER: Final = "lower"
"""An analyzer that lowercases a value and keeps it whole."""

_IS_MANY: Final = [(field.name, field.many) for field in FIELDS.values()]
"""Read for every hit, because accessing the fields' attributes would take longer than everything else."""


def schema() -> tantivy.Schema:
    """Return the schema for :data:`cachesync.documents.FIELDS`."""
    builder = tantivy.SchemaBuilder()
    for name in (ID, PAGE):
        builder.add_text_field(name, stored=True, fast=True, tokenizer_name="raw", index_option="basic")
    for name in (RECORD, DIGESTS):
        builder.add_bytes_field(name, stored=True)
    for field in FIELDS.values():
        match field.kind:
            case "keyword" | "date":  # dates are ISO strings, which sort and compare like dates
                whole = _LOWER if field.any_case else "raw"
                builder.add_text_field(field.name, stored=True, fast=True, tokenizer_name=whole, index_option="basic")
            case "text":
                builder.add_text_field(field.name, stored=True, tokenizer_name=_UNSPLIT)
            case "long":
                builder.add_integer_field(field.name, stored=True, indexed=not field.counted, fast=True)
    return builder.build()


def register_analyzers(index: tantivy.Index) -> None:
    """Register the analyzers of text and keyword fields with an opened index."""
    for name, tokenizer in ((_UNSPLIT, tantivy.Tokenizer.regex(r"[^\s\S]")), (_LOWER, tantivy.Tokenizer.raw())):
        analyzer = tantivy.TextAnalyzerBuilder(tokenizer).filter(tantivy.Filter.lowercase()).build()
        index.register_tokenizer(name, analyzer)
        index.register_fast_field_tokenizer(name, analyzer)


def spec_json(put: Put) -> str:
    """Return tantivy's JSON for a document: the id, then its encoded fields."""
    return f'{{"_id":{msgspec.json.encode(put.id).decode()},{put.source[1:].decode()}'


def hit(document: tantivy.Document) -> Hit:
    """Return a spec document as it was written, with its ``_id``."""
    stored: dict[str, list[Any]] = document.to_dict()
    fields: Hit = {ID: stored[ID][0]}
    for name, many in _IS_MANY:
        if many:
            fields[name] = stored.get(name, [])
        elif name in stored:
            fields[name] = stored[name][0]
    return fields

"""Fill an index from pages, without a disk."""

import json
from collections.abc import Iterable, Mapping

from cachesync.documents import document_id, key_of, render
from cachesync.index.base import Index
from cachesync.index.generation import Generation, PageChange, Put
from cachesync.ledger import PageRecord, Signature, digests
from cachesync.pages.page import Page, parse
from cachesync.sync.plan import Todo, page_change
from cachesync.sync.scan import Entry
from tests.support.brute import Document

SIGNATURE = Signature(1, 2, 3, 4, 5)
ENTRY = Entry("", SIGNATURE)


def change_for(path: str, data: bytes, before: bytes | None = None) -> PageChange:
    """What it takes to bring a page from ``before`` (None: not there) to ``data``."""
    page = _page(path, data)
    rendered = render(page)
    assert isinstance(rendered, dict)
    earlier = render(_page(path, before)) if before is not None else {}
    assert isinstance(earlier, dict)
    record = PageRecord(
        page=path,
        signature=SIGNATURE,
        settled=True,
        digest=str(hash(data)),
        package=page.package,
        tag=page.tag,
        specs=len(rendered),
        synced="2026-01-01T00:00:00+00:00",
    )
    todo = Todo(path, ENTRY, record if before is not None else None)
    return page_change(todo, rendered, digests(earlier), record)


def deletion_of(path: str, before: bytes) -> PageChange:
    change = change_for(path, before)
    return PageChange(path, [], [put.id for put in change.puts], change.record, None, {})


def _page(path: str, data: bytes) -> Page:
    page = parse(path, data)
    assert isinstance(page, Page), page
    return page


def documents(pages: Mapping[str, bytes]) -> list[Document]:
    """The documents that an index of these pages has."""
    found = []
    for path, data in pages.items():
        rendered = render(_page(path, data))
        assert isinstance(rendered, dict)
        found += [{"_id": document_id(path, key), **json.loads(source)} for key, source in rendered.items()]
    return found


def write(generation: Generation, changes: Iterable[PageChange]) -> list[str]:
    """Write changes and return the pages in the order of their acknowledgement."""
    return [written.page for written in generation.write(changes)]


def fill(index: Index, pages: Mapping[str, bytes]) -> None:
    """Make a live generation of these pages."""
    with index.writer(5) as writer:
        generation = writer.build()
        write(generation, (change_for(path, data) for path, data in pages.items()))
        writer.promote(generation)


def fill_with(index: Index, documents: Iterable[Document]) -> None:
    """Make a live generation of documents as they are, whatever pages there could be of them."""
    by_page: dict[str, list[Document]] = {}
    for each in documents:
        by_page.setdefault(each["page"], []).append(each)
    with index.writer(5) as writer:
        generation = writer.build()
        write(generation, (_change_of(page, there) for page, there in by_page.items()))
        writer.promote(generation)


def _change_of(page: str, documents: Iterable[Document]) -> PageChange:
    there = list(documents)
    puts = [
        Put(
            each["_id"],
            json.dumps({name: value for name, value in each.items() if name != "_id"}).encode(),
            is_new=True,
        )
        for each in there
    ]
    record = PageRecord(
        page=page,
        signature=SIGNATURE,
        settled=True,
        package=there[0]["package"],
        tag=there[0]["tag"],
        specs=len(there),
        synced="2026-01-01T00:00:00+00:00",
    )
    return PageChange(page, puts, [], None, record, {key_of(page, put.id): b"" for put in puts})

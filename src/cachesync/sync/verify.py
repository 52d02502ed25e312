"""Compare the index with the pages document by document, without trusting the ledger."""

from collections import deque
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from itertools import groupby
from typing import Any, Final, Literal, NamedTuple

import msgspec

from cachesync.context import current
from cachesync.documents import Rendered, document_id, fitting, key_of, render
from cachesync.index.generation import Reader, Remembered
from cachesync.ledger import Digests, digests, document_digest
from cachesync.pages.page import Page, Problem, parse
from cachesync.sync.chunks import in_chunks
from cachesync.sync.passes import Progress
from cachesync.sync.read import Changing, Content, read
from cachesync.sync.scan import Entry, PathWarning, Scan, Source, scan

Kind = Literal["missing", "extra", "different"]

NAMED: Final = 50
"""How many differing documents are named at most."""


class Difference(msgspec.Struct):
    """A document that differs from its page."""

    id: str
    page: str
    kind: Kind
    fields: list[str] = []
    """The differing fields; empty if the document is missing or extra, or if its page is unusable."""


class Verdict(msgspec.Struct):
    """The result of a comparison."""

    pages: int = 0
    """How many pages were compared."""
    specs: int = 0
    """How many documents of these pages the index should hold."""
    missing: int = 0
    """How many documents the index should hold but doesn't."""
    extra: int = 0
    """How many documents the index holds but shouldn't."""
    different: int = 0
    """How many documents differ from their page or, if the page is unusable, from the ledger."""
    ledger: int = 0
    """How many pages have a wrong ledger record."""
    differing: list[str] = []
    """The pages that have missing, extra or different documents, or a wrong ledger record."""
    documents: list[Difference] = []
    """The first missing, extra or different documents, at most :data:`NAMED`."""
    problems: list[Problem] = []
    """Pages that are unusable, and folders that can't be listed. The right documents of an unusable page are unknown,
    so its documents are compared with the ledger: the last good state or, after a repair, what the repair found in the
    index. Pages below folders that can't be listed aren't compared."""
    warnings: list[PathWarning] = []

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``--json`` prints."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found


class _Pair(NamedTuple):
    """A page on disk and in the index."""

    page: str
    entry: Entry | None
    """None: there is no such page on disk."""
    stored: Digests


def verify(source: Source, index: Reader, progress: Progress) -> Verdict:
    """Compare every page with its documents and its ledger record. Memory use is bounded by the largest page.

    Raises:
        UsageError: the root can't be scanned.
        IndexUnavailableError: the index can't be read.
    """
    found = scan(source)
    verdict = Verdict(problems=list(found.problems), warnings=list(found.warnings))
    unseen = {record.page for record in index.records() if found.knows(record.page)}
    pages = len(unseen | found.entries.keys())
    for chunk in in_chunks(_merged(found, index), lambda pair: len(pair.stored)):
        known = index.remembered([pair.page for pair in chunk])
        for pair in chunk:
            current().check()
            unseen.discard(pair.page)
            _compare(verdict, pair, known.get(pair.page), _expected(verdict, pair, source, index), index)
            progress(verdict.pages, max(pages, verdict.pages))
    verdict.ledger += len(unseen)
    verdict.differing += sorted(unseen)
    return verdict


def _merged(found: Scan, index: Reader) -> Iterator[_Pair]:
    """Yield every page that is on disk or has documents, by path, except pages below folders that can't be listed."""
    ahead = deque(sorted(found.entries))
    for page, documents in groupby(index.documents(), key=lambda each: each.page):
        while ahead and ahead[0] < page:
            unstored = ahead.popleft()
            yield _Pair(unstored, found.entries[unstored], {})
        if ahead and ahead[0] == page:
            ahead.popleft()
        if found.knows(page):
            start = document_id(page, "")
            stored = {each.id.removeprefix(start): document_digest(each.source) for each in documents}
            yield _Pair(page, found.entries.get(page), stored)
    yield from (_Pair(page, found.entries[page], {}) for page in ahead)


def _compare(verdict: Verdict, pair: _Pair, known: Remembered | None, rendered: Rendered | None, index: Reader) -> None:
    recorded = known.digests if known else {}
    expected = recorded if rendered is None else digests(rendered)
    stored = pair.stored
    kinds: dict[str, Kind] = dict.fromkeys(expected.keys() - stored.keys(), "missing")
    kinds |= dict.fromkeys(stored.keys() - expected.keys(), "extra")
    different = {key for key, digest in expected.items() if stored.get(key, digest) != digest}
    kinds |= dict.fromkeys(different, "different")
    ledger = recorded != expected or (known is None) != (pair.entry is None) or (known and known.record.pending)
    verdict.pages += 1
    verdict.specs += len(expected)
    for kind in kinds.values():
        setattr(verdict, kind, getattr(verdict, kind) + 1)
    verdict.ledger += bool(ledger)
    if kinds or ledger:
        verdict.differing.append(pair.page)
    if kinds and len(verdict.documents) < NAMED:
        fields = _differing_fields(pair.page, different, rendered or {}, index)
        for key, kind in sorted(kinds.items())[: NAMED - len(verdict.documents)]:
            verdict.documents.append(Difference(document_id(pair.page, key), pair.page, kind, fields.get(key, [])))


def _differing_fields(page: str, keys: AbstractSet[str], rendered: Rendered, index: Reader) -> dict[str, list[str]]:
    """Return the fields in which some of a page's documents differ from what they should be, where that is known.

    The documents are read again. They are few, and keeping those of all pages would take unbounded memory.
    """
    wanted = keys & rendered.keys()
    found = {}
    for each in index.documents(page) if wanted else ():
        key = key_of(page, each.id)
        if key in wanted:
            one, other = msgspec.json.decode(each.source), msgspec.json.decode(rendered[key])
            found[key] = sorted(field for field in one.keys() | other.keys() if one.get(field) != other.get(field))
    return found


def _expected(verdict: Verdict, pair: _Pair, source: Source, index: Reader) -> Rendered | None:
    """Return the documents that the index should hold of a page; None: unknown, because the page is unusable now."""
    if pair.entry is None:
        return {}
    content = read(source, pair.entry)
    if isinstance(content, Changing):
        return None
    page = parse(pair.page, content.data) if isinstance(content, Content) else Problem(pair.page, content.message)
    rendered = render(page) if isinstance(page, Page) else page
    if isinstance(rendered, Problem):
        verdict.problems.append(rendered)
        return None
    return {key: fitting(text, index.fields) for key, text in rendered.items()} if index.outdated else rendered

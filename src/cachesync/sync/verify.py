"""Compare index and pages document by document, without believing the ledger."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, Final, NamedTuple

import msgspec

from cachesync.context import current
from cachesync.documents import Rendered, document_id, fitting, render
from cachesync.index.base import Reader, Remembered
from cachesync.ledger import Digests, digests, document_digest
from cachesync.pages.page import Page, Problem, parse
from cachesync.sync.passes import Progress
from cachesync.sync.read import Content, Moving, Unreadable, read
from cachesync.sync.scan import Entry, PathWarning, Scan, Source, scan

_CHUNK_PAGES: Final = 250
_CHUNK_SPECS: Final = 20_000


class Verdict(msgspec.Struct):
    """What a comparison found."""

    pages: int = 0
    """How many were compared."""
    specs: int = 0
    """How many documents the index should hold of these."""
    missing: int = 0
    """Documents that the index should hold and doesn't."""
    extra: int = 0
    """Documents that it holds and shouldn't."""
    different: int = 0
    """Documents that aren't as their page says; of a page that can't be used, as the ledger says."""
    ledger: int = 0
    """Pages of which the ledger says something else than is so."""
    differing: list[str] = []
    """The pages with any of these."""
    problems: list[Problem] = []
    """Pages that can't be used. What their documents should be nobody can tell: they are compared with what the ledger
    says of them, which is their last good state, or else what a repair has found there. Also folders that can't be
    looked at: what is below them is not compared."""
    warnings: list[PathWarning] = []

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``--json`` prints."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found


class _Side(NamedTuple):
    """A page on disk and in the index."""

    page: str
    entry: Entry | None
    """None: it is gone."""
    there: Digests


def verify(source: Source, index: Reader, progress: Progress) -> Verdict:
    """Compare every page with its documents and its record. What is in memory is bounded by the largest page.

    Args:
        source: where the pages are.
        index: what is compared with them.
        progress: is told of each page.

    Raises:
        UsageError: the root can't be scanned.
        IndexUnavailableError: the index can't be read.
    """
    found = scan(source)
    verdict = Verdict(problems=list(found.problems), warnings=list(found.warnings))
    unseen = {record.page for record in index.records() if found.knows(record.page)}
    pages = len(unseen | found.entries.keys())
    for chunk in _chunks(_merged(found, index)):
        known = index.remembered([side.page for side in chunk])
        for side in chunk:
            current().check()
            unseen.discard(side.page)
            expected = _expected(verdict, side, source)
            if expected is not None and index.outdated:
                expected = {key: fitting(text, index.fields) for key, text in expected.items()}
            _compare(verdict, side, known.get(side.page), expected)
            progress(verdict.pages, max(pages, verdict.pages))
    for page in sorted(unseen):
        verdict.ledger += 1
        verdict.differing.append(page)
    return verdict


def _merged(found: Scan, index: Reader) -> Iterator[_Side]:
    """Yield every page that is on disk or has documents, in the order of their paths, but those that can't be seen."""
    ahead = iter(sorted(found.entries))
    page = next(ahead, None)
    for stored, documents in groupby(index.documents(), key=lambda each: each.page):
        while page is not None and page < stored:
            yield _Side(page, found.entries[page], {})
            page = next(ahead, None)
        if found.knows(stored):
            start = document_id(stored, "")
            there = {each.id.removeprefix(start): document_digest(each.source) for each in documents}
            yield _Side(stored, found.entries.get(stored), there)
        if page == stored:
            page = next(ahead, None)
    while page is not None:
        yield _Side(page, found.entries[page], {})
        page = next(ahead, None)


def _chunks(sides: Iterable[_Side]) -> Iterator[list[_Side]]:
    chunk: list[_Side] = []
    specs = 0
    for side in sides:
        chunk.append(side)
        specs += len(side.there)
        if len(chunk) >= _CHUNK_PAGES or specs >= _CHUNK_SPECS:
            yield chunk
            chunk, specs = [], 0
    if chunk:
        yield chunk


def _compare(verdict: Verdict, side: _Side, known: Remembered | None, rendered: Rendered | None) -> None:
    remembered = known.digests if known else {}
    expected = remembered if rendered is None else digests(rendered)
    there = side.there
    missing = len(expected.keys() - there.keys())
    extra = len(there.keys() - expected.keys())
    different = sum(there[key] != digest for key, digest in expected.items() if key in there)
    ledger = remembered != expected or (known is None) != (side.entry is None) or (known and known.record.pending)
    verdict.pages += 1
    verdict.specs += len(expected)
    verdict.missing += missing
    verdict.extra += extra
    verdict.different += different
    verdict.ledger += bool(ledger)
    if missing or extra or different or ledger:
        verdict.differing.append(side.page)


def _expected(verdict: Verdict, side: _Side, source: Source) -> Rendered | None:
    """Return what the index should hold of a page; None: nobody can tell, but the ledger knows what it held."""
    if side.entry is None:
        return {}
    match read(source, side.entry):
        case Moving():
            return None
        case Unreadable(message):
            verdict.problems.append(Problem(side.page, message))
            return None
        case Content(data):
            page = parse(side.page, data)
            rendered = render(page) if isinstance(page, Page) else page
            if isinstance(rendered, Problem):
                verdict.problems.append(rendered)
                return None
            return rendered

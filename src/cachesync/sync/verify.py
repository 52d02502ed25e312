"""Compare index and pages document by document, without believing the ledger."""

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from itertools import groupby
from typing import Any, Final, Literal, NamedTuple

import msgspec

from cachesync.context import current
from cachesync.documents import Rendered, document_id, fitting, key_of, render
from cachesync.index.base import Reader, Remembered
from cachesync.ledger import Digests, digests, document_digest
from cachesync.pages.page import Page, Problem, parse
from cachesync.sync.passes import Progress
from cachesync.sync.read import Changing, Content, Unreadable, read
from cachesync.sync.scan import Entry, PathWarning, Scan, Source, scan

_CHUNK_PAGES: Final = 250
_CHUNK_SPECS: Final = 20_000


Kind = Literal["missing", "extra", "different"]

NAMED: Final = 50
"""How many documents that differ are named."""


class Difference(msgspec.Struct):
    """A document that isn't as it should be."""

    id: str
    page: str
    kind: Kind
    fields: list[str] = []
    """Those that differ; none where the document is missing or extra, or where its page can't be used."""


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
    documents: list[Difference] = []
    """The first of the documents that are missing, extra or different, :data:`NAMED` at most."""
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
            _compare(verdict, side, known.get(side.page), expected, index)
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


def _compare(verdict: Verdict, side: _Side, known: Remembered | None, rendered: Rendered | None, index: Reader) -> None:
    remembered = known.digests if known else {}
    expected = remembered if rendered is None else digests(rendered)
    there = side.there
    missing = expected.keys() - there.keys()
    extra = there.keys() - expected.keys()
    different = {key for key, digest in expected.items() if key in there and there[key] != digest}
    ledger = remembered != expected or (known is None) != (side.entry is None) or (known and known.record.pending)
    verdict.pages += 1
    verdict.specs += len(expected)
    verdict.missing += len(missing)
    verdict.extra += len(extra)
    verdict.different += len(different)
    verdict.ledger += bool(ledger)
    if missing or extra or different or ledger:
        verdict.differing.append(side.page)
    if (missing or extra or different) and len(verdict.documents) < NAMED:
        fields = _differing_fields(side.page, different, rendered or {}, index)
        kinds: list[tuple[str, Kind]] = [(key, "missing") for key in missing]
        kinds += [(key, "extra") for key in extra]
        kinds += [(key, "different") for key in different]
        for key, kind in sorted(kinds)[: NAMED - len(verdict.documents)]:
            verdict.documents.append(Difference(document_id(side.page, key), side.page, kind, fields.get(key, [])))


def _differing_fields(page: str, keys: AbstractSet[str], rendered: Rendered, index: Reader) -> dict[str, list[str]]:
    """Return in which fields some documents of a page differ from what they should be, as far as that can be told.

    They are read once more: they are few, and to keep those of all pages would take memory without a bound.
    """
    wanted = keys & rendered.keys()
    found = {}
    for each in index.documents(page) if wanted else ():
        key = key_of(page, each.id)
        if key in wanted:
            found[key] = _between(msgspec.json.decode(each.source), msgspec.json.decode(rendered[key]))
    return found


def _between(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Return the fields in which two documents differ."""
    return sorted(field for field in one.keys() | other.keys() if one.get(field) != other.get(field))


def _expected(verdict: Verdict, side: _Side, source: Source) -> Rendered | None:
    """Return what the index should hold of a page; None: nobody can tell, but the ledger knows what it held."""
    if side.entry is None:
        return {}
    match read(source, side.entry):
        case Changing():
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

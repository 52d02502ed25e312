"""A question and its whole answer: hits, facets, how the query was read, how to install, and what is near.

Everything that asks (command line, HTTP, page) gets it from here, and differs only in how it prints it.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from cachesync.documents import BINARY_NUMBER, FIELDS, date_of
from cachesync.errors import AmbiguousError, NotThereError, OutdatedIndexError, UsageError
from cachesync.search.conditions import Piece
from cachesync.search.cursor import Cursor, beginning, encoded, moved, require_same
from cachesync.search.install import install
from cachesync.search.interpretation import Interpretation, read
from cachesync.search.lexer import require_text
from cachesync.search.near import Near, near, why_nothing
from cachesync.search.pagination import Position, ResultPage, cut, page_after
from cachesync.search.query import All, And, In, Or, Prefix, Query, Term, fields_of
from cachesync.search.question import Question
from cachesync.search.request import (
    DEFAULT_ORDER,
    ID,
    LATEST,
    Countable,
    Filter,
    Found,
    Hit,
    Request,
    Searchable,
    SortKey,
)
from cachesync.search.since import Before, since, without
from cachesync.search.tags import newest_first
from cachesync.search.targets import Machine, rebuilds_of, runs_on
from cachesync.search.vocabulary import Vocabulary

_NEWEST_FIRST: Final = (SortKey("tag_date", descending=True), SortKey("tag"))
"""The newest tag first, those without a date last."""

_BINARIES_AT_ONCE: Final = 100
"""Of so many binaries all tags are looked for in one request."""

_MOST_LISTED: Final = 5
"""So many binaries are listed that the beginning of a hash fits."""

_ALL: Final = 10_000
"""More documents than so many binaries have."""


class ReadQuestion(NamedTuple):
    """A question as it was read, which depends on the packages and tags that the index had then."""

    question: Question
    reading: Interpretation
    beside: tuple[Piece, ...]
    """What is asked for beside the text."""
    request: Request
    cursor: Cursor | None = None
    """Where it is to go on; the request leaves out the tags that came since."""


class Answer(NamedTuple):
    """All that is to be said."""

    asked: ReadQuestion
    found: Found
    notes: tuple[str, ...]
    near: tuple[Near, ...]
    took_ms: float
    vocabulary: Vocabulary
    next: Position | None = None
    """Where the hits behind these begin; None: there are no more."""

    @property
    def cursor(self) -> str | None:
        """What leads to the hits behind these."""
        if self.next is None:
            return None
        if self.asked.cursor:
            return encoded(moved(self.asked.cursor, self.next))
        shown = (hit["tag"] for hit in self.found.hits if "tag" in hit)  # perhaps newer than the vocabulary
        tags = (*self.vocabulary.values("tag"), *shown)
        return encoded(beginning(self.next, self.question, self.asked.request, tags))

    @property
    def question(self) -> Question:
        """What was asked."""
        return self.asked.question

    @property
    def reading(self) -> Interpretation:
        """How its text was read."""
        return self.asked.reading


def ask(question: Question, index: Searchable, vocabulary: Vocabulary, mirror_url: str) -> Answer:
    """Read a question and answer it.

    Args:
        question: what is asked.
        index: what it is about.
        vocabulary: what its documents have.
        mirror_url: see :func:`cachesync.search.install.install`.

    Raises:
        QueryError: the text can't be read, or asks for what documents don't tell.
        OutdatedIndexError: the index was made by a version that didn't have what is asked for.
    """
    begun = time.perf_counter()
    found = answer(read_question(question, index, vocabulary), index, vocabulary, mirror_url)
    return found._replace(took_ms=_milliseconds_since(begun))


def read_question(question: Question, index: Countable, vocabulary: Vocabulary) -> ReadQuestion:
    """Turn a question into a request.

    Raises:
        QueryError: the text can't be read, or asks for what documents don't tell.
    """
    question = question._replace(distinct=question.distinct and "binary" in index.fields)
    beside = tuple(_beside(question))
    narrowing = (*_tag(question, index, vocabulary), *question.filters)
    filters = tuple(Piece(_written(each), 0, each.query()) for each in narrowing)
    within = And(tuple(each.query for each in (*beside, *filters)))
    reading = read(question.text, question.mode, index, vocabulary, within)
    request = _request(question, reading, beside, narrowing)._replace(binaries=BINARY_NUMBER in index.fields)
    return ReadQuestion(question, reading, (*beside, *filters), request)


def read_onwards(question: Question, index: Countable, vocabulary: Vocabulary, cursor: Cursor) -> ReadQuestion:
    """Read a question as it was read when the walk of a cursor began, whatever tags have come since.

    Raises:
        QueryError: as :func:`read_question`.
    """
    tags = since(cursor.tags, vocabulary.values("tag"))
    return read_question(question, Before(index, tags), vocabulary.without(tags))


def onwards(asked: ReadQuestion, vocabulary: Vocabulary, cursor: Cursor) -> ReadQuestion:
    """Go on from a cursor with a question as it was read when the walk began, in the tags that there were then.

    Raises:
        UsageError: the cursor isn't of this request.
    """
    require_same(cursor, asked.request)
    query = without(since(cursor.tags, vocabulary.values("tag")), asked.request.query)
    return asked._replace(request=asked.request._replace(query=query), cursor=cursor)


def answer(asked: ReadQuestion, index: Searchable, vocabulary: Vocabulary, mirror_url: str) -> Answer:
    """Answer a question that was read, from the beginning or from where an earlier answer ended.

    Only hits behind its cursor are shown. Totals and facets stay.

    Args:
        asked: what is asked.
        index: what it is about.
        vocabulary: what its documents have.
        mirror_url: see :func:`cachesync.search.install.install`.

    Raises:
        OutdatedIndexError: the index was made by a version that didn't have what is asked for.
    """
    begun = time.perf_counter()
    _, reading, beside, request, cursor = asked
    require_fields(request, index)
    found, page = _found(index, request, cursor.place if cursor else None)
    lacking = _lacking(index)
    if lacking and not found.total:
        raise OutdatedIndexError(_of_age(lacking))
    hits = _all_completed(page.hits, asked, index, mirror_url)
    notes = [*reading.notes, *([_of_age(lacking)] if lacking or index.outdated else [])]
    instead: tuple[Near, ...] = ()
    if not found.total:
        pieces = (*reading.pieces, *beside)
        instead = tuple(near(pieces, reading.name, index, vocabulary))
        notes += why_nothing(pieces, instead, index, vocabulary)
    notes += _of_system(asked, found.total, hits, index)
    whole = found._replace(hits=hits)
    return Answer(asked, whole, tuple(notes), instead, _milliseconds_since(begun), vocabulary, page.next)


def next_hits(asked: ReadQuestion, index: Searchable, mirror_url: str) -> ResultPage:
    """Return no more of an answer than its hits, from the beginning or from where an earlier answer ended.

    Raises:
        OutdatedIndexError: the index was made by a version that didn't have what is asked for.
    """
    request = asked.request._replace(facets=(), binaries=False)
    require_fields(request, index)
    _, page = _found(index, request, asked.cursor.place if asked.cursor else None, count=False)
    return page._replace(hits=_all_completed(page.hits, asked, index, mirror_url))


def _all_completed(hits: Sequence[Hit], asked: ReadQuestion, index: Searchable, mirror_url: str) -> list[Hit]:
    found = [completed(hit, asked.question.machine, mirror_url) for hit in hits]
    if asked.question.distinct:
        add_tags(found, asked.request, index)
    return found


def _of_system(asked: ReadQuestion, total: int, hits: Iterable[Hit], index: Searchable) -> Iterator[str]:
    """Yield a note where something is found for a machine, and nothing of it is built for its system."""
    machine = asked.question.machine
    if machine and total:
        systems = (machine.os, *rebuilds_of(machine.os))
        if any(hit.get("os") in systems for hit in hits):
            return  # as is usual, and then nothing has to be counted
        if index.count([And((asked.request.matching(), In("os", systems)))]) == [0]:
            yield f"nothing of this is built for {machine.os}; binaries of other systems may need a newer C library"


def _milliseconds_since(begun: float) -> float:
    return round((time.perf_counter() - begun) * 1000, 3)


def _found(
    index: Searchable, request: Request, after: Position | None, *, count: bool = True
) -> tuple[Found, ResultPage]:
    """Ask for one hit more than is shown, which tells whether there are more, or for those behind a place."""
    if after:
        counted = index.search(request._replace(limit=0)) if count else Found(0, [], {})
        return counted, page_after(index, request, after)
    found = index.search(request._replace(limit=request.limit + 1) if request.limit else request)
    return found, cut(index, request, found.hits)


def _beside(question: Question) -> Iterator[Piece]:
    """Yield what is asked for beside the text and the filters."""
    machine = question.machine
    if machine:
        yield Piece(f"platform={machine.platform}", 0, Term("platform", machine.platform))
        yield Piece(f"target=:{machine.target}", 0, In("target", runs_on(machine.target)))


def _tag(question: Question, index: Countable, vocabulary: Vocabulary) -> Iterator[Filter]:
    """Yield the filter that the tag is, so that a facet of tags counts the others, too."""
    if question.tag:
        yield Filter("tag", (_latest(index, vocabulary) if question.tag == LATEST else question.tag,))


def _latest(index: Countable, vocabulary: Vocabulary) -> str:
    """Return the newest tag with a date.

    Raises:
        UsageError: none has a date.
    """
    for tag in newest_first(filter(date_of, vocabulary.values("tag"))):
        if index.count([Term("tag", tag)]) != [0]:  # else only documents that are deleted had it
            return tag
    raise UsageError(f"no tag has a date, so none is the {LATEST}")


def _request(
    question: Question, reading: Interpretation, beside: Sequence[Piece], filters: tuple[Filter, ...]
) -> Request:
    ranks: tuple[Query, ...] = () if question.order else reading.ranks
    if question.machine and not question.order:
        same = Term("os", question.machine.os)
        like_it = (same, In("os", related)) if (related := rebuilds_of(question.machine.os)) else (same,)
        ranks = tuple(And((rank, each)) for rank in (*ranks, All()) for each in (*like_it, All()))[:-1]
    return Request(
        query=And((reading.query, *(each.query for each in beside))),
        ranks=ranks,
        filters=filters,
        facets=question.facets,
        order=question.order or DEFAULT_ORDER,
        limit=question.limit,
        distinct=question.distinct,
    )


def require_fields(request: Request, index: Searchable) -> None:
    """Make sure that the index can be asked for all this.

    Raises:
        OutdatedIndexError: another version made it, without some field.
    """
    asked = {field.partition(".")[0] for field in fields_of(request.matching())}
    if missing := asked & _lacking(index):
        raise OutdatedIndexError(_of_age(missing))


def _lacking(index: Searchable) -> frozenset[str]:
    return frozenset(FIELDS) - frozenset(index.fields)


def _of_age(lacking: Iterable[str]) -> str:
    """Say what can't be searched in an index that another version made."""
    fields = ", ".join(sorted(lacking))
    limit = f"without {fields}, so it can't be searched for all that is asked" if fields else "so not all may be found"
    return f"another version of cachesync made this index, {limit}: `cachesync reindex` brings it up to date"


def completed(hit: Hit, machine: Machine | None, mirror_url: str) -> Hit:
    """Add to a hit where it runs and how it is installed."""
    whole = dict(hit)
    if machine:
        whole["runs"] = "same os" if hit.get("os") == machine.os else "other os"
    if found := install(hit, mirror_url):
        whole["install"] = {"mirror": found.mirror, "commands": list(found.commands)}
    return whole


def add_tags(hits: Sequence[Hit], request: Request, index: Searchable) -> None:
    """Add to each binary all tags in which it matches, the newest first, those without a date last."""
    binaries = tuple(hit["binary"] for hit in hits)
    tags: dict[str, dict[str, None]] = {binary: {} for binary in binaries}
    for start in range(0, len(binaries), _BINARIES_AT_ONCE):
        chosen = In("binary", binaries[start : start + _BINARIES_AT_ONCE])
        fields = ("binary", "tag")
        asked = Request(And((request.matching(), chosen)), order=_NEWEST_FIRST, limit=_ALL, fields=fields)
        for document in index.search(asked).hits:
            if "tag" in document:
                tags[document["binary"]][document["tag"]] = None
    for hit in hits:
        hit["tags"] = list(tags[hit["binary"]])


def _written(filter_: Filter) -> str:
    return f"{filter_.field}={','.join(map(str, filter_.values))}"


def as_object(answer: Answer) -> dict[str, Any]:
    """Return the answer as the object that JSON shows."""
    found, reading = answer.found, answer.reading
    shown: dict[str, Any] = {
        "total": found.total,
        "binaries": found.binaries,
        "hits": found.hits,
        "facets": {
            field: [{"value": each.value, "count": each.documents} for each in counts]
            for field, counts in found.facets.items()
        },
        "query": {
            "text": answer.question.text,
            "mode": reading.mode,
            "canonical": reading.canonical,
            "notes": list(answer.notes),
        },
        "took_ms": answer.took_ms,
        "next": answer.cursor,
    }
    if found.approximate:
        shown["approximate"] = list(found.approximate)
    if not found.total:
        shown["near"] = [
            {name: value for name, value in each._asdict().items() if value is not None} for each in answer.near
        ]
    return shown


class Binary(NamedTuple):
    """One binary whole."""

    documents: list[Hit]
    """The newest tag first."""
    tags: list[str]
    stacks: list[str]
    query: dict[str, Any]

    @property
    def newest(self) -> Hit:
        """The document of the newest tag that tells how to install it, else of the newest."""
        return next((each for each in self.documents if "install" in each), self.documents[0])


def binary_as_object(binary: Binary) -> dict[str, Any]:
    """Return a binary as the object that JSON shows."""
    return {
        "binary": binary.newest["binary"],
        "documents": binary.documents,
        "tags": binary.tags,
        "stacks": binary.stacks,
        "install": binary.newest.get("install"),
        "query": binary.query,
    }


def show_binary(name: str, index: Searchable, mirror_url: str) -> Binary:
    """Find the binary of a document's id, or that whose hash begins so, with a slash before it or not.

    Raises:
        NotThereError: there is none.
        AmbiguousError: there are several.
        UsageError: it is a package's name, or none at all.
    """
    require_name(name)
    if index.count([Term("package", name)]) != [0]:
        raise that_is_a_package(name)
    query = _of_binary(name, index)
    found = index.search(Request(query, order=_NEWEST_FIRST, limit=_ALL))
    whole = [hit for hit in found.hits if hit["binary"] == name.removeprefix("/")]
    documents = [completed(hit, None, mirror_url) for hit in whole or found.hits]
    if not documents:
        raise no_such_binary(name)
    binaries = {each["binary"]: each["spec"] for each in documents}
    if len(binaries) > 1:
        listed = [f"/{binary} {spec}" for binary, spec in islice(binaries.items(), _MOST_LISTED)]
        more = [f"and {len(binaries) - len(listed):,} others"] if len(binaries) > len(listed) else []
        raise AmbiguousError(
            "\n".join([f"{name:.80} fits {len(binaries):,} binaries: type more of it", *listed, *more])
        )
    tags = [each["tag"] for each in documents if "tag" in each]
    stacks = dict.fromkeys(stack for each in documents for stack in each["stacks"])
    asked = {"text": name, "mode": "spec", "canonical": f"/{documents[0]['binary']}", "notes": []}
    return Binary(documents, list(dict.fromkeys(tags)), list(stacks), asked)


def require_name(name: str) -> None:
    """Make sure that a text can be what a binary is asked for by.

    Raises:
        UsageError: it can't.
    """
    require_text(name)
    if not name.strip("/ "):
        raise UsageError("expected the id of a document, or the beginning of a hash, as in /wjxrfri")


def that_is_a_package(name: str) -> UsageError:
    """Say that what should be a binary is a package."""
    return UsageError(
        f"{name:.80} is a package: `cachesync search {name:.80}` finds its binaries. A hash that begins so is "
        f"written /{name:.80}"
    )


def no_such_binary(name: str) -> NotThereError:
    """Say that nothing has this id or hash."""
    return NotThereError(f"there is no binary of the id {name!r:.80}, and none whose hash begins so")


def _of_binary(name: str, index: Searchable) -> Query:
    start = name.removeprefix("/")
    if "/" not in start:
        written, lower = Prefix("binary", start), Prefix("binary", start.lower())
        return lower if written == lower or index.count([written]) == [0] else written
    page, _, binary = start.rpartition("/")
    found = index.search(Request(Term("binary", binary), limit=_ALL, fields=("binary", "page")))
    ids = {hit[ID] for hit in found.hits}
    return Term("binary", binary) if f"{page}/{binary}" in ids else Or(())

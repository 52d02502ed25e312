"""Answer questions: find hits and facets, and add the query's interpretation, install commands and near misses.

The command line, the HTTP interface and the page all get their answers from this module; only their output differs.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from cachesync.documents import BINARY_NUMBER, FIELDS, date_of
from cachesync.errors import AmbiguousError, NotThereError, OutdatedIndexError, UsageError
from cachesync.search.added_tags import WithoutTags, added_tags, without_tags
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
from cachesync.search.tags import newest_first
from cachesync.search.targets import Machine, rebuilds_of, runs_on
from cachesync.search.vocabulary import Vocabulary

_NEWEST_FIRST: Final = (SortKey("tag_date", descending=True), SortKey("tag"))
"""The newest tag first, and tags without a date last."""

_BINARIES_AT_ONCE: Final = 100
"""The number of binaries whose tags are requested together."""

_MAX_LISTED: Final = 5
"""The maximum number of binaries that an error about an ambiguous hash lists."""

_ALL: Final = 10_000
"""More documents than :data:`_BINARIES_AT_ONCE` binaries have."""


class ReadQuestion(NamedTuple):
    """A question and its interpretation, which depends on the packages and tags that the index had when it was read."""

    question: Question
    reading: Interpretation
    context: tuple[Piece, ...]
    """The conditions given outside the text: machine, tag and filters."""
    request: Request
    cursor: Cursor | None = None
    """The cursor from which to continue. The request then excludes tags that were added since the walk began."""


class Answer(NamedTuple):
    """The answer to a question."""

    asked: ReadQuestion
    found: Found
    notes: tuple[str, ...]
    near: tuple[Near, ...]
    took_ms: float
    vocabulary: Vocabulary
    next: Position | None = None
    """The position after which the next hits begin, or None if there are no more hits."""

    @property
    def cursor(self) -> str | None:
        """The cursor of the next hits, or None if there are no more hits."""
        if self.next is None:
            return None
        if self.asked.cursor:
            return encoded(moved(self.asked.cursor, self.next))
        shown = (hit["tag"] for hit in self.found.hits if "tag" in hit)  # may be newer than the vocabulary
        tags = (*self.vocabulary.values("tag"), *shown)
        return encoded(beginning(self.next, self.question, self.asked.request, tags))

    @property
    def question(self) -> Question:
        """The question."""
        return self.asked.question

    @property
    def reading(self) -> Interpretation:
        """The interpretation of the question's text."""
        return self.asked.reading


def ask(question: Question, index: Searchable, vocabulary: Vocabulary, mirror_url: str) -> Answer:
    """Read a question and answer it. For ``mirror_url``, see :func:`cachesync.search.install.install`.

    Raises:
        QueryError: the text can't be read, or asks for something that documents don't contain.
        OutdatedIndexError: the index was made by another version and lacks a field that is needed.
    """
    begun = time.perf_counter()
    found = answer(read_question(question, index, vocabulary), index, vocabulary, mirror_url)
    return found._replace(took_ms=_milliseconds_since(begun))


def read_question(question: Question, index: Countable, vocabulary: Vocabulary) -> ReadQuestion:
    """Turn a question into a request.

    Raises:
        QueryError: the text can't be read, or asks for something that documents don't contain.
    """
    question = question._replace(distinct=question.distinct and "binary" in index.fields)
    on_machine = tuple(_machine_conditions(question))
    tag = _latest_tag(index, vocabulary) if question.tag == LATEST else question.tag
    of_tag = (Filter("tag", (tag,)),) if tag else ()  # as a filter, so that a facet of tags also counts the other tags
    narrowing = (*of_tag, *question.filters)
    filters = tuple(Piece(_written(each), 0, each.query()) for each in narrowing)
    within = And(tuple(each.query for each in (*on_machine, *filters)))
    reading = read(question.text, question.mode, index, vocabulary, within)
    request = _request(question, reading, on_machine, narrowing)._replace(binaries=BINARY_NUMBER in index.fields)
    return ReadQuestion(question, reading, (*on_machine, *filters), request)


def read_onwards(question: Question, index: Countable, vocabulary: Vocabulary, cursor: Cursor) -> ReadQuestion:
    """Read a question as it was read when a cursor's walk began, ignoring tags that have been added since then.

    Raises:
        QueryError: see :func:`read_question`.
    """
    tags = added_tags(cursor.tags, vocabulary.values("tag"))
    return read_question(question, WithoutTags(index, tags), vocabulary.without(tags))


def onwards(asked: ReadQuestion, vocabulary: Vocabulary, cursor: Cursor) -> ReadQuestion:
    """Continue from a cursor, with the question and the tags as they were when the walk began.

    Raises:
        UsageError: the cursor belongs to another request.
    """
    require_same(cursor, asked.request)
    query = without_tags(added_tags(cursor.tags, vocabulary.values("tag")), asked.request.query)
    return asked._replace(request=asked.request._replace(query=query), cursor=cursor)


def answer(asked: ReadQuestion, index: Searchable, vocabulary: Vocabulary, mirror_url: str) -> Answer:
    """Answer a question that was read, from the beginning or from where an earlier answer ended.

    With a cursor, the answer has only the hits after the cursor. Totals and facets still count all hits.

    Raises:
        OutdatedIndexError: the index was made by another version and lacks a field that is needed.
    """
    begun = time.perf_counter()
    _, reading, context, request, cursor = asked
    require_fields(request, index)
    found, page = _search_page(index, request, cursor.position if cursor else None)
    missing = _missing_fields(index)
    if missing and not found.total:
        raise OutdatedIndexError(_outdated_message(missing))
    hits = _all_completed(page.hits, asked, index, mirror_url)
    notes = [*reading.notes, *([_outdated_message(missing)] if missing or index.outdated else [])]
    instead: tuple[Near, ...] = ()
    if not found.total:
        pieces = (*reading.pieces, *context)
        instead = tuple(near(pieces, reading.name, index, vocabulary))
        notes += why_nothing(pieces, instead, index, vocabulary)
    notes += _system_notes(asked, found.total, hits, index)
    whole = found._replace(hits=hits)
    return Answer(asked, whole, tuple(notes), instead, _milliseconds_since(begun), vocabulary, page.next)


def next_hits(asked: ReadQuestion, index: Searchable, mirror_url: str) -> ResultPage:
    """Return only the hits of an answer, from the beginning or from where an earlier answer ended.

    Raises:
        OutdatedIndexError: the index was made by another version and lacks a field that is needed.
    """
    request = asked.request._replace(facets=(), binaries=False)
    require_fields(request, index)
    _, page = _search_page(index, request, asked.cursor.position if asked.cursor else None, count=False)
    return page._replace(hits=_all_completed(page.hits, asked, index, mirror_url))


def _all_completed(hits: Sequence[Hit], asked: ReadQuestion, index: Searchable, mirror_url: str) -> list[Hit]:
    found = [completed(hit, asked.question.machine, mirror_url) for hit in hits]
    if asked.question.distinct:
        add_tags(found, asked.request, index)
    return found


def _system_notes(asked: ReadQuestion, total: int, hits: Iterable[Hit], index: Searchable) -> Iterator[str]:
    """Yield a note if hits run on the question's machine, but none is built for the machine's operating system."""
    machine = asked.question.machine
    if machine and total:
        systems = (machine.os, *rebuilds_of(machine.os))
        if any(hit.get("os") in systems for hit in hits):
            return  # in this usual case, the count below isn't needed
        if index.count([And((asked.request.matching(), In("os", systems)))]) == [0]:
            yield f"nothing of this is built for {machine.os}; binaries of other systems may need a newer C library"


def _milliseconds_since(begun: float) -> float:
    return round((time.perf_counter() - begun) * 1000, 3)


def _search_page(
    index: Searchable, request: Request, after: Position | None, *, count: bool = True
) -> tuple[Found, ResultPage]:
    """Search for the first hits, or for the hits after a position. One extra hit shows whether there are more."""
    if after:
        counted = index.search(request._replace(limit=0)) if count else Found(0, [], {})
        return counted, page_after(index, request, after)
    found = index.search(request._replace(limit=request.limit + 1) if request.limit else request)
    return found, cut(index, request, found.hits)


def _machine_conditions(question: Question) -> Iterator[Piece]:
    """Yield the conditions that binaries meet if they run on the question's machine."""
    machine = question.machine
    if machine:
        yield Piece(f"platform={machine.platform}", 0, Term("platform", machine.platform))
        yield Piece(f"target=:{machine.target}", 0, In("target", runs_on(machine.target)))


def _latest_tag(index: Countable, vocabulary: Vocabulary) -> str:
    """Return the newest tag with a date.

    Raises:
        UsageError: no tag has a date.
    """
    for tag in newest_first(filter(date_of, vocabulary.values("tag"))):
        if index.count([Term("tag", tag)]) != [0]:  # vocabularies may contain values of deleted documents
            return tag
    raise UsageError(f"no tag has a date, so none is the {LATEST}")


def _request(
    question: Question, reading: Interpretation, on_machine: Sequence[Piece], filters: tuple[Filter, ...]
) -> Request:
    ranks: tuple[Query, ...] = () if question.order else reading.ranks
    if question.machine and not question.order:
        same = Term("os", question.machine.os)
        same_or_rebuild = (same, In("os", related)) if (related := rebuilds_of(question.machine.os)) else (same,)
        ranks = tuple(And((rank, each)) for rank in (*ranks, All()) for each in (*same_or_rebuild, All()))[:-1]
    return Request(
        query=And((reading.query, *(each.query for each in on_machine))),
        ranks=ranks,
        filters=filters,
        facets=question.facets,
        order=question.order or DEFAULT_ORDER,
        limit=question.limit,
        distinct=question.distinct,
    )


def require_fields(request: Request, index: Searchable) -> None:
    """Check that the index has all fields that a request uses.

    Raises:
        OutdatedIndexError: the index was made by another version and lacks some of the fields.
    """
    asked = {field.partition(".")[0] for field in fields_of(request.matching())}
    if missing := asked & _missing_fields(index):
        raise OutdatedIndexError(_outdated_message(missing))


def _missing_fields(index: Searchable) -> frozenset[str]:
    return frozenset(FIELDS) - frozenset(index.fields)


def _outdated_message(missing: Iterable[str]) -> str:
    """Return the message that an index made by another version can't be searched for everything."""
    fields = ", ".join(sorted(missing))
    limit = f"without {fields}, so it can't be searched for all that is asked" if fields else "so not all may be found"
    return f"another version of cachesync made this index, {limit}: `cachesync reindex` brings it up to date"


def completed(hit: Hit, machine: Machine | None, mirror_url: str) -> Hit:
    """Return a hit that also says whether it is built for the machine's operating system, and how to install it."""
    whole = dict(hit)
    if machine:
        whole["runs"] = "same os" if hit.get("os") == machine.os else "other os"
    if found := install(hit, mirror_url):
        whole["install"] = {"mirror": found.mirror, "commands": list(found.commands)}
    return whole


def add_tags(hits: Sequence[Hit], request: Request, index: Searchable) -> None:
    """Add to each hit all tags in which its binary matches, the newest first, and tags without a date last."""
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
    """Return the answer as the object that JSON output contains."""
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
    """A binary with all its documents."""

    documents: list[Hit]
    """The documents, with those of the newest tag first."""
    tags: list[str]
    stacks: list[str]
    query: dict[str, Any]

    @property
    def newest(self) -> Hit:
        """The newest document that has install commands or, if no document has any, the newest of all."""
        return next((each for each in self.documents if "install" in each), self.documents[0])


def binary_as_object(binary: Binary) -> dict[str, Any]:
    """Return a binary as the object that JSON output contains."""
    return {
        "binary": binary.newest["binary"],
        "documents": binary.documents,
        "tags": binary.tags,
        "stacks": binary.stacks,
        "install": binary.newest.get("install"),
        "query": binary.query,
    }


def show_binary(name: str, index: Searchable, mirror_url: str) -> Binary:
    """Find a binary by a document's ID or by the beginning of the binary's hash, with or without a leading slash.

    Raises:
        NotThereError: no binary matches.
        AmbiguousError: several binaries match.
        UsageError: ``name`` is a package's name, or is empty.
    """
    require_name(name)
    if index.count([Term("package", name)]) != [0]:
        raise that_is_a_package(name)
    query = _binary_query(name, index)
    found = index.search(Request(query, order=_NEWEST_FIRST, limit=_ALL))
    whole = [hit for hit in found.hits if hit["binary"] == name.removeprefix("/")]
    documents = [completed(hit, None, mirror_url) for hit in whole or found.hits]
    if not documents:
        raise no_such_binary(name)
    binaries = {each["binary"]: each["spec"] for each in documents}
    if len(binaries) > 1:
        listed = [f"/{binary} {spec}" for binary, spec in islice(binaries.items(), _MAX_LISTED)]
        more = [f"and {len(binaries) - len(listed):,} others"] if len(binaries) > len(listed) else []
        raise AmbiguousError(
            "\n".join([f"{name:.80} fits {len(binaries):,} binaries: type more of it", *listed, *more])
        )
    tags = [each["tag"] for each in documents if "tag" in each]
    stacks = dict.fromkeys(stack for each in documents for stack in each["stacks"])
    asked = {"text": name, "mode": "spec", "canonical": f"/{documents[0]['binary']}", "notes": []}
    return Binary(documents, list(dict.fromkeys(tags)), list(stacks), asked)


def require_name(name: str) -> None:
    """Check that a string can be a document's ID or a hash.

    Raises:
        UsageError: the string is empty, too long or not UTF-8.
    """
    require_text(name)
    if not name.strip("/ "):
        raise UsageError("expected the id of a document, or the beginning of a hash, as in /wjxrfri")


def that_is_a_package(name: str) -> UsageError:
    """Return the error for a name that belongs to a package instead of a binary."""
    return UsageError(
        f"{name:.80} is a package: `cachesync search {name:.80}` finds its binaries. For a hash that begins "
        f"with it, write /{name:.80}"
    )


def no_such_binary(name: str) -> NotThereError:
    """Return the error for a name that matches no binary's ID or hash."""
    return NotThereError(f"no binary has the id {name!r:.80} or a hash that begins with it")


def _binary_query(name: str, index: Searchable) -> Query:
    start = name.removeprefix("/")
    if "/" not in start:
        written, lower = Prefix("binary", start), Prefix("binary", start.lower())
        return lower if written == lower or index.count([written]) == [0] else written
    page, _, binary = start.rpartition("/")
    found = index.search(Request(Term("binary", binary), limit=_ALL, fields=("binary", "page")))
    ids = {hit[ID] for hit in found.hits}
    return Term("binary", binary) if f"{page}/{binary}" in ids else Or(())

"""Answers questions from the opened index, and caches what later requests need again."""

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final, NamedTuple

from cachesync.errors import IndexUnusableError, NotThereError, UsageError
from cachesync.index.base import Index
from cachesync.index.freshness import Freshness, read_freshness
from cachesync.search.aliases import Aliases
from cachesync.search.answer import (
    Answer,
    Binary,
    ReadQuestion,
    answer,
    completed,
    next_hits,
    onwards,
    read_onwards,
    read_question,
    show_binary,
)
from cachesync.search.cursor import Cursor, question_digest, request_digest
from cachesync.search.difference import TagDifference, difference
from cachesync.search.names import Suggestion
from cachesync.search.question import Question
from cachesync.search.request import Filter, Hit
from cachesync.search.siblings import siblings_of
from cachesync.search.tags import Tag, newest_first, tags
from cachesync.search.walk import Walk
from cachesync.web import opened_index
from cachesync.web.opened_index import Opened, OpenedIndex, unusable_as_unavailable

MOST_REMEMBERED: Final = 1_000
"""How many interpretations of questions are cached: the most recently used."""

SHORTEST_HASH: Final = 4
"""How many characters of a hash a request must have."""


class Overview(NamedTuple):
    """A summary of the index."""

    specs: int
    pages: int
    outdated: bool
    """It was made by another version of cachesync, and lacks fields of this one."""
    freshness: Freshness | None
    """None: the index has no note of it."""


class Searcher:
    """Answers questions. It is thread-safe.

    Every method that reads the index raises IndexUnavailableError if it can't be read.
    """

    def __init__(self, index: Index, aliases: Aliases, mirror_url: str, *, logs_failures: bool = False) -> None:
        """Open nothing yet. ``logs_failures``: log why the index can't be opened, where nothing else does."""
        self._index = index
        self._opened = OpenedIndex(index, aliases, logs_failures=logs_failures)
        self._mirror_url = mirror_url
        self._interpretations = _Interpretations()
        self._overview_lock = threading.Lock()
        self._overview: tuple[float, Overview] | None = None
        self._tags: tuple[str, list[Tag]] | None = None

    def ask(self, question: Question, cursor: Cursor | None = None) -> Answer:
        """Answer a question from the beginning, or from where an earlier answer ended.

        Following a cursor keeps the first interpretation of the question, whatever packages and tags were added since.
        New tags are recognized from the cursor, which works in every process; package names need this process's cache.

        Raises:
            UsageError: the question can't be answered, or the cursor belongs to another one.
        """

        def asked(opened: Opened) -> Answer:
            reader, vocabulary, _ = opened
            vocabulary.look_up(("tag",))  # before the search, so that no hit is of a tag that the vocabulary lacks
            read = self._interpret(question, opened, cursor)
            found = answer(read, reader, vocabulary, self._mirror_url)
            if found.next and not cursor:
                self._interpretations.remember(read)
            return found

        return self._opened.read(asked)

    def export(self, question: Question, cursor: Cursor | None, most: int | None) -> Iterator[list[Hit]]:
        """Yield all hits of a question lazily, or only the first ``most``.

        If another generation becomes live meanwhile, the export continues in that one.

        Raises:
            UsageError: the question can't be answered, or the cursor belongs to another one.
        """
        read = self._opened.read(lambda opened: self._interpret(question, opened, cursor))
        if most is not None:
            yield self._opened.read(lambda opened: next_hits(read, opened.reader, self._mirror_url)).hits
            return
        walk = Walk(read, self._mirror_url)
        is_gone = False
        while True:
            try:
                for hits in walk.hits(self._opened.current(reopen=is_gone).reader):
                    is_gone = False
                    yield hits
                return
            except IndexUnusableError:
                if is_gone:
                    raise
                is_gone = True

    def hit(self, id: str) -> Hit:
        """Return one document.

        Raises:
            NotThereError: there is none with this id.
        """
        found = self._opened.read(lambda opened: opened.reader.get(id))
        if found is None:
            raise NotThereError(f"there is no spec {id!r:.200}")
        return completed(found, None, self._mirror_url)

    def binary(self, hash: str) -> Binary:
        """Return the binary whose hash begins with ``hash``.

        Raises:
            UsageError: there is none, there are several, or ``hash`` is too short.
        """
        if len(hash) < SHORTEST_HASH:
            raise UsageError(f"{hash}: expected a hash, or at least its first {SHORTEST_HASH} characters")
        return self._opened.read(lambda opened: show_binary(f"/{hash}", opened.reader, self._mirror_url))

    def siblings(self, hit: Hit) -> list[Hit]:
        """Return the siblings of a hit, see :func:`cachesync.search.siblings.siblings_of`."""
        return self._opened.read(lambda opened: siblings_of(hit, opened.reader))

    def suggest(self, text: str, limit: int) -> list[Suggestion]:
        """Suggest at most ``limit`` packages for what is typed so far."""
        return self._opened.read(lambda opened: opened.vocabulary.names.suggest(text, limit))

    def difference(self, before: str, after: str, filters: tuple[Filter, ...]) -> TagDifference:
        """Compare two tags.

        Raises:
            UsageError: a tag doesn't exist.
        """
        return self._opened.read(lambda opened: difference(opened.reader, before, after, filters))

    def tags(self) -> list[Tag]:
        """Return all tags, see :func:`cachesync.search.tags.tags`."""

        def listed(opened: Opened) -> list[Tag]:
            if self._tags is None or self._tags[0] != opened.state:
                self._tags = opened.state, tags(opened.reader)
            return self._tags[1]

        return self._opened.read(listed)

    def overview(self) -> Overview:
        """Return a summary of the index, at most a few seconds old."""

        def summarized(opened: Opened) -> Overview:
            specs, pages = opened.reader.size()
            with unusable_as_unavailable():
                freshness = read_freshness(self._index.notes())
            return Overview(specs, pages, opened.reader.outdated, freshness)

        with self._overview_lock:
            if self._overview is None or time.monotonic() - self._overview[0] > opened_index.RECHECK_SECONDS:
                self._overview = time.monotonic(), self._opened.read(summarized)
            return self._overview[1]

    @property
    def last_overview(self) -> Overview | None:
        """The overview that was returned last. This never blocks."""
        return self._overview[1] if self._overview else None

    def tag_names(self) -> list[str]:
        """Return the names of tags, the newest first, those without a date last."""
        return self._opened.read(lambda opened: newest_first(opened.vocabulary.values("tag")))

    def _interpret(self, question: Question, opened: Opened, cursor: Cursor | None) -> ReadQuestion:
        """Interpret a question; with a cursor, as it was interpreted for the first answer.

        Raises:
            UsageError: its interpretation has changed since, and the first one is no longer cached.
        """
        reader, vocabulary, _ = opened
        if cursor is None:
            return read_question(question, reader, vocabulary)
        read = self._interpretations.recall(cursor)
        if read:  # it is of a question that may differ from this one in limit and facets
            request = read.request._replace(limit=question.limit, facets=question.facets)
            read = read._replace(question=question, request=request)
        else:
            read = read_onwards(question, reader, vocabulary, cursor)
        found = onwards(read, vocabulary, cursor)
        self._interpretations.remember(read)
        return found


class _Interpretations:
    """The most recently used interpretations of questions. It is thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], ReadQuestion] = OrderedDict()
        """By the digests of question and request, the least recently used first."""

    def remember(self, read: ReadQuestion) -> None:
        key = question_digest(read.question), request_digest(read.request)
        with self._lock:
            self._kept[key] = read
            self._kept.move_to_end(key)
            while len(self._kept) > MOST_REMEMBERED:
                self._kept.popitem(last=False)

    def recall(self, cursor: Cursor) -> ReadQuestion | None:
        with self._lock:
            return self._kept.get((cursor.question, cursor.request))

"""Answers questions from the opened index, and caches what later requests can reuse."""

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
"""How many interpretations of questions are cached. Those that were used most recently are kept."""

SHORTEST_HASH: Final = 4
"""The minimum number of characters of a hash in a request."""


class Overview(NamedTuple):
    """A summary of the index."""

    specs: int
    pages: int
    outdated: bool
    """Whether another version of cachesync made the index, so that it lacks fields of this version."""
    freshness: Freshness | None
    """None: the index has no note of its freshness."""


class Searcher:
    """Answers questions. A searcher is thread-safe.

    Every method that reads the index raises IndexUnavailableError if it can't be read.
    """

    def __init__(self, index: Index, aliases: Aliases, mirror_url: str, *, logs_failures: bool = False) -> None:
        """Create a searcher without opening the index. ``logs_failures`` is as for :class:`.OpenedIndex`."""
        self._index = index
        self._opened = OpenedIndex(index, aliases, logs_failures=logs_failures)
        self._mirror_url = mirror_url
        self._interpretations = _Interpretations()
        self._overview_lock = threading.Lock()
        self._overview: tuple[float, Overview] | None = None
        self._tags: tuple[str, list[Tag]] | None = None

    def ask(self, question: Question, cursor: Cursor | None = None) -> Answer:
        """Answer a question from the beginning, or from where an earlier answer left off.

        With a cursor, a question keeps its first interpretation, whatever packages and tags have been added since. The
        cursor reveals which tags are new, in any process; ignoring new package names requires this process's cache.

        Raises:
            UsageError: the question can't be answered, or the cursor belongs to another question.
        """

        def asked(opened: Opened) -> Answer:
            reader, vocabulary, _ = opened
            vocabulary.look_up(("tag",))  # before the search, so that the vocabulary has the tags of all hits
            read = self._interpret(question, opened, cursor)
            found = answer(read, reader, vocabulary, self._mirror_url)
            if found.next and not cursor:
                self._interpretations.remember(read)
            return found

        return self._opened.read(asked)

    def export(self, question: Question, cursor: Cursor | None, most: int | None) -> Iterator[list[Hit]]:
        """Yield all hits of a question lazily, or only the first ``most``.

        If another generation goes live during the export, the export continues in that generation.

        Raises:
            UsageError: the question can't be answered, or the cursor belongs to another question.
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
            NotThereError: there is no document with this id.
        """
        found = self._opened.read(lambda opened: opened.reader.get(id))
        if found is None:
            raise NotThereError(f"there is no spec {id!r:.200}")
        return completed(found, None, self._mirror_url)

    def binary(self, hash: str) -> Binary:
        """Return the binary whose hash begins with ``hash``.

        Raises:
            UsageError: there is no such binary, there are several, or ``hash`` is too short.
        """
        if len(hash) < SHORTEST_HASH:
            raise UsageError(f"{hash}: expected a hash, or at least its first {SHORTEST_HASH} characters")
        return self._opened.read(lambda opened: show_binary(f"/{hash}", opened.reader, self._mirror_url))

    def siblings(self, hit: Hit) -> list[Hit]:
        """Return the siblings of a hit, see :func:`cachesync.search.siblings.siblings_of`."""
        return self._opened.read(lambda opened: siblings_of(hit, opened.reader))

    def suggest(self, text: str, limit: int) -> list[Suggestion]:
        """Suggest at most ``limit`` packages for the text typed so far."""
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
        """The overview that was returned last. Reading it never blocks."""
        return self._overview[1] if self._overview else None

    def tag_names(self) -> list[str]:
        """Return the names of all tags, newest first and those without a date last."""
        return self._opened.read(lambda opened: newest_first(opened.vocabulary.values("tag")))

    def _interpret(self, question: Question, opened: Opened, cursor: Cursor | None) -> ReadQuestion:
        """Interpret a question or, with a cursor, return its interpretation for the first answer.

        Raises:
            UsageError: the interpretation has changed since the first answer, and the first one is no longer cached.
        """
        reader, vocabulary, _ = opened
        if cursor is None:
            return read_question(question, reader, vocabulary)
        read = self._interpretations.recall(cursor)
        if read:  # its question may differ from this one in limit and facets
            request = read.request._replace(limit=question.limit, facets=question.facets)
            read = read._replace(question=question, request=request)
        else:
            read = read_onwards(question, reader, vocabulary, cursor)
        found = onwards(read, vocabulary, cursor)
        self._interpretations.remember(read)
        return found


class _Interpretations:
    """A thread-safe cache of the most recently used interpretations of questions."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], ReadQuestion] = OrderedDict()
        """Interpretations by the digests of question and request, the least recently used first."""

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

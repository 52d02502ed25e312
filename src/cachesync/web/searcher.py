"""The index as all HTTP requests share it: opened once, and checked for a newer state every few seconds."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple, TypeVar

from cachesync.errors import IndexUnavailableError, IndexUnusableError, UsageError
from cachesync.index.base import Index, Reader
from cachesync.index.freshness import Freshness, read_freshness
from cachesync.log import Once, get_logger
from cachesync.search.aliases import Aliases
from cachesync.search.answer import (
    Answer,
    ReadQuestion,
    answer,
    completed,
    next_hits,
    onwards,
    read_onwards,
    read_question,
)
from cachesync.search.cursor import Cursor, question_digest, request_digest
from cachesync.search.question import Question
from cachesync.search.request import Hit
from cachesync.search.tags import Tag, newest_first, tags
from cachesync.search.vocabulary import Vocabulary
from cachesync.search.walk import Walk

_log = get_logger()

_RECHECK_SECONDS: Final = 2.0
"""How long an opened index is used before it is checked for changes."""

_FAILED_SECONDS: Final = 1.0
"""How long the error of an index that couldn't be opened is repeated before another attempt."""

_MOST_REMEMBERED: Final = 1_000
"""How many interpretations of questions are cached: the most recently used."""

_Result = TypeVar("_Result")


class Opened(NamedTuple):
    """One state of the index."""

    reader: Reader
    vocabulary: Vocabulary
    state: str


class Overview(NamedTuple):
    """A summary of the index."""

    specs: int
    pages: int
    outdated: bool
    """It was made by another version of cachesync, and lacks fields of this one."""
    freshness: Freshness | None
    """None: the index has no note of it."""


class Searcher:
    """Answers questions. It is thread-safe."""

    def __init__(self, index: Index, aliases: Aliases, mirror_url: str, *, logs_failures: bool = False) -> None:
        """Open nothing yet. ``logs_failures``: log why the index can't be opened, where nothing else does."""
        self._index = index
        self._aliases = aliases
        self.mirror_url = mirror_url
        self._logs_failures = logs_failures
        self._logged = Once()
        """The reason last logged, so that it is logged once."""
        self._lock = threading.Lock()
        self._opened: Opened | None = None
        self._checked_at = float("-inf")
        self._failed: tuple[float, IndexUnavailableError] | None = None
        self._overview_lock = threading.Lock()
        self._overview: tuple[float, Overview] | None = None
        self._tags: tuple[str, list[Tag]] | None = None
        self._remembered: OrderedDict[tuple[str, str], ReadQuestion] = OrderedDict()
        """Interpretations by the digests of question and request, the least recently used first."""

    def ask(self, question: Question, cursor: Cursor | None = None) -> Answer:
        """Answer a question from the beginning, or from where an earlier answer ended.

        Following a cursor keeps the first interpretation of the question, whatever packages and tags were added since.
        New tags are recognized from the cursor, which works in every process; package names need this process's cache.

        Raises:
            UsageError: the question can't be answered, or the cursor belongs to another one.
            IndexUnavailableError: the index can't be read.
        """

        def asked(opened: Opened) -> Answer:
            reader, vocabulary, _ = opened
            vocabulary.look_up(("tag",))  # before the search, so that no hit is of a tag that the vocabulary lacks
            read = self._interpret(question, opened, cursor)
            found = answer(read, reader, vocabulary, self.mirror_url)
            if found.next and not cursor:
                self._remember(read)
            return found

        return self.read(asked)

    def export(self, question: Question, cursor: Cursor | None, most: int | None) -> Iterator[list[Hit]]:
        """Yield all hits of a question lazily, or only the first ``most``.

        If another generation becomes live meanwhile, the export continues in that one.

        Raises:
            UsageError: the question can't be answered, or the cursor belongs to another one.
            IndexUnavailableError: the index can't be read.
        """
        read = self.read(lambda opened: self._interpret(question, opened, cursor))
        if most is not None:
            yield self.read(lambda opened: next_hits(read, opened.reader, self.mirror_url)).hits
            return
        walk = Walk(read, self.mirror_url)
        is_gone = False
        while True:
            try:
                for hits in walk.hits(self._current(reopen=is_gone).reader):
                    is_gone = False
                    yield hits
            except IndexUnusableError:
                if is_gone:
                    raise
                is_gone = True
            else:
                return

    def hit(self, id: str) -> Hit | None:
        """Return one document.

        Raises:
            IndexUnavailableError: the index can't be read.
        """
        found = self.read(lambda opened: opened.reader.get(id))
        return completed(found, None, self.mirror_url) if found else None

    def tags(self) -> list[Tag]:
        """Return all tags, see :func:`cachesync.search.tags.tags`.

        Raises:
            IndexUnavailableError: the index can't be read.
        """

        def listed(opened: Opened) -> list[Tag]:
            if self._tags is None or self._tags[0] != opened.state:
                self._tags = opened.state, tags(opened.reader)
            return self._tags[1]

        return self.read(listed)

    def overview(self) -> Overview:
        """Return a summary of the index, at most a few seconds old.

        Raises:
            IndexUnavailableError: the index can't be read.
        """

        def summarized(opened: Opened) -> Overview:
            specs, pages = opened.reader.size()
            with _unusable_as_unavailable():
                freshness = read_freshness(self._index.notes())
            return Overview(specs, pages, opened.reader.outdated, freshness)

        with self._overview_lock:
            if self._overview is None or time.monotonic() - self._overview[0] > _RECHECK_SECONDS:
                self._overview = time.monotonic(), self.read(summarized)
            return self._overview[1]

    @property
    def last_overview(self) -> Overview | None:
        """The overview that was returned last. This never blocks."""
        return self._overview[1] if self._overview else None

    def tag_names(self) -> list[str]:
        """Return the names of tags, the newest first, those without a date last.

        Raises:
            IndexUnavailableError: the index can't be read.
        """
        return self.read(lambda opened: newest_first(opened.vocabulary.values("tag")))

    def _interpret(self, question: Question, opened: Opened, cursor: Cursor | None) -> ReadQuestion:
        """Interpret a question; with a cursor, as it was interpreted for the first answer.

        Raises:
            UsageError: its interpretation has changed since, and the first one is no longer cached.
        """
        reader, vocabulary, _ = opened
        if cursor is None:
            return read_question(question, reader, vocabulary)
        known = self._recall(cursor)
        read = _asking_for(question, known) if known else read_onwards(question, reader, vocabulary, cursor)
        found = onwards(read, vocabulary, cursor)
        self._remember(read)
        return found

    def read(self, work: Callable[[Opened], _Result]) -> _Result:
        """Run ``work`` on the index, and once more if another generation becomes live meanwhile.

        Raises:
            IndexUnavailableError: the index can't be read.
        """
        try:
            return work(self._current())
        except IndexUnusableError:
            return work(self._current(reopen=True))

    def _current(self, *, reopen: bool = False) -> Opened:
        """Return the index in a state that is at most a few seconds old."""
        with self._lock:
            if reopen or self._opened is None or time.monotonic() - self._checked_at > _RECHECK_SECONDS:
                self._opened = self._reopen()
                self._checked_at = time.monotonic()
            return self._opened

    def _reopen(self) -> Opened:
        """Open the index, or repeat the error if that has just failed."""
        if self._failed and time.monotonic() - self._failed[0] < _FAILED_SECONDS:
            raise self._failed[1]
        try:
            with _unusable_as_unavailable():
                reader = self._index.reader()
            state = reader.state()
        except IndexUnavailableError as error:
            self._failed = time.monotonic(), error
            if self._logs_failures and self._logged.is_news(str(error)):
                _log.warning("the index can't be searched for now", action="index.unavailable", reason=str(error))
            raise
        if self._failed and self._logs_failures:
            _log.info("the index can be searched again", action="index.recovered")
        self._logged.over()
        self._failed = None
        if self._opened and self._opened.state == state:
            return self._opened
        return Opened(reader, Vocabulary(reader, self._aliases), state)

    def _remember(self, read: ReadQuestion) -> None:
        key = question_digest(read.question), request_digest(read.request)
        with self._lock:
            self._remembered[key] = read
            self._remembered.move_to_end(key)
            while len(self._remembered) > _MOST_REMEMBERED:
                self._remembered.popitem(last=False)

    def _recall(self, cursor: Cursor) -> ReadQuestion | None:
        key = cursor.question, cursor.request
        with self._lock:
            return self._remembered.get(key)


@contextmanager
def _unusable_as_unavailable() -> Iterator[None]:
    """Turn a UsageError into an IndexUnavailableError.

    A wrong configuration, or foreign data where the index should be, is not a mistake of the HTTP client.
    """
    try:
        yield
    except UsageError as error:
        raise IndexUnavailableError(str(error)) from error


def _asking_for(question: Question, known: ReadQuestion) -> ReadQuestion:
    """Return a cached interpretation for a question that differs from it in limit and facets only."""
    request = known.request._replace(limit=question.limit, facets=question.facets)
    return known._replace(question=question, request=request)

"""The index as all who ask over HTTP find it: opened once for all of them, and looked at again every few seconds."""

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

_LOOK_SECONDS: Final = 2.0
"""For so long nobody looks whether the index has changed."""

_FAILED_SECONDS: Final = 1.0
"""For so long nobody tries again to open an index that can't be opened."""

_MOST_REMEMBERED: Final = 1_000
"""Of so many questions it is remembered how they were read: those that were asked about last."""

_Result = TypeVar("_Result")


class Opened(NamedTuple):
    """One state of the index."""

    reader: Reader
    vocabulary: Vocabulary
    state: str


class Overview(NamedTuple):
    """What there is to say of an index as a whole."""

    specs: int
    pages: int
    outdated: bool
    """It was made by another version, and lacks what this one knows."""
    freshness: Freshness | None
    """None: nobody has noted it."""


class Searcher:
    """Answers questions. Any thread may ask."""

    def __init__(self, index: Index, aliases: Aliases, mirror_url: str, *, tells: bool = False) -> None:
        """Touch nothing before something is asked. ``tells``: log why the index can't be, which nobody else does."""
        self._index = index
        self._aliases = aliases
        self.mirror_url = mirror_url
        self._tells = tells
        self._told = Once()
        """Why the index can't be asked."""
        self._lock = threading.Lock()
        self._opened: Opened | None = None
        self._looked_at = float("-inf")
        self._failed: tuple[float, IndexUnavailableError] | None = None
        self._overview_lock = threading.Lock()
        self._overview: tuple[float, Overview] | None = None
        self._tags: tuple[str, list[Tag]] | None = None
        self._remembered: OrderedDict[tuple[str, str], ReadQuestion] = OrderedDict()
        """How questions were read, by their digests and those of the requests that they became; the last asked last."""

    def ask(self, question: Question, cursor: Cursor | None = None) -> Answer:
        """Answer a question from the beginning, or from where an earlier answer ended.

        A walk from answer to answer goes on with how the question was read first, whatever packages and tags have come
        since. What tags are new is told from the cursor, so that goes in every process; packages are remembered.

        Raises:
            UsageError: it can't be answered, or the cursor is of no answer to it.
            IndexUnavailableError: the index can't be asked.
        """

        def asked(opened: Opened) -> Answer:
            reader, vocabulary, _ = opened
            vocabulary.look_up(("tag",))  # before hits are looked for: none is of a tag that comes later unnoticed
            read = self._read(question, opened, cursor)
            found = answer(read, reader, vocabulary, self.mirror_url)
            if found.next and not cursor:
                self._remember(read)
            return found

        return self.look(asked)

    def export(self, question: Question, cursor: Cursor | None, most: int | None) -> Iterator[list[Hit]]:
        """Yield all hits of a question, or some thousand at ``most``; the next are looked for when they are wanted.

        It goes on in another generation where one takes the place of the live one.

        Raises:
            UsageError: it can't be answered, or the cursor is of no answer to it.
            IndexUnavailableError: the index can't be asked.
        """
        read = self.look(lambda opened: self._read(question, opened, cursor))
        if most is not None:
            yield self.look(lambda opened: next_hits(read, opened.reader, self.mirror_url)).hits
            return
        walk = Walk(read, self.mirror_url)
        is_gone = False
        while True:
            try:
                for hits in walk.hits(self._current(anew=is_gone).reader):
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
            IndexUnavailableError: the index can't be asked.
        """
        found = self.look(lambda opened: opened.reader.get(id))
        return completed(found, None, self.mirror_url) if found else None

    def tags(self) -> list[Tag]:
        """Return all tags, see :func:`cachesync.search.tags.tags`.

        Raises:
            IndexUnavailableError: the index can't be asked.
        """

        def listed(opened: Opened) -> list[Tag]:
            if self._tags is None or self._tags[0] != opened.state:
                self._tags = opened.state, tags(opened.reader)
            return self._tags[1]

        return self.look(listed)

    def overview(self) -> Overview:
        """Return what there is to say of the index as a whole, as it was a moment ago.

        Raises:
            IndexUnavailableError: the index can't be asked.
        """

        def looked_over(opened: Opened) -> Overview:
            specs, pages = opened.reader.size()
            with _no_fault_of_the_asker():
                fresh = read_freshness(self._index.notes())
            return Overview(specs, pages, opened.reader.outdated, fresh)

        with self._overview_lock:
            if self._overview is None or time.monotonic() - self._overview[0] > _LOOK_SECONDS:
                self._overview = time.monotonic(), self.look(looked_over)
            return self._overview[1]

    @property
    def last_overview(self) -> Overview | None:
        """What there was to say when somebody asked last. It waits for nothing."""
        return self._overview[1] if self._overview else None

    def tag_names(self) -> list[str]:
        """Return the names of tags, the newest first, those without a date last.

        Raises:
            IndexUnavailableError: the index can't be asked.
        """
        return self.look(lambda opened: newest_first(opened.vocabulary.values("tag")))

    def _read(self, question: Question, opened: Opened, cursor: Cursor | None) -> ReadQuestion:
        """Read a question, as it was read when the walk of a cursor began.

        Raises:
            UsageError: it is read otherwise now, and isn't remembered.
        """
        reader, vocabulary, _ = opened
        if cursor is None:
            return read_question(question, reader, vocabulary)
        known = self._recall(cursor)
        read = _asking_for(question, known) if known else read_onwards(question, reader, vocabulary, cursor)
        found = onwards(read, vocabulary, cursor)
        self._remember(read)
        return found

    def look(self, up: Callable[[Opened], _Result]) -> _Result:
        """Look something up in the index; if another generation takes the place of the live one just then, in that.

        Raises:
            IndexUnavailableError: the index can't be asked.
        """
        try:
            return up(self._current())
        except IndexUnusableError:
            return up(self._current(anew=True))

    def _current(self, *, anew: bool = False) -> Opened:
        """Return the index as it is, or was a moment ago."""
        with self._lock:
            if anew or self._opened is None or time.monotonic() - self._looked_at > _LOOK_SECONDS:
                self._opened = self._opened_again()
                self._looked_at = time.monotonic()
            return self._opened

    def _opened_again(self) -> Opened:
        """Open the index. Where that has just failed, nobody waits for it again."""
        if self._failed and time.monotonic() - self._failed[0] < _FAILED_SECONDS:
            raise self._failed[1]
        try:
            with _no_fault_of_the_asker():
                reader = self._index.reader()
            state = reader.state()
        except IndexUnavailableError as error:
            self._failed = time.monotonic(), error
            if self._tells and self._told.is_news(str(error)):
                _log.warning("the index can't be searched for now", reason=str(error))
            raise
        if self._failed and self._tells:
            _log.info("the index can be searched again")
        self._told.over()
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
def _no_fault_of_the_asker() -> Iterator[None]:
    """Turn what is wrong with the configuration into an index that can't be asked: whoever asks has none.

    So it is with something foreign where the index should be.
    """
    try:
        yield
    except UsageError as error:
        raise IndexUnavailableError(str(error)) from error


def _asking_for(question: Question, known: ReadQuestion) -> ReadQuestion:
    """Return how a question was read, for one that asks for more or less of its answer."""
    request = known.request._replace(limit=question.limit, facets=question.facets)
    return known._replace(question=question, request=request)

"""Cursors: where a walk goes on, and of which question and request it is, as text for a URL."""

import base64
from collections.abc import Iterable
from typing import Any, Final

import msgspec
import xxhash

from cachesync.errors import UsageError
from cachesync.search.pagination import Position, is_place
from cachesync.search.question import Question
from cachesync.search.request import Request
from cachesync.search.since import noted

_VERSION: Final = 2
_MOST_CHARACTERS: Final = 32_000
"""More than values of all fields take, unless they are very long; a URL has room for twice as much."""


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """A place in the answer to a question.

    It holds nothing but values to be compared with those of documents and tags, and is good for its own question
    alone. So whoever makes one up only sees another part of the same answer.
    """

    version: int
    question: str
    """A digest of what was asked."""
    request: str
    """A digest of what that was read as. The same question is read otherwise when the index has other packages."""
    tags: bytes
    """Those that there were when the walk began, see :func:`cachesync.search.since.noted`."""
    place: Position


_decode: Final = msgspec.msgpack.Decoder(Cursor).decode


def beginning(place: Position, question: Question, request: Request, tags: Iterable[str]) -> Cursor:
    """Return where a walk goes on that begins with the hits up to a place. ``tags``: those that there are."""
    return Cursor(_VERSION, question_digest(question), request_digest(request), noted(tags), place)


def moved(cursor: Cursor, place: Position) -> Cursor:
    """Return where a walk goes on that has come from a cursor to a place."""
    return msgspec.structs.replace(cursor, place=place)


def encoded(cursor: Cursor) -> str:
    """Return a cursor as text that goes into a URL as it is."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(cursor)).rstrip(b"=").decode()


def decoded(text: str, question: Question) -> Cursor:
    """Read a cursor.

    Raises:
        UsageError: it is none, or of another question.
    """
    try:
        packed = base64.b64decode(text[:_MOST_CHARACTERS] + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        cursor = _decode(packed)
    except (ValueError, msgspec.MsgspecError):  # as binascii.Error is one
        raise UsageError("cursor: expected what an answer has as next") from None
    if cursor.version != _VERSION or cursor.question != question_digest(question):
        raise UsageError("cursor: it is of another search; expected the next of an answer to this one")
    return cursor


def question_digest(question: Question) -> str:
    """Return what tells questions apart whose hits may be others, or come in another order."""
    narrowing = (question.text, question.mode, question.filters, question.tag, question.machine)
    return _digest((narrowing, question.order, question.distinct))


def request_digest(request: Request) -> str:
    """Return what tells requests apart whose hits are others, or come in another order."""
    return _digest((request.query, request.ranks, request.filters, request.order, request.distinct))


def require_same(cursor: Cursor, request: Request) -> None:
    """Make sure that a cursor is of a request.

    Raises:
        UsageError: it isn't.
    """
    if cursor.request != request_digest(request) or not is_place(cursor.place, request):
        raise UsageError("cursor: the index has other packages or tags since, so this search has to begin anew")


def _digest(value: Any) -> str:
    return xxhash.xxh3_64_hexdigest(msgspec.json.encode(value))

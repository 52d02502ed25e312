"""Cursors: strings for URLs with the position where a walk continues, and digests of its question and request."""

import base64
from collections.abc import Iterable
from typing import Any, Final

import msgspec
import xxhash

from cachesync.errors import UsageError
from cachesync.search.added_tags import tag_digests
from cachesync.search.pagination import Position, is_position
from cachesync.search.question import Question
from cachesync.search.request import Request

_VERSION: Final = 2
_MAX_CHARACTERS: Final = 32_000
"""More than all fields need unless their values are very long. A URL has room for twice as many characters."""


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """A position in the answer to a question.

    A cursor contains only values to compare with those of documents and tags, and is valid only for its own question.
    A forged cursor therefore shows nothing except another part of the same answer.
    """

    version: int
    question: str
    """A digest of the question."""
    request: str
    """A digest of the question's request, which changes if the index has other packages or tags."""
    tags: bytes
    """The tags that existed when the walk began (see :func:`cachesync.search.added_tags.tag_digests`)."""
    position: Position


_decode: Final = msgspec.msgpack.Decoder(Cursor).decode


def beginning(position: Position, question: Question, request: Request, tags: Iterable[str]) -> Cursor:
    """Return the cursor that continues a new walk after a position. ``tags`` are all tags that exist now."""
    return Cursor(_VERSION, question_digest(question), request_digest(request), tag_digests(tags), position)


def moved(cursor: Cursor, position: Position) -> Cursor:
    """Return the cursor that continues the walk of another cursor after a later position."""
    return msgspec.structs.replace(cursor, position=position)


def encoded(cursor: Cursor) -> str:
    """Encode a cursor as text that needs no escaping in a URL."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(cursor)).rstrip(b"=").decode()


def decoded(text: str, question: Question) -> Cursor:
    """Decode a cursor.

    Raises:
        UsageError: the text is not a cursor, or the cursor is for another question.
    """
    try:
        packed = base64.b64decode(text[:_MAX_CHARACTERS] + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        cursor = _decode(packed)
    except (ValueError, msgspec.MsgspecError):  # binascii.Error is a ValueError
        raise UsageError("cursor: expected the value of next in an answer") from None
    if cursor.version != _VERSION or cursor.question != question_digest(question):
        raise UsageError("cursor: it is for another search; expected the next of an answer to this one")
    return cursor


def question_digest(question: Question) -> str:
    """Return a digest that differs for questions whose hits, or the order of hits, may differ."""
    narrowing = (question.text, question.mode, question.filters, question.tag, question.machine)
    return _digest((narrowing, question.order, question.distinct))


def request_digest(request: Request) -> str:
    """Return a digest that differs for requests whose hits, or the order of hits, differ."""
    return _digest((request.query, request.ranks, request.filters, request.order, request.distinct))


def require_same(cursor: Cursor, request: Request) -> None:
    """Check that a cursor belongs to a request.

    Raises:
        UsageError: the cursor belongs to another request.
    """
    if cursor.request != request_digest(request) or not is_position(cursor.position, request):
        raise UsageError("cursor: the packages or tags of the index have changed, so this search has to begin anew")


def _digest(value: Any) -> str:
    return xxhash.xxh3_64_hexdigest(msgspec.json.encode(value))

"""Error responses: the status, message and headers for each expected error."""

from http import HTTPStatus
from typing import Final, NamedTuple

from starlette.responses import Response

from cachesync.errors import (
    AmbiguousError,
    CachesyncError,
    ExcessiveError,
    IndexUnavailableError,
    NotThereError,
    OutdatedIndexError,
    QueryError,
    UsageError,
)
from cachesync.web.admission import BusyError, LateError
from cachesync.web.endpoint import error_answer

_RETRY_SECONDS: Final = 5
_BUSY_SECONDS: Final = 1

_EXCESSIVE: Final = "that is more than can be counted at once: ask for fewer values of a facet, or type more of a name"
_UNAVAILABLE: Final = "the index can't be searched just now; try again in a few seconds"
"""What the public sees instead of messages that reveal something about the engine."""


class ErrorReply(NamedTuple):
    """The content of an error response."""

    status: HTTPStatus
    message: str
    at: int | None = None
    """The position of the error in the query, in characters."""
    retry_after: int | None = None
    """How many seconds to wait before a retry."""

    def response(self) -> Response:
        """Return the response as JSON."""
        return error_answer(self.message, self.status, self.at, self.retry_after)


def reply_to(error: CachesyncError, *, is_public: bool) -> ErrorReply:
    """Return the reply to an error, or raise the error if it isn't an expected one.

    With ``is_public``, the message doesn't reveal anything about the engine.
    """
    message = str(error)
    match error:
        case NotThereError():
            return ErrorReply(HTTPStatus.NOT_FOUND, message)
        case AmbiguousError():
            return ErrorReply(HTTPStatus.CONFLICT, message)
        case QueryError():
            return ErrorReply(HTTPStatus.BAD_REQUEST, message, error.at)
        case UsageError():
            is_hidden = is_public and isinstance(error, ExcessiveError)
            return ErrorReply(HTTPStatus.BAD_REQUEST, _EXCESSIVE if is_hidden else message)
        case BusyError():
            return ErrorReply(HTTPStatus.SERVICE_UNAVAILABLE, message, retry_after=_BUSY_SECONDS)
        case LateError():
            return ErrorReply(HTTPStatus.GATEWAY_TIMEOUT, message)
        case IndexUnavailableError():
            is_hidden = is_public and not isinstance(error, OutdatedIndexError)
            shown = _UNAVAILABLE if is_hidden else message
            return ErrorReply(HTTPStatus.SERVICE_UNAVAILABLE, shown, retry_after=_RETRY_SECONDS)
    raise error

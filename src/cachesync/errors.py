"""The errors that end a command, each kind with its exit code.

A bad page is not an error: it is recorded as a :class:`cachesync.pages.page.Problem` and all other pages are processed.
"""

import re
from typing import ClassVar, Final

INTERRUPTED: Final = 130
"""The exit code after Ctrl-C."""


class CachesyncError(Exception):
    """An error caused by a person or a server; its text is the whole message that the user sees."""

    exit_code: ClassVar[int] = 1


class UsageError(CachesyncError):
    """The command line, the query or the configuration is wrong."""

    exit_code = 2


class QueryError(UsageError):
    """A query can't be parsed or answered because of what stands at one of its characters."""

    def __init__(self, at: int, problem: str) -> None:
        super().__init__(f"character {at} of the query: {problem}")
        self.at = at
        """The position of the character, counted from 1. One past the last means that the query ends too early."""


class UnanswerableError(QueryError):
    """A query is well-formed but asks for something that documents don't contain."""


class NotThereError(UsageError):
    """The thing that was named does not exist."""


class AmbiguousError(UsageError):
    """The beginning of a name matches several things."""


class ExcessiveError(UsageError):
    """A search is larger than the index's server can do in one request."""


class PortTakenError(UsageError):
    """Another process listens on the port."""


class IndexUnavailableError(CachesyncError):
    """The index can't be reached, doesn't exist yet, or was busy past the deadline. A retry may succeed."""

    exit_code = 3


class ForbiddenError(IndexUnavailableError):
    """The index's server denied the request: its credentials lack a privilege."""


class OutdatedIndexError(IndexUnavailableError):
    """The index was made by another version and can't answer the query."""


class NoIndexError(IndexUnavailableError):
    """The index doesn't exist yet."""


class IndexUnusableError(IndexUnavailableError):
    """The stored index is damaged or was made by another version: ``sync`` rebuilds it."""


class OvertakenError(IndexUnavailableError):
    """Another process has become the writer, so our knowledge of the index is stale: make a new plan."""


class KibanaError(CachesyncError):
    """Kibana can't be reached, refused the credentials or the objects, or was busy past the deadline."""

    exit_code = 3


class RefusedError(CachesyncError):
    """An operation was refused for safety until a person consents."""

    exit_code = 4


class ConsentError(RefusedError):
    """The operation would lose too many specs: a person has to confirm that this is intended."""


class DefectError(CachesyncError):
    """An unexpected bug in the service, which continues nevertheless. Its log has the traceback."""

    exit_code = 3

    @classmethod
    def of(cls, error: Exception) -> "DefectError":
        """Return the error that reports an unexpected exception."""
        return cls(f"an internal error of the service, whose log has the details: {error!r:.200}")


def library_reason(text: str) -> str:
    """Return the message of a library's error without the objects and the line of C that it names."""
    return re.sub(r"^(\w*\(.*?\)|<.*?>): | \(_ssl\.c:\d+\)$", "", text)

"""The errors that make a command fail, each kind with its exit code.

A bad page is not an error: the page is recorded as a :class:`cachesync.pages.page.Problem`, and all other pages are
processed.
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
    """The query can't be parsed or answered because of the text at one position."""

    def __init__(self, at: int, problem: str) -> None:
        super().__init__(f"character {at} of the query: {problem}")
        self.at = at
        """The position, counted from 1. A position just past the last character means that the query is incomplete."""


class UnanswerableError(QueryError):
    """The query is well-formed but asks for something that documents don't contain."""


class NotThereError(UsageError):
    """The named object doesn't exist."""


class AmbiguousError(UsageError):
    """The beginning of a name matches several objects."""


class ExcessiveError(UsageError):
    """The search is larger than the index's server can answer in one request."""


class PortTakenError(UsageError):
    """Another process is listening on the port."""


class IndexUnavailableError(CachesyncError):
    """The index can't be reached, doesn't exist yet, or was busy past the deadline. A retry may succeed."""

    exit_code = 3


class ForbiddenError(IndexUnavailableError):
    """The index's server denied the request because the credentials lack a privilege."""


class OutdatedIndexError(IndexUnavailableError):
    """The index was made by another version and can't answer the query."""


class NoIndexError(IndexUnavailableError):
    """The index doesn't exist yet."""


class IndexUnusableError(IndexUnavailableError):
    """The stored index is corrupt or was made by another version. ``sync`` rebuilds it."""


class OvertakenError(IndexUnavailableError):
    """Another process has become the writer, so the plan is stale and a new one has to be made."""


class KibanaError(CachesyncError):
    """Kibana can't be reached, rejected the credentials or the objects, or was busy past the deadline."""

    exit_code = 3


class RefusedError(CachesyncError):
    """The operation was refused for safety until a person consents to it."""

    exit_code = 4


class ConsentError(RefusedError):
    """The operation would lose too many specs. A person has to confirm that the loss is intended."""


class DefectError(CachesyncError):
    """An unexpected bug in the service. The service continues, and its log contains the traceback."""

    exit_code = 3

    @classmethod
    def of(cls, error: Exception) -> "DefectError":
        """Return the error that reports an unexpected exception."""
        return cls(f"an internal error of the service, whose log has the details: {error!r:.200}")


def library_reason(text: str) -> str:
    """Return a library's error message without the object at its beginning and the line of C code at its end."""
    return re.sub(r"^(\w*\(.*?\)|<.*?>): | \(_ssl\.c:\d+\)$", "", text)

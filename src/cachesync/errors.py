"""What can go wrong beyond one page, and the exit code each kind ends a command with.

A bad page is no error: it is a :class:`cachesync.pages.page.Problem`, recorded while everything else goes on.
"""

from typing import ClassVar, Final

INTERRUPTED: Final = 130
"""The exit code after Ctrl-C."""


class CachesyncError(Exception):
    """Something a person or a server did; its text is the whole message a user sees."""

    exit_code: ClassVar[int] = 1


class UsageError(CachesyncError):
    """The command line, the query or the configuration is wrong."""

    exit_code = 2


class QueryError(UsageError):
    """A query can't be read, or its answer can't be told, for what stands at one of its characters."""

    def __init__(self, at: int, problem: str) -> None:
        super().__init__(f"character {at} of the query: {problem}")
        self.at = at
        """The character, counted from 1. One behind the last: the query ends too early."""


class UnanswerableError(QueryError):
    """A query is well-formed and asks for what documents don't tell."""


class NotThereError(UsageError):
    """What is asked for by its name isn't there."""


class AmbiguousError(UsageError):
    """What is asked for by the beginning of its name may be one of several."""


class ExcessiveError(UsageError):
    """What is asked for is more than the index's server does in one search."""


class PortTakenError(UsageError):
    """Another process listens on the port."""


class IndexUnavailableError(CachesyncError):
    """The index can't be reached, isn't there yet, or stayed busy past the deadline: worth another try."""

    exit_code = 3


class ForbiddenError(IndexUnavailableError):
    """The index answers, and whoever asks may not do this: a right is missing."""


class OutdatedIndexError(IndexUnavailableError):
    """The index was made by another version, and can't answer what is asked."""


class NoIndexError(IndexUnavailableError):
    """The index isn't there yet."""


class IndexUnusableError(IndexUnavailableError):
    """What is stored is damaged, or was made by another version: ``sync`` builds the index anew."""


class OvertakenError(IndexUnavailableError):
    """Another process has become the writer, so what is known of the index is outdated: plan anew."""


class KibanaError(CachesyncError):
    """Kibana can't be reached, refuses the credentials or what it is to take, or stayed busy past the deadline."""

    exit_code = 3


class RefusedError(CachesyncError):
    """Refused for safety until a person consents."""

    exit_code = 4


class ConsentError(RefusedError):
    """Too much would be lost by it: a person has to say that it is meant."""


class DefectError(CachesyncError):
    """What nobody has thought of, met by a service that goes on all the same. Its log has the whole of it."""

    exit_code = 3

    @classmethod
    def of(cls, error: Exception) -> "DefectError":
        """Say that something went wrong which is nobody's fault but ours."""
        return cls(f"a defect of cachesync, which is in the service's log: {error!r:.200}")

"""Options that several commands have."""

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from cachesync.commands import completion
from cachesync.errors import NoIndexError

if TYPE_CHECKING:  # what is connected with takes a while to load, and an index at hand does without
    from cachesync.remote.server import RemoteServer

filters_option = click.option(
    "--filter",
    "filters",
    multiple=True,
    metavar="FIELD=VALUE",
    shell_complete=completion.filters,
    help="Only documents with this value; repeat for others.",
)


def server_option(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command the option --server. Where it is left out and no index is at hand, the error names it."""

    @click.option(
        "--server",
        metavar="URL",
        help="Ask the cachesync at this URL, where its page is, instead of an index. No configuration is read then.",
    )
    @wraps(command)
    def asked(**values: Any) -> int:
        try:
            return command(**values)
        except NoIndexError as error:
            name = click.get_current_context().info_name
            hint = f"`cachesync {name} --server URL` asks a cachesync over HTTP instead"
            raise NoIndexError(f"{error}\n{hint}") from None

    return asked


def server_at(url: str) -> "RemoteServer":
    """Return the server that answers instead of an index.

    Raises:
        UsageError: the URL can't be one of a server.
    """
    from cachesync.remote.server import RemoteServer  # noqa: PLC0415  see above

    return RemoteServer(url)

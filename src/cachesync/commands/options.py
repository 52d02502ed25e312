"""Options shared by several commands."""

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from cachesync.commands import completion
from cachesync.errors import NoIndexError

if TYPE_CHECKING:  # the HTTP client is slow to import, and only --server needs it
    from cachesync.remote.server import RemoteServer

filters_option = click.option(
    "--filter",
    "filters",
    multiple=True,
    metavar="FIELD=VALUE",
    shell_complete=completion.filters,
    help="Only specs whose FIELD has this VALUE; may be repeated.",
)


def server_option(command: Callable[..., int]) -> Callable[..., int]:
    """Add the option --server to a command. Without the option and without an index, the error suggests the option."""

    @click.option(
        "--server",
        metavar="URL",
        help="Query the cachesync server whose web page is at this URL. The configuration is not read then.",
    )
    @wraps(command)
    def with_hint(**values: Any) -> int:
        try:
            return command(**values)
        except NoIndexError as error:
            name = click.get_current_context().info_name
            hint = f"`cachesync {name} --server URL` queries a cachesync server over HTTP instead"
            raise NoIndexError(f"{error}\n{hint}") from None

    return with_hint


def server_at(url: str) -> "RemoteServer":
    """Return the server that is queried instead of an index.

    Raises:
        UsageError: the URL can't be the URL of a server.
    """
    from cachesync.remote.server import RemoteServer  # noqa: PLC0415  see above

    return RemoteServer(url)

"""Options that several commands have."""

from typing import TYPE_CHECKING

import click

from cachesync.commands import completion

if TYPE_CHECKING:  # what is connected with takes a while to load, and an index at hand does without
    from cachesync.remote.server import Server

filters_option = click.option(
    "--filter",
    "filters",
    multiple=True,
    metavar="FIELD=VALUE",
    shell_complete=completion.filters,
    help="Only documents with this value; repeat for others.",
)

server_option = click.option(
    "--server",
    metavar="URL",
    help="Ask the cachesync at this URL, where its page is, instead of an index. No configuration is read then.",
)


def server_at(url: str) -> "Server":
    """Return the server that answers instead of an index.

    Raises:
        UsageError: the URL can't be one of a server.
    """
    from cachesync.remote.server import Server  # noqa: PLC0415  see above

    return Server(url)

"""Options that several commands have."""

import click

from cachesync.commands import completion

filters_option = click.option(
    "--filter",
    "filters",
    multiple=True,
    metavar="FIELD=VALUE",
    shell_complete=completion.filters,
    help="Only documents with this value; repeat for others.",
)

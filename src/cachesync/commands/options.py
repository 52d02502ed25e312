"""Options that several commands have."""

import click

filters_option = click.option(
    "--filter",
    "filters",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Only documents with this value; repeat for others.",
)

"""``cachesync rollback``: return to the previous generation."""

import click

from cachesync.commands import writer
from cachesync.commands.components import Components


@click.command(short_help="Return to the previous generation of the index and pin it.")
@click.pass_obj
def rollback(components: Components) -> int:
    """Return to the generation that was live before the last reindex, and pin the index there.

    Syncs are refused until the next `cachesync reindex`.

    Exit codes: 0 done, 2 no previous generation is kept, 3 the index can't be written.
    """
    generation = writer.rollback(components)
    click.echo(f"{generation} is live again and pinned: nothing is synced until `cachesync reindex`")
    return 0

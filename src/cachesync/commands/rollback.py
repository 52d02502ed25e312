"""``cachesync rollback``: back to the generation before."""

import click

from cachesync.commands import writer
from cachesync.commands.components import Components


@click.command(short_help="Go back to the generation before, and stay there.")
@click.pass_obj
def rollback(components: Components) -> int:
    """Go back to the generation that was live before the last reindex, and stay there.

    Syncs are refused until `cachesync reindex` is asked for. Exit codes: 0 done, 2 there is none to go back to, 3 no
    index to write to.
    """
    generation = writer.rollback(components)
    click.echo(f"{generation} is live again and stays as it is; `cachesync reindex` goes on from the pages")
    return 0

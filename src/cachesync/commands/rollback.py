"""``cachesync rollback``: back to the generation before."""

import click

from cachesync.commands.handing import by_the_writer
from cachesync.commands.wiring import Wiring
from cachesync.service.handover import Errand, Reply


@click.command(short_help="Go back to the generation before, and stay there.")
@click.pass_obj
def rollback(wiring: Wiring) -> int:
    """Go back to the generation that was live before the last reindex, and stay there.

    Syncs are refused until `cachesync reindex` is asked for. Exit codes: 0 done, 2 there is none to go back to, 3 no
    index to write to.
    """
    errand = Errand("rollback")
    reply = by_the_writer(wiring, errand, _no_progress, lambda writer: Reply(generation=writer.rollback()))
    click.echo(f"{reply.generation} is live again and stays as it is; `cachesync reindex` goes on from the pages")
    return 0


def _no_progress(_done: int, _pages: int) -> None:
    """It is one step."""

"""``cachesync reindex``: a new generation, beside the live one and then in its place."""

import click

from cachesync.commands.output import progress
from cachesync.commands.reporting import finish
from cachesync.commands.wiring import WRITER_WAIT, Wiring
from cachesync.sync import turn
from cachesync.sync.scan import require_root


@click.command()
@click.option("--allow-mass-delete", is_flag=True, help="Go ahead even if most of the specs would be lost.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def reindex(wiring: Wiring, allow_mass_delete: bool, as_json: bool) -> int:
    """Build the index anew from all pages, and swap it in when it is whole.

    Who searches meanwhile finds the index as it was, and in one step the new one. The one before is kept for
    `cachesync rollback`. What was interrupted is removed by the next run.

    Exit codes: 0 done, 1 done but some pages are problems, 3 no index to write to or no room, 4 stopped because too
    much would be lost.
    """
    require_root(wiring.source.root)
    with wiring.index.writer(WRITER_WAIT) as writer, progress("reindex") as show:
        report = turn.reindex(wiring.source, writer, wiring.guard(allow_mass_delete), show)
    return finish(report, wiring, "reindex", as_json=as_json)

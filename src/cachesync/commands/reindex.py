"""``cachesync reindex``: a new generation, beside the live one and then in its place."""

import click

from cachesync.commands import writer
from cachesync.commands.components import Components
from cachesync.commands.outcomes import finish
from cachesync.commands.output import progress


@click.command(short_help="Build the index anew and swap it in when it is whole.")
@click.option("--allow-mass-delete", is_flag=True, help="Go ahead even if most of the specs would be lost.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def reindex(components: Components, allow_mass_delete: bool, as_json: bool) -> int:
    """Build the index anew from all pages, and swap it in when it is whole.

    Who searches meanwhile finds the index as it was, and in one step the new one. The one before is kept for
    `cachesync rollback`. What was interrupted is removed by the next run.

    Exit codes: 0 done, 1 done but some pages are problems, 3 no index to write to or no room, 4 stopped because too
    much would be lost.
    """
    with progress("reindex") as show:
        report = writer.reindex(components, show, consent=allow_mass_delete)
    return finish(report, components, "reindex", as_json=as_json)

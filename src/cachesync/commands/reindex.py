"""``cachesync reindex``: build a new generation beside the live one, then promote it."""

import click

from cachesync.commands import writer
from cachesync.commands.components import Components
from cachesync.commands.output import progress


@click.command(short_help="Build a new index from all pages, then switch to it.")
@click.option("--allow-mass-delete", is_flag=True, help="Continue even if too many specs would be lost.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def reindex(components: Components, allow_mass_delete: bool, as_json: bool) -> int:
    """Build a new index from all pages, then switch to it.

    Searches keep using the current index until the new one is complete and replaces it in one step. The old index is
    kept for `cachesync rollback`. What an interrupted run leaves behind is removed by the next one.

    Exit codes: 0 done, 1 done but some pages have problems, 3 the index can't be written or there is no room, 4 stopped
    because too many specs would be lost.
    """
    with progress("reindex") as show:
        report = writer.reindex(components, show, consent=allow_mass_delete)
    return writer.finish(report, components, "reindex", as_json=as_json)

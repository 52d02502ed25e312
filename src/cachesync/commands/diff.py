"""``cachesync diff``: compare two tags."""

import click

from cachesync.commands import completion, hits
from cachesync.commands.components import Components
from cachesync.commands.options import filters_option, server_at, server_option
from cachesync.commands.output import print_json
from cachesync.log import printable
from cachesync.search.difference import TagDifference, as_object, difference
from cachesync.search.request import check_text, parse_filters


@click.command(short_help="List the binaries that were added and removed between two tags.")
@click.argument("before", metavar="TAG", shell_complete=completion.tags)
@click.argument("after", metavar="TAG", shell_complete=completion.tags)
@filters_option
@server_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def diff(
    components: Components, before: str, after: str, filters: tuple[str, ...], server: str | None, as_json: bool
) -> int:
    """List the binaries that only the second TAG has (+), and those that only the first has (-)."""
    for tag in (before, after):
        check_text("TAG", tag)
    chosen = parse_filters(filters)
    if server is None:
        found = difference(components.reader(), before, after, chosen)
    else:
        found = server_at(server).diff(before, after, chosen)
    if as_json:
        print_json(as_object(found))
    else:
        _print(found)
    return 0


def _print(found: TagDifference) -> None:
    for sign, binaries in (("+", found.added), ("-", found.gone)):
        for each in binaries:
            click.echo(printable(f"{sign} {each.spec}{f' /{each.hash}' if each.hash else ''}"))
    rows = [(each.package, f"{each.added:,}", f"{each.gone:,}") for each in found.packages]
    if rows:
        click.echo()
        for line in hits.aligned(("package", "added", "gone"), rows, right=("added", "gone")):
            click.echo(line)
    click.echo(printable(f"{len(found.added):,} added, {len(found.gone):,} gone from {found.before} to {found.after}"))

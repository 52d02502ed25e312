"""``cachesync sync``: one pass until index = pages."""

import click

from cachesync.commands import writer
from cachesync.commands.components import Components
from cachesync.commands.outcomes import finish
from cachesync.commands.output import progress
from cachesync.errors import IndexUnusableError
from cachesync.index.base import PageChange, Reader
from cachesync.log import printable
from cachesync.sync import full_sync


@click.command()
@click.option("--dry-run", is_flag=True, help="Print what would be added, updated and deleted, and touch nothing.")
@click.option("--allow-mass-delete", is_flag=True, help="Go ahead even if most of the specs would be lost.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def sync(components: Components, dry_run: bool, allow_mass_delete: bool, as_json: bool) -> int:
    """Make the index equal to the pages, then exit.

    Exit codes: 0 done, 1 done but some pages are problems, 3 no index to write to, 4 stopped because too much would
    be lost.
    """
    if dry_run:
        if components.index.status().pinned:
            raise full_sync.pinned_error()
        guard = components.guard(lambda: allow_mass_delete)
        report = full_sync.dry_run(
            components.source, _reader(components), guard, _tell_nothing if as_json else _print_change
        )
    else:
        with progress("sync") as show:
            report = writer.sync(components, show, consent=allow_mass_delete)
    return finish(report, components, "sync", as_json=as_json, dry_run=dry_run)


def _reader(components: Components) -> Reader | None:
    """Return the index as it is; without one, or with one to be built anew, everything is still to be added."""
    if not components.index.exists():
        return None
    try:
        return components.index.reader()
    except IndexUnusableError:
        return None


def _tell_nothing(_change: PageChange) -> None:
    pass


def _print_change(change: PageChange) -> None:
    """Print a line like ``update _cache/develop/zlib/specs.md  +1 ~0 -0``."""
    kind = "update" if change.before else "add"
    if change.record is None:
        kind = "delete"
    elif change.record.problem:
        kind = "problem"
    fresh = sum(put.fresh for put in change.puts)
    click.echo(f"{kind:8} {printable(change.page)}  +{fresh} ~{len(change.puts) - fresh} -{len(change.deletes)}")

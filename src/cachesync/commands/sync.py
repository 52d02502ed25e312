"""``cachesync sync``: make the index equal to the pages."""

import click

from cachesync.commands import writer
from cachesync.commands.components import Components
from cachesync.commands.output import progress
from cachesync.errors import IndexUnusableError
from cachesync.index.generation import PageChange, Reader
from cachesync.log import printable
from cachesync.sync import full_sync


@click.command()
@click.option("--dry-run", is_flag=True, help="Print what would be added, updated and deleted, but change nothing.")
@click.option("--allow-mass-delete", is_flag=True, help="Continue even if too many specs would be lost.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def sync(components: Components, dry_run: bool, allow_mass_delete: bool, as_json: bool) -> int:
    """Make the index equal to the pages, then exit.

    Exit codes: 0 done, 1 done but some pages have problems, 3 the index can't be written, 4 stopped because too many
    specs would be lost.
    """
    if dry_run:
        if components.index.status().pinned:
            raise full_sync.pinned_error()
        guard = components.guard(lambda: allow_mass_delete)
        on_change = (lambda _change: None) if as_json else _print_change
        report = full_sync.dry_run(components.source, _reader(components), guard, on_change)
    else:
        with progress("sync") as show:
            report = writer.sync(components, show, consent=allow_mass_delete)
    return writer.finish(report, components, "sync", as_json=as_json, dry_run=dry_run)


def _reader(components: Components) -> Reader | None:
    """Return the live generation. None means that there is none or it must be rebuilt, so all pages are to be added."""
    if not components.index.exists():
        return None
    try:
        return components.index.reader()
    except IndexUnusableError:
        return None


def _print_change(change: PageChange) -> None:
    """Print a line like ``update _cache/develop/zlib/specs.md  +1 ~0 -0``."""
    kind = "update" if change.before else "add"
    if change.record is None:
        kind = "delete"
    elif change.record.problem:
        kind = "problem"
    added = sum(put.is_new for put in change.puts)
    click.echo(f"{kind:8} {printable(change.page)}  +{added} ~{len(change.puts) - added} -{len(change.deletes)}")

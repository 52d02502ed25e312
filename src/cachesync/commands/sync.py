"""``cachesync sync``: one pass until index = pages."""

import click

from cachesync.commands.output import plural, print_json, printable, progress
from cachesync.commands.wiring import WRITER_WAIT, Wiring
from cachesync.errors import IndexUnusableError, RefusedError
from cachesync.index.base import PageChange, Reader
from cachesync.pages.page import by_page
from cachesync.sync import turn
from cachesync.sync.report import Report
from cachesync.sync.scan import require_root

_HELD_SHOWN = 3


@click.command()
@click.option("--dry-run", is_flag=True, help="Print what would be added, updated and deleted, and touch nothing.")
@click.option("--allow-mass-delete", is_flag=True, help="Go ahead even if most of the specs would be lost.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def sync(wiring: Wiring, dry_run: bool, allow_mass_delete: bool, as_json: bool) -> int:
    """Make the index equal to the pages, then exit.

    Exit codes: 0 done, 1 done but some pages are problems, 3 no index to write to, 4 stopped because too much would
    be lost.
    """
    guard = wiring.guard(allow_mass_delete)
    if dry_run:
        report = turn.dry_run(wiring.source, _reader(wiring), guard, _tell_nothing if as_json else _print_change)
    else:
        require_root(wiring.source.root)  # before the index leaves anything on disk
        with wiring.index.writer(WRITER_WAIT) as writer, progress("sync") as show:
            report = turn.sync(wiring.source, writer, guard, show)
    if as_json:
        print_json(report.to_json())
    else:
        _print(report, dry_run)
    if report.held:
        raise RefusedError(
            f"stopped for safety: {plural(report.lost, 'spec')} would be lost, more than safety.max_delete_fraction "
            f"({wiring.config.safety.max_delete_fraction:g}) of all.\n"
            f"{plural(len(report.held), 'page')} kept as before: {_some(report.held)}\n"
            "Is pages.root mounted and complete? If this is meant: cachesync sync --allow-mass-delete"
        )
    return 1 if report.problems else 0


def _some(pages: list[str]) -> str:
    more = f" and {len(pages) - _HELD_SHOWN:,} more" if len(pages) > _HELD_SHOWN else ""
    return ", ".join(map(printable, pages[:_HELD_SHOWN])) + more


def _reader(wiring: Wiring) -> Reader | None:
    """Return the index as it is; without one, or with one to be built anew, everything is still to be added."""
    if not wiring.index.exists():
        return None
    try:
        return wiring.index.reader()
    except IndexUnusableError:
        return None


def _tell_nothing(_change: PageChange) -> None:
    pass


def _print_change(change: PageChange) -> None:
    """Print a line like ``update _cache/develop/zlib/specs.md  +1 ~0 -0``."""
    kind = "update" if change.known else "add"
    if change.record is None:
        kind = "delete"
    elif change.record.problem:
        kind = "problem"
    fresh = sum(put.fresh for put in change.puts)
    click.echo(f"{kind:8} {printable(change.page)}  +{fresh} ~{len(change.puts) - fresh} -{len(change.deletes)}")


def _print(report: Report, dry_run: bool) -> None:
    pages, specs = report.pages, report.specs
    click.echo(
        f"pages  {pages.added:,} added  {pages.updated:,} updated  {pages.deleted:,} deleted  "
        f"{pages.unchanged:,} unchanged  {plural(pages.problems, 'problem')}"
    )
    click.echo(f"specs  {specs.added:,} added  {specs.updated:,} updated  {specs.deleted:,} deleted")
    for problem in by_page(report.problems):
        click.echo(printable(str(problem)), err=True)
    click.echo("dry run: nothing was touched" if dry_run else f"done in {report.seconds:.1f} s")

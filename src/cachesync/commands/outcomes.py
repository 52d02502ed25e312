"""What `sync`, `reindex` and `verify` share: they print the outcome of a pass and derive the exit code from it."""

from typing import Final

import click

from cachesync.commands.components import Components
from cachesync.commands.output import plural, print_json, print_problems
from cachesync.errors import ConsentError
from cachesync.log import printable
from cachesync.pages.page import by_page
from cachesync.sync.guard import question
from cachesync.sync.report import Report
from cachesync.sync.scan import WHOLE_ROOT, by_path

_PAGES_SHOWN: Final = 3


def finish(report: Report, components: Components, command: str, *, as_json: bool, dry_run: bool = False) -> int:
    """Print a report and return the exit code.

    Raises:
        ConsentError: the guard has withheld deletes.
    """
    if as_json:
        print_json(report.to_json())
    else:
        _print(report, dry_run)
    require_all_done(report, components, command)
    return 1 if report.problems else 0


def require_all_done(report: Report, components: Components, command: str) -> None:
    """Make sure that no deletes were withheld.

    Raises:
        ConsentError: the guard has withheld deletes.
    """
    if report.withheld:
        pages = _list(sorted(report.withheld), report.withheld_pages)
        raise ConsentError(
            f"stopped for safety: {plural(report.lost, 'spec')} would be lost, more than safety.max_delete_fraction "
            f"({components.config.safety.max_delete_fraction:g}) of all.\n"
            f"{plural(report.withheld_pages, 'page')} kept as before: {pages}\n"
            f"{question(command)}"
        )


def _list(pages: list[str], count: int) -> str:
    more = f" and {count - _PAGES_SHOWN:,} more" if count > _PAGES_SHOWN else ""
    return ", ".join(map(printable, pages[:_PAGES_SHOWN])) + more


def _print(report: Report, dry_run: bool) -> None:
    pages, specs = report.pages, report.specs
    click.echo(
        f"pages  {pages.added:,} added  {pages.updated:,} updated  {pages.deleted:,} deleted  "
        f"{pages.unchanged:,} unchanged  {plural(pages.problems, 'problem')}"
    )
    click.echo(f"specs  {specs.added:,} added  {specs.updated:,} updated  {specs.deleted:,} deleted")
    print_problems(by_page(report.problems))
    if (more := pages.problems - len(report.problems)) > 0:
        click.echo(f"… and {more:,} more: `cachesync status` lists all", err=True)
    # The guard's message covers an empty root of which the index has specs.
    print_problems(each for each in by_path(report.warnings) if not (report.before and each.path == WHOLE_ROOT))
    click.echo("dry run: nothing was changed" if dry_run else f"done in {report.seconds:.1f} s")

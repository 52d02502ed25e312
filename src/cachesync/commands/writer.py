"""The code that `sync`, `reindex`, `rollback` and `verify` share.

The running service does the work of these commands; without a service, the commands do the work themselves. The
commands then print the report and derive their exit code from it.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final

import click

from cachesync.commands.components import Components
from cachesync.commands.output import no_progress, plural, print_json, print_problems
from cachesync.context import within
from cachesync.errors import CachesyncError, ConsentError
from cachesync.index.base import Index
from cachesync.index.freshness import Freshness, Shortcoming, note_freshness, read_freshness
from cachesync.index.lifecycle import Writer
from cachesync.log import printable
from cachesync.pages.page import by_page
from cachesync.service.request_client import carry_out
from cachesync.service.requests import CommandRequest, Response, RootNames
from cachesync.service.schedule import LAST_REINDEX, text_of
from cachesync.sync import full_sync
from cachesync.sync.guard import question
from cachesync.sync.passes import Progress
from cachesync.sync.reindex import went_live
from cachesync.sync.report import Report
from cachesync.sync.scan import WHOLE_ROOT, by_path

_PAGES_SHOWN: Final = 3

_NOTE_SECONDS: Final = 5.0
"""How long writing the freshness note may take."""

_NOTE_MAX_AGE: Final = timedelta(minutes=1)
"""A freshness note younger than this isn't replaced by a note with the same content."""


def sync(
    components: Components, progress: Progress, *, consent: bool = False, suspects: list[str] | None = None
) -> Report:
    """Make the index equal to the pages, as :func:`cachesync.sync.full_sync.sync` does."""
    source, guard, suspects = components.source, components.guard(lambda: consent), suspects or []
    request = CommandRequest(command="sync", consent=consent, suspects=suspects, root=RootNames.of(source.root))
    return _reported(
        components,
        request,
        progress,
        lambda writer, _generation: full_sync.sync(source, writer, guard, progress, set(suspects)),
    )


def reindex(components: Components, progress: Progress, *, consent: bool) -> Report:
    """Build a new generation and promote it, as :func:`cachesync.sync.full_sync.reindex` does."""

    def here(writer: Writer, generation: str | None) -> Report:
        report = went_live(writer, generation)
        if report is None:
            report = full_sync.reindex(components.source, writer, components.guard(lambda: consent), progress)
        if not report.withheld:
            components.index.notes().put(LAST_REINDEX, text_of(datetime.now(UTC)))
        return report

    request = CommandRequest(command="reindex", consent=consent, root=RootNames.of(components.source.root))
    return _reported(components, request, progress, here)


def rollback(components: Components) -> str:
    """Return to the previous generation, and return its name."""
    request = CommandRequest(command="rollback")
    response = _carried_out(
        components, request, no_progress, lambda writer, generation: Response.live(writer.rollback(generation))
    )
    assert response.generation
    return response.generation


def _reported(
    components: Components, request: CommandRequest, progress: Progress, here: Callable[[Writer, str | None], Report]
) -> Report:
    """Carry out a request whose outcome is a report, and return the report."""
    response = _carried_out(components, request, progress, lambda *found: Response(finished=True, report=here(*found)))
    assert response.report
    return response.report


def _carried_out(
    components: Components, request: CommandRequest, progress: Progress, here: Callable[[Writer, str | None], Response]
) -> Response:
    """Carry out a request as :func:`carry_out` does. If ``here`` does the work, also write the freshness note."""

    def here_with_note(writer: Writer, generation: str | None) -> Response:
        response = here(writer, generation)
        with suppress(CachesyncError), within(_NOTE_SECONDS):  # the work has succeeded, with or without a note
            _note(components.index, response.report)
        return response

    return carry_out(components.index, request, progress, here_with_note)


def _note(index: Index, report: Report | None) -> None:
    """Write the freshness note after a command. Without a report, the command was a rollback.

    A command with nothing to do needn't be the writer, so a service may have started in the meantime. That service's
    own note is better, so this function leaves it alone.
    """
    status = index.status()
    if status.service:
        return
    notes, now = index.notes(), datetime.now(UTC)
    before = read_freshness(notes)
    written = now if report and report.has_written else before.written if before else None
    lacks: dict[Shortcoming, object] = {
        "held": report and report.withheld,
        "rolled-back": status.pinned,
        "problems": report and report.problems,
    }
    freshness = Freshness(
        noted=now,
        writer="command",
        in_sync=report is not None and not (report.withheld or report.again),
        written=written,
        degraded=tuple(shortcoming for shortcoming, applies in lacks.items() if applies),
    )
    if not (before and before.equals_ignoring_time(freshness) and abs(now - before.noted) < _NOTE_MAX_AGE):
        note_freshness(notes, freshness)


def finish(report: Report, components: Components, command: str, *, as_json: bool, dry_run: bool = False) -> int:
    """Print a report and return the exit code.

    Raises:
        ConsentError: the guard has withheld deletes.
    """
    if as_json:
        print_json(report.to_json())
    else:
        _print_report(report, dry_run)
    require_all_done(report, components, command)
    return 1 if report.problems else 0


def require_all_done(report: Report, components: Components, command: str) -> None:
    """Check that no deletes were withheld.

    Raises:
        ConsentError: the guard has withheld deletes.
    """
    if report.withheld:
        count = report.withheld_pages
        pages = ", ".join(map(printable, sorted(report.withheld)[:_PAGES_SHOWN]))
        more = f" and {count - _PAGES_SHOWN:,} more" if count > _PAGES_SHOWN else ""
        raise ConsentError(
            f"stopped for safety: {plural(report.lost, 'spec')} would be lost, more than safety.max_delete_fraction "
            f"({components.config.safety.max_delete_fraction:g}) of all.\n"
            f"{plural(count, 'page')} kept as before: {pages}{more}\n"
            f"{question(command)}"
        )


def _print_report(report: Report, dry_run: bool) -> None:
    pages, specs = report.pages, report.specs
    click.echo(
        f"pages  {pages.added:,} added  {pages.updated:,} updated  {pages.deleted:,} deleted  "
        f"{pages.unchanged:,} unchanged  {plural(pages.problems, 'problem')}"
    )
    click.echo(f"specs  {specs.added:,} added  {specs.updated:,} updated  {specs.deleted:,} deleted")
    print_problems(by_page(report.problems))
    if (more := pages.problems - len(report.problems)) > 0:
        click.echo(f"… and {more:,} more: `cachesync status` lists all", err=True)
    # The guard's message already covers an empty root whose specs are still in the index.
    print_problems(each for each in by_path(report.warnings) if not (report.before and each.path == WHOLE_ROOT))
    click.echo("dry run: nothing was changed" if dry_run else f"done in {report.seconds:.1f} s")

"""What `sync`, `reindex`, `rollback` and `verify` share: the running service does their work; without one, they do."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final

from cachesync.commands.components import Components
from cachesync.commands.output import no_progress
from cachesync.context import within
from cachesync.errors import CachesyncError
from cachesync.index.base import Index
from cachesync.index.freshness import Freshness, Shortcoming, note_freshness, read_freshness
from cachesync.index.lifecycle import Writer
from cachesync.service.request_client import carry_out
from cachesync.service.requests import CommandRequest, Response, RootNames
from cachesync.service.schedule import LAST_REINDEX, text_of
from cachesync.sync import full_sync
from cachesync.sync.passes import Progress
from cachesync.sync.reindex import went_live
from cachesync.sync.report import Report

_NOTE_SECONDS: Final = 5.0
"""How long writing the freshness note may take."""

_NOTE_MAX_AGE: Final = timedelta(minutes=1)
"""A younger freshness note isn't replaced by one with the same content."""


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
    """Carry out a request whose outcome is a report."""
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
    """Write the freshness note after a command; without a report, after a rollback.

    A command with nothing to do needn't be the writer, so a service may have started meanwhile: its own note is better.
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

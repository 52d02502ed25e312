"""What only the one writer may do: the running service does it for a command, or the command itself where none runs."""

from datetime import UTC, datetime

from cachesync.commands.wiring import Wiring
from cachesync.index.base import Writer
from cachesync.service.requests import Request, Response, RootNames, carry_out
from cachesync.service.schedule import LAST_REINDEX, text_of
from cachesync.sync import turn
from cachesync.sync.passes import Progress
from cachesync.sync.rebuild import went_live
from cachesync.sync.report import Report


def sync(wiring: Wiring, progress: Progress, *, consent: bool = False, suspects: list[str] | None = None) -> Report:
    """Make the index equal to the pages, as :func:`cachesync.sync.turn.sync` does."""
    root = RootNames.of(wiring.source.root)
    request = Request(command="sync", consent=consent, suspects=suspects or [], root=root)

    def here(writer: Writer, _generation: str | None) -> Response:
        guard = wiring.guard(lambda: consent)
        return Response(finished=True, report=turn.sync(wiring.source, writer, guard, progress, set(request.suspects)))

    return _report(carry_out(wiring.index, request, progress, here, wiring.source.root))


def reindex(wiring: Wiring, progress: Progress, *, consent: bool) -> Report:
    """Build a new generation and let it go live, as :func:`cachesync.sync.turn.reindex` does."""

    def here(writer: Writer, generation: str | None) -> Response:
        report = went_live(writer, generation)
        if report is None:
            report = turn.reindex(wiring.source, writer, wiring.guard(lambda: consent), progress)
        if not report.held:
            wiring.index.notes().put(LAST_REINDEX, text_of(datetime.now(UTC)))
        return Response(finished=True, report=report)

    request = Request(command="reindex", consent=consent, root=RootNames.of(wiring.source.root))
    return _report(carry_out(wiring.index, request, progress, here, wiring.source.root))


def rollback(wiring: Wiring) -> str:
    """Go back to the generation before, and return its name."""

    def here(writer: Writer, generation: str | None) -> Response:
        return Response.live(writer.rollback(generation))

    response = carry_out(wiring.index, Request(command="rollback"), lambda _done, _pages: None, here, None)
    assert response.generation
    return response.generation


def _report(response: Response) -> Report:
    assert response.report
    return response.report

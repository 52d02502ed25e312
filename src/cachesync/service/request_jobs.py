"""The job that carries out commands' requests: sync, reindex and rollback."""

from datetime import UTC, datetime
from functools import partial

from cachesync.context import StoppedError
from cachesync.errors import CachesyncError, DefectError, OvertakenError
from cachesync.log import DEFECT, get_logger
from cachesync.service.requests import CommandRequest, Response, RootNames
from cachesync.service.session import Session
from cachesync.service.sync_jobs import SyncJobs
from cachesync.sync import full_sync
from cachesync.sync.reindex import went_live
from cachesync.sync.report import Report

_log = get_logger()


class RequestJobs:
    """Carries out requests on behalf of the commands that made them."""

    def __init__(self, session: Session, sync_jobs: SyncJobs) -> None:
        self._session = session
        self._source = session.resources.options.source
        self._sync_jobs = sync_jobs
        self._requests = session.requests
        self._reindex = session.reindex

    def carry_out_all(self) -> None:
        """Carry out the commands' requests, and write the responses."""
        for request in self._requests.poll():
            running = self._reindex.running
            if not running or request.id != running.request:
                self._carry_out(request)
        if (running := self._reindex.running) and running.request:
            if not self._requests.is_waited_for(running.request):
                self._reindex.cancel()
            self._requests.progress(running.request, running.done, running.pages)
        self._requests.respond()

    def _carry_out(self, request: CommandRequest) -> None:
        if request.command != "sync" and self._reindex.running:
            return  # the request waits until that reindex has finished
        try:
            RootNames.of(self._source.root).require_same(request.root)
            if request.command == "sync":
                self._requests.settle(request.id, Response.done_with(self._sync(request)))
            elif request.command == "rollback":
                self._roll_back(request)
            elif (report := went_live(self._session.writer, request.generation)) is not None:
                self._requests.settle(request.id, Response.done_with(report))
                self._session.timetable.reindexed(datetime.now(UTC))
            else:
                self._reindex.start(request.id, consent=request.consent)
        except (OvertakenError, StoppedError):  # the next writer carries out the request
            raise
        except CachesyncError as error:
            self._requests.settle(request.id, Response.failed(error))
        except Exception as error:  # noqa: BLE001  the command and the requests behind it are waiting
            _log.exception(DEFECT, action="defect.found", job=request.command)
            self._requests.settle(request.id, Response.failed(DefectError.of(error)))

    def _sync(self, request: CommandRequest) -> Report:
        consent = partial(self._requests.consents, request.id) if request.consent else None
        guard, suspects = self._session.loss_guard.for_full_pass(consent), set(request.suspects)

        def progress(done: int, pages: int) -> None:
            self._requests.progress(request.id, done, pages)
            self._session.freshness_notes.note_if_due()

        return self._sync_jobs.run_full_pass(
            "sync",
            guard,
            lambda: full_sync.sync(self._source, self._session.writer, guard, progress, suspects, self._reindex.cancel),
        )

    def _roll_back(self, request: CommandRequest) -> None:
        before = request.generation or next(iter(self._session.resources.index.status().kept), None)
        if before:
            self._requests.note_promotion(request.id, before)
        generation = self._session.writer.rollback(before)
        self._requests.settle(request.id, Response.live(generation))
        _log.info("rolled back; nothing is synced until a reindex", action="rollback.completed", generation=generation)
        self._sync_jobs.enter_pinned()

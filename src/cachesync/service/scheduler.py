"""A scheduler, which runs one job at a time and retries failed jobs with back-off."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from cachesync.context import StoppedError
from cachesync.errors import CachesyncError, DefectError, OvertakenError
from cachesync.log import DEFECT, get_logger
from cachesync.retry import delays

_log = get_logger()

NEVER: Final = float("inf")
"""The due time of a job that isn't due."""

_RETRY_SECONDS: Final = (1.0, 5.0)
"""How long to wait before a failed job runs again: after the first failure, and at most after later failures."""


class Job(NamedTuple):
    """A recurring task."""

    name: str
    due: Callable[[], float]
    """Returns when the job is due next, by the scheduler's clock."""
    run: Callable[[], None]


class _Failing(NamedTuple):
    delays: Iterator[float]
    error: CachesyncError


class Scheduler:
    """Runs the job that has been due for longest."""

    def __init__(
        self,
        jobs: Sequence[Job],
        on_failure: Callable[[str, CachesyncError, bool], float | None],
        on_recovery: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create a scheduler; ``clock`` returns the time in seconds since an arbitrary starting point.

        ``on_failure`` is called with a job's name, the job's error, and whether no job was failing before. It returns
        the seconds until the job's next run, or None for the scheduler's back-off. ``on_recovery`` is called with the
        name of a job that had failed and has now succeeded.
        """
        self.jobs = {job.name: job for job in jobs}
        """The jobs by name."""
        self._on_failure = on_failure
        self._on_recovery = on_recovery
        self._clock = clock
        self._failing: dict[str, _Failing] = {}
        self._not_before: dict[str, float] = {}

    @property
    def errors(self) -> list[CachesyncError]:
        """The last error of each job that is failing."""
        return [failing.error for failing in self._failing.values()]

    def next(self) -> tuple[Job, float]:
        """Return the next job to run and the seconds until it is due, which are not above zero if it is due now."""
        job = min(self.jobs.values(), key=self._due)
        return job, self.seconds_until(job)

    def seconds_until(self, job: Job) -> float:
        """Return the seconds until a job is due, which are not above zero if it is due now."""
        return self._due(job) - self._clock()

    def _due(self, job: Job) -> float:
        return max(job.due(), self._not_before.get(job.name, 0.0))

    def run(self, job: Job) -> None:
        """Run a job. A job that fails becomes due again later, and other jobs can run before then.

        Raises:
            OvertakenError: another process has become the writer.
            StoppedError: the context is to stop.
        """
        try:
            job.run()
        except (OvertakenError, StoppedError):
            raise
        except CachesyncError as error:
            self._fail(job.name, error)
        except Exception as error:  # noqa: BLE001  nothing would restart the loop, and the next run may succeed
            _log.exception(DEFECT, action="defect.found", job=job.name)
            self._fail(job.name, DefectError.of(error))
        else:
            self.recover(job.name)

    def _fail(self, job: str, error: CachesyncError) -> None:
        is_first = not self._failing
        before = self._failing.get(job)
        waits = before.delays if before else delays(*_RETRY_SECONDS)
        self._failing[job] = _Failing(waits, error)
        delay = next(waits)
        wanted = self._on_failure(job, error, is_first)
        self._not_before[job] = self._clock() + (delay if wanted is None else wanted)

    def recover(self, job: str) -> None:
        """Mark a job as succeeded, even if another job has done the work."""
        self._not_before.pop(job, None)
        if self._failing.pop(job, None):
            self._on_recovery(job)

    def recover_all(self) -> None:
        """Mark every job as succeeded."""
        for name in list(self._failing):
            self.recover(name)

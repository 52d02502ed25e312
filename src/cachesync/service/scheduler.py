"""A scheduler of jobs: it runs one at a time, and retries those that fail with back-off. What they do is theirs."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from cachesync.context import StoppedError, delays
from cachesync.errors import CachesyncError, DefectError, OvertakenError
from cachesync.log import get_logger

_log = get_logger()

NEVER: Final = float("inf")
"""When a job is due that isn't due at all."""

_RETRY_SECONDS: Final = (1.0, 5.0)
"""How long a job that failed waits before its next run, after the first failure and at most."""


class Job(NamedTuple):
    """Something to do again and again."""

    name: str
    due: Callable[[], float]
    """When it is due next, by the scheduler's clock."""
    run: Callable[[], None]


class Listener(Protocol):
    """Is told how jobs fare."""

    def job_failed(self, job: str, error: CachesyncError, *, is_first: bool) -> float | None:
        """A job has failed. Return the seconds until its next run, or None to leave them to the scheduler's back-off.

        ``is_first``: no other job was failing.
        """

    def job_recovered(self, job: str) -> None:
        """A job that had failed has succeeded."""


class _Failing(NamedTuple):
    delays: Iterator[float]
    error: CachesyncError


class Scheduler:
    """Runs whichever job has been due for longest."""

    def __init__(self, jobs: Sequence[Job], listener: Listener, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` returns the time in seconds, from any beginning."""
        self.jobs = {job.name: job for job in jobs}
        """By name."""
        self._listener = listener
        self._clock = clock
        self._failing: dict[str, _Failing] = {}
        self._not_before: dict[str, float] = {}

    @property
    def errors(self) -> list[CachesyncError]:
        """The last error of each job that is failing."""
        return [failing.error for failing in self._failing.values()]

    def next(self) -> tuple[Job, float]:
        """Return the next job to run, and in how many seconds; it is due where they are not above zero."""
        job = min(self.jobs.values(), key=self._due)
        return job, self.seconds_until(job)

    def seconds_until(self, job: Job) -> float:
        """Return in how many seconds a job is due; at most 0: it is."""
        return self._due(job) - self._clock()

    def _due(self, job: Job) -> float:
        return max(job.due(), self._not_before.get(job.name, 0.0))

    def run(self, job: Job) -> None:
        """Run a job. If it fails, it is due again later, and other jobs run meanwhile.

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
        except Exception as error:  # noqa: BLE001  nobody would start the loop again, and the next run may succeed
            _log.exception("a defect of cachesync: please report it", job=job.name)
            self._fail(job.name, DefectError.of(error))
        else:
            self.recover(job.name)

    def _fail(self, job: str, error: CachesyncError) -> None:
        is_first = not self._failing
        before = self._failing.get(job)
        waits = before.delays if before else delays(*_RETRY_SECONDS)
        self._failing[job] = _Failing(waits, error)
        delay = next(waits)
        wanted = self._listener.job_failed(job, error, is_first=is_first)
        self._not_before[job] = self._clock() + (delay if wanted is None else wanted)

    def recover(self, job: str) -> None:
        """Take a job for one that succeeded, also where another job has done its work."""
        self._not_before.pop(job, None)
        if self._failing.pop(job, None):
            self._listener.job_recovered(job)

    def recover_all(self) -> None:
        """Take every job for one that succeeded."""
        for name in list(self._failing):
            self.recover(name)

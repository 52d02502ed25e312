"""The scheduler, with a clock that the test sets."""

from collections.abc import Callable

import pytest

from cachesync.context import StoppedError
from cachesync.errors import CachesyncError, DefectError, IndexUnavailableError, OvertakenError
from cachesync.service.scheduler import NEVER, Job, Scheduler


class World:
    """Jobs, a clock, and what the scheduler reports."""

    def __init__(self, *names: str) -> None:
        self.now = 1_000.0
        self.due = dict.fromkeys(names, NEVER)
        self.errors: dict[str, Exception] = {}
        self.runs: list[str] = []
        self.said: list[str] = []
        self.wanted: float | None = None
        jobs = [Job(name, self._due(name), self._run(name)) for name in names]
        self.scheduler = Scheduler(jobs, self._job_failed, self._job_recovered, self._time)

    def _time(self) -> float:
        return self.now

    def _due(self, name: str) -> Callable[[], float]:
        return lambda: self.due[name]

    def _run(self, name: str) -> Callable[[], None]:
        def run() -> None:
            self.runs.append(name)
            if name in self.errors:
                raise self.errors[name]

        return run

    def _job_failed(self, job: str, error: CachesyncError, is_first: bool) -> float | None:
        self.said.append(f"{job} failed{' first' if is_first else ''}: {error}")
        return self.wanted

    def _job_recovered(self, job: str) -> None:
        self.said.append(f"{job} recovered")

    def run(self, name: str) -> float:
        """Run a job, and return in how many seconds it is due again."""
        job = self.scheduler.jobs[name]
        self.scheduler.run(job)
        return self.scheduler.seconds_until(job)


def test_the_job_that_has_been_due_for_longest_is_next() -> None:
    world = World("scan", "check", "note")
    world.due = {"scan": 990.0, "check": 980.0, "note": NEVER}
    job, seconds = world.scheduler.next()
    assert (job.name, seconds) == ("check", -20.0)
    world.due["check"] = 1_005.0
    assert world.scheduler.next()[0].name == "scan"
    world.due["scan"] = NEVER
    job, seconds = world.scheduler.next()
    assert (job.name, seconds) == ("check", 5.0)


def test_a_failed_job_is_retried_with_back_off_until_it_succeeds() -> None:
    world = World("scan")
    world.due["scan"] = 0.0
    world.errors["scan"] = IndexUnavailableError("away")
    waits = [world.run("scan") for _ in range(12)]
    assert waits[0] < waits[-1]
    assert all(0 < wait <= 5 for wait in waits)
    world.now += 5
    assert world.scheduler.next()[1] <= 0
    del world.errors["scan"]
    assert world.run("scan") <= 0, "no back-off is left"
    assert world.said == ["scan failed first: away", *["scan failed: away"] * 11, "scan recovered"]
    world.errors["scan"] = IndexUnavailableError("away")
    assert world.run("scan") <= 1.5, "back-off begins anew"


def test_other_jobs_run_while_one_waits_for_its_retry() -> None:
    world = World("scan", "check")
    world.due = {"scan": 0.0, "check": 500.0}
    world.errors["scan"] = IndexUnavailableError("away")
    world.run("scan")
    assert world.scheduler.next()[0].name == "check"
    world.run("check")
    assert world.runs == ["scan", "check"]
    assert [str(error) for error in world.scheduler.errors] == ["away"]


def test_a_second_failing_job_is_not_the_first() -> None:
    world = World("scan", "check")
    world.errors = {"scan": IndexUnavailableError("away"), "check": IndexUnavailableError("gone")}
    world.run("scan")
    world.run("check")
    assert world.said == ["scan failed first: away", "check failed: gone"]


def test_the_listener_may_choose_the_delay() -> None:
    world = World("scan")
    world.due["scan"] = 0.0
    world.errors["scan"] = IndexUnavailableError("away")
    world.wanted = 3_600.0
    assert world.run("scan") == 3_600.0


def test_an_unexpected_error_is_a_failure_too() -> None:
    world = World("scan")
    world.errors["scan"] = ZeroDivisionError("division by zero")
    world.run("scan")
    (error,) = world.scheduler.errors
    assert isinstance(error, DefectError)


@pytest.mark.parametrize("error", [OvertakenError("by another"), StoppedError()])
def test_errors_that_end_the_loop_are_not_failures(error: Exception) -> None:
    world = World("scan")
    world.errors["scan"] = error
    with pytest.raises(type(error)):
        world.run("scan")
    assert world.scheduler.errors == []
    assert world.said == []


def test_a_job_whose_work_another_job_did_is_due_at_once() -> None:
    world = World("scan", "check")
    world.due = {"scan": 0.0, "check": 0.0}
    world.errors = {"scan": IndexUnavailableError("away"), "check": IndexUnavailableError("gone")}
    world.run("scan")
    world.run("check")
    world.scheduler.recover_all()
    assert world.scheduler.errors == []
    assert world.scheduler.next()[1] <= 0
    assert world.said[2:] == ["scan recovered", "check recovered"]

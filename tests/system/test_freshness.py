"""Whoever only reads an index is told how fresh it is, by what the writer noted in it."""

import contextlib
import shutil
import signal
from datetime import UTC, datetime, timedelta

import msgspec

from cachesync.index.freshness import Freshness, note_freshness, read_freshness
from tests.support.pages import entry, page, path_of, put
from tests.support.sandbox import Sandbox
from tests.support.service import Service, index_of, until

SOON = 15.0
"""Seconds in which readers know of a change at the latest; it takes two of them."""


def read(sandbox: Sandbox) -> Freshness | None:
    """What another process finds."""
    with contextlib.closing(index_of(sandbox)) as index:
        return read_freshness(index.notes())


def noted(sandbox: Sandbox) -> Freshness:
    found = read(sandbox)
    assert found
    return found


def written(sandbox: Sandbox) -> datetime:
    found = noted(sandbox).written
    assert found
    return found


def is_well(sandbox: Sandbox) -> bool:
    """A service notes that nothing is to be done, and nothing to be looked after."""
    found = noted(sandbox)
    return (found.writer, found.in_sync, found.degraded) == ("service", True, ())


# --- by commands --------------------------------------------------------------------------------------------------------


def test_a_sync_notes_that_the_index_equals_the_pages_and_when_it_wrote(sandbox: Sandbox) -> None:
    put(sandbox.root, page(entry("1")))
    sandbox.run("sync", "--dry-run")
    assert read(sandbox) is None
    began = datetime.now(UTC)
    sandbox.run("sync")
    ended = datetime.now(UTC)
    first = noted(sandbox)
    assert (first.writer, first.in_sync, first.degraded) == ("command", True, ())
    assert began < written(sandbox) <= first.noted < ended
    assert not first.is_followed(ended)
    assert first.lag(ended + timedelta(hours=1)) >= 3600
    put(sandbox.root, b"broken", "broken")
    put(sandbox.root, page(entry("1"), entry("2")))
    sandbox.run("sync", expect=1)
    second = noted(sandbox)
    assert (second.in_sync, second.degraded) == (True, ("problems",))
    assert written(sandbox) > ended


def test_a_sync_without_anything_to_do_renews_a_note_that_is_old(sandbox: Sandbox) -> None:
    """So an index that is synced every hour is told to be an hour old at most."""
    put(sandbox.root, page(entry("1")))
    sandbox.run("sync")
    first = noted(sandbox)
    sandbox.run("sync")
    assert noted(sandbox) == first, "one right after it writes nothing"
    older = msgspec.structs.replace(first, noted=first.noted - timedelta(hours=1))
    note_freshness(index_of(sandbox).notes(), older)
    sandbox.run("sync")
    last = noted(sandbox)
    assert last.equals_ignoring_time(first)
    assert last.noted > first.noted


def test_what_a_command_holds_back_is_noted_until_it_may_go(sandbox: Sandbox) -> None:
    for name in "abcd":
        put(sandbox.root, page(entry("1"), title=name), name)
    sandbox.run("sync")
    before = written(sandbox)
    for name in "abc":
        shutil.rmtree((sandbox.root / path_of(name)).parent)
    for command in ("sync", "reindex"):
        sandbox.run(command, expect=4)
        found = noted(sandbox)
        assert (found.in_sync, found.degraded, found.written) == (False, ("held",), before)
    sandbox.run("sync", "--allow-mass-delete")
    assert (noted(sandbox).in_sync, noted(sandbox).degraded) == (True, ())
    assert written(sandbox) > before


def test_reindex_rollback_and_repair_note_it(sandbox: Sandbox) -> None:
    put(sandbox.root, page(entry("1")))
    sandbox.run("sync")
    times = [written(sandbox)]
    sandbox.run("reindex")
    times.append(written(sandbox))
    sandbox.run("rollback")
    rolled_back = noted(sandbox)
    assert (rolled_back.in_sync, rolled_back.degraded) == (False, ("rolled-back",))
    assert written(sandbox) == times[-1], "it wrote nothing"
    sandbox.run("sync", expect=4)
    assert noted(sandbox) == rolled_back
    sandbox.run("reindex")
    assert (noted(sandbox).in_sync, noted(sandbox).degraded) == (True, ())
    times.append(written(sandbox))
    put(sandbox.root, page(entry("1")), "new")
    sandbox.run("verify", expect=1)
    assert written(sandbox) == times[-1]
    sandbox.run("verify", "--repair", expect=1)
    times.append(written(sandbox))
    assert noted(sandbox).in_sync
    assert times == sorted(set(times))


# --- by the service -----------------------------------------------------------------------------------------------------


def test_a_service_notes_it_within_seconds_and_says_so_when_it_ends(sandbox: Sandbox) -> None:
    put(sandbox.root, page(entry("1")))
    with Service(sandbox) as service:
        service.caught_up()
        until(lambda: is_well(sandbox), "the first catch-up to be noted", SOON)
        first, now = noted(sandbox), datetime.now(UTC)
        assert first.is_followed(now)
        assert first.lag(now) == 0
        before = written(sandbox)
        put(sandbox.root, page(entry("1"), entry("2")))
        until(lambda: written(sandbox) > before, "what was written to be noted", SOON)
        assert sandbox.json("search", "/2")["total"] == 1
        put(sandbox.root, b"broken", "broken")
        until(lambda: noted(sandbox).degraded == ("problems",), "the problem to be noted", SOON)
        sandbox.root.rename(sandbox.folder / "away")
        until(lambda: "trouble" in noted(sandbox).degraded, "the missing root to be noted", SOON)
        assert noted(sandbox).lag(datetime.now(UTC)) > 0
        (sandbox.folder / "away").rename(sandbox.root)
        until(lambda: noted(sandbox).in_sync, "its return to be noted", SOON)
        assert service.stop() == 0
    last = noted(sandbox)
    assert (last.writer, last.in_sync) == ("service", True)
    assert not last.is_followed(last.noted)


def test_what_a_service_does_for_a_command_it_notes_itself(sandbox: Sandbox) -> None:
    put(sandbox.root, page(entry("1")))
    with Service(sandbox) as service:
        service.caught_up()
        until(lambda: is_well(sandbox), "the first catch-up to be noted", SOON)
        before = written(sandbox)
        for command, degraded in (("reindex", ()), ("rollback", ("rolled-back",))):
            sandbox.run(command)
            until(lambda: noted(sandbox).degraded == degraded, "the command to be noted", SOON)  # noqa: B023  at once
            until(lambda: written(sandbox) > before, "the reindex to be noted", SOON)
            assert noted(sandbox).writer == "service"


def test_a_service_that_stands_by_notes_nothing_until_it_takes_over(sandbox: Sandbox) -> None:
    put(sandbox.root, page(entry("1")))
    with Service(sandbox) as first:
        first.caught_up()
        until(lambda: is_well(sandbox), "the first catch-up to be noted", SOON)
        before = noted(sandbox)
        with Service(sandbox) as second:
            until(lambda: second.status()["role"] == "standing by", "the second to stand by")
            assert noted(sandbox) == before
            first.send(signal.SIGKILL)
            until(lambda: noted(sandbox).noted > before.noted, "the second to take over")
            until(lambda: is_well(sandbox), "its catch-up to be noted", SOON)
            assert written(sandbox) == before.written, "it knows when the first wrote"
        first.kill()

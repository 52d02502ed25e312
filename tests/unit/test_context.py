"""When work stops, how long it waits, and what others see of it."""

import threading
import time

import pytest

from cachesync.context import Awaited, Context, Pulse, StoppedError, current, running, shielded, within


def test_work_stops_at_its_next_check() -> None:
    stop = threading.Event()
    context = Context(stop)
    context.check()
    context.wait(0)
    stop.set()
    assert context.stopped
    with pytest.raises(StoppedError):
        context.check()
    with pytest.raises(StoppedError):
        context.wait(3600)


def test_waiting_ends_when_the_work_is_to_stop() -> None:
    stop, waits, ended = threading.Event(), threading.Event(), threading.Event()

    def wait() -> None:
        waits.set()
        with pytest.raises(StoppedError):
            Context(threading.Event(), stop).wait(3600)
        ended.set()

    threading.Thread(target=wait).start()
    assert waits.wait(10)
    stop.set()
    assert ended.wait(10)


def test_who_waits_shows_that_it_goes_on() -> None:
    signs: list[int] = []
    pulse = Pulse(lambda: signs.append(threading.get_ident()), every=0.001)
    Context(pulse=pulse).wait(0.05)
    assert len(signs) > 1
    assert set(signs) == {threading.get_ident()}


def test_an_event_ends_waiting_without_an_error() -> None:
    event = threading.Event()
    event.set()
    Context().wait(3600, until=event)


def test_signs_are_told_no_more_often_than_is_wanted() -> None:
    signs: list[None] = []
    context = Context(pulse=Pulse(lambda: signs.append(None), every=3600))
    for _ in range(100):
        context.check()
    assert len(signs) == 1


def test_a_thread_works_in_the_context_that_it_was_given() -> None:
    outer, inner = Context(), Context()
    unbounded = current()
    with running(outer):
        with running(inner):
            assert current() is inner
        assert current() is outer
        seen: list[Context] = []
        thread = threading.Thread(target=lambda: seen.append(current()))
        thread.start()
        thread.join()
        assert seen == [unbounded], "another thread has one of its own"
    assert current() is unbounded


def test_time_is_bounded_by_all_that_is_around() -> None:
    with within(3600):
        with within(10) as inner:
            assert 0 < inner.left <= 10
        with within(7200) as inner:
            assert 0 < inner.left <= 3600
        with shielded(7200) as inner:
            assert inner.left > 3600
    assert current().left == float("inf")
    with within(0) as inner:
        assert inner.left == 0


def test_who_tidies_up_is_not_stopped_and_still_shows_that_it_goes_on() -> None:
    stop = threading.Event()
    stop.set()
    signs: list[None] = []
    with running(Context(stop, pulse=Pulse(lambda: signs.append(None), every=0))):
        with within(1), pytest.raises(StoppedError):
            current().check()
        signs.clear()
        with shielded(1):
            current().check()
        assert signs


def test_a_branch_stops_with_the_whole_or_by_itself_and_has_a_pulse_of_its_own() -> None:
    stop, own = threading.Event(), threading.Event()
    signs: list[None] = []
    whole = Context(stop, deadline=time.monotonic() + 5, pulse=Pulse(lambda: signs.append(None), every=0))
    branch = whole.branch(own)
    assert branch.left <= 5
    branch.check()
    assert not signs
    own.set()
    with pytest.raises(StoppedError):
        branch.check()
    whole.check()
    stop.set()
    assert whole.branch().stopped


def awaited_by(context: Context) -> Awaited:
    awaited = context.pulse.awaited
    assert awaited is not None
    return awaited


def test_what_is_awaited_is_seen_from_outside() -> None:
    context = Context()
    pulse = context.pulse
    file_system = context.awaiting("the file system")
    assert pulse.awaited is None
    for _ in range(2):
        before = time.monotonic()
        with file_system:
            assert before <= awaited_by(context).since <= time.monotonic()
            assert awaited_by(context).what == "the file system"
            with context.awaiting("a server"):
                assert awaited_by(context).what == "a server"
            assert awaited_by(context).what == "the file system"
            before = time.monotonic()
            context.check()
            assert awaited_by(context).since >= before, "it is alive"
        assert pulse.awaited is None


def test_what_is_awaited_ends_with_an_error_too() -> None:
    context = Context()
    with pytest.raises(ZeroDivisionError), context.awaiting("a server"):
        raise ZeroDivisionError
    assert context.pulse.awaited is None

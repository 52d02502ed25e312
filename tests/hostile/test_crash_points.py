"""A command is killed before each step that it takes, and the next one puts everything right.

After every kill readers find each page as it was or as it becomes, never less; the next ``sync`` needs nobody's help,
and leaves nothing of what the dead command had begun; what the dead command had under way may arrive even after that.

A failure says which step it was: ``CACHESYNC_TEST_CRASH_POINT=17`` and the test's id try that one alone.
"""

import contextlib
import os
import random
import re
from collections.abc import Iterator
from itertools import chain, zip_longest
from pathlib import Path
from typing import Final

import pytest

from tests.contract.conftest import ENGINES
from tests.hostile import calls
from tests.hostile.crash import Calls, Done, Requests, is_reading
from tests.hostile.crash_world import Pages, World, flat
from tests.hostile.effort import SEED, THOROUGH, effort
from tests.hostile.tally import TALLY
from tests.support.proxy import Proxy
from tests.support.sandbox import Sandbox

ALONE_VARIABLE: Final = "CACHESYNC_TEST_CRASH_POINT"
ALONE: Final = os.environ.get(ALONE_VARIABLE)

PARTS: Final = effort(1, 2)
"""How many tests a world's steps are shared out to, so that two processes have as much to do."""

DECISIVE: Final = re.compile(r"_aliases|_bulk|^rename\S* .*/(live|meta\.json)$|^unlink .*/building$")
"""The steps that are never left out: what readers find or what is taken for done changes by them."""

ONE_OF: Final = 40
"""Of so many steps one more is taken in the short cut, by chance."""

FROM_NOTHING: Final = "sync from nothing"
UNDONE: Final = "sync undone"
"""After the kill the pages become again what they were, to the last bit of their files' times and numbers."""


@pytest.fixture(params=ENGINES)
def world(
    request: pytest.FixtureRequest, tmp_path: Path, index_name: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    """With each engine."""
    if request.param == "elasticsearch":
        with Proxy(request.getfixturevalue("elasticsearch_index"), lambda _request: None).running() as proxy:
            sandbox = Sandbox(tmp_path, proxy.url, index_name)
            yield World(sandbox, Requests(sandbox, proxy), monkeypatch)
        return
    if reason := calls.missing():
        pytest.skip(reason)
    sandbox = Sandbox(tmp_path)
    yield World(sandbox, Calls(sandbox), monkeypatch)


def cut(world: World, scene: str, at: int | None) -> Done:
    """Let the pages become others, and kill a command on its way to them; None: don't."""
    command = scene.partition(" ")[0]
    before: Pages | None = world.pages
    live = world.generation()
    kept = world.status().kept
    world.turn()
    if scene == FROM_NOTHING:
        before = None
        world.forget()
    done = world.killer.run(command, at=at)
    with told(world, command, done):
        assert done.killed or done.code == world.code, done
        world.is_old_or_new(before, whole=command == "reindex" or world.sandbox.is_embedded)
        if scene == UNDONE:
            world.turn()
        world.sync()
        world.is_new()
        if may_be_late(world, done):
            world.killer.deliver()
            world.is_old_or_new(world.pages, whole=True)
            world.sync()
            world.is_new()
        world.is_at_rest()
        assert scene not in ("sync", UNDONE) or world.generation() == live, "there was no need to build another"
        if scene == "reindex":
            world.goes_back_to(kept if world.generation() == live else [live, *kept])
    return done


def may_be_late(world: World, done: Done) -> bool:
    """Tell whether the step that a command was killed at can happen later, and would change anything."""
    return done.killed and not world.sandbox.is_embedded and not is_reading(done.steps[-1])


@contextlib.contextmanager
def told(world: World, command: str, done: Done) -> Iterator[None]:
    """Say where a command was killed if something isn't as it must be, and count the kills."""
    try:
        yield
    except AssertionError as error:
        at = len(done.steps)
        how = f"before step {at}, {done.steps[-1]}; this alone: {ALONE_VARIABLE}={at}" if done.killed else "never"
        error.add_note(f"{command} was killed {how}")
        raise
    TALLY[f"killed at a step, {'embedded' if world.sandbox.is_embedded else 'elasticsearch'}: {command}"] += done.killed


def chosen(steps: list[str], part: int, direction: int) -> list[int]:
    """Choose where to kill while the pages turn in one direction."""
    if ALONE:
        return [int(ALONE)]
    numbers = range(1, len(steps) + 1)
    if THOROUGH:
        return [*numbers[part::PARTS]]
    decisive = [at for at in numbers if DECISIVE.search(steps[at - 1])]
    others = [at for at in numbers if at not in decisive and not is_reading(steps[at - 1])]
    return sorted([*decisive[direction::2], *random.Random(SEED).sample(others, 1 + len(steps) // ONE_OF)])


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("scene", [FROM_NOTHING, "sync", UNDONE, "reindex"])
def test_what_is_killed_at_any_step_is_made_up_for(world: World, scene: str, part: int) -> None:
    world.sync()
    if scene == "reindex":
        world.reindex()
    uncut = [cut(world, scene, None).steps for _ in range(2)]
    points = [chosen(steps, part, direction) for direction, steps in enumerate(uncut)]
    for at in chain.from_iterable(zip_longest(*points)):
        cut(world, scene, at)


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("times", [1, 2])
def test_a_rollback_that_is_killed_is_done_or_not(world: World, times: int, part: int) -> None:
    """If it is done, syncs are held too; if it is the second, they are in any case. A reindex goes on from the pages."""
    world.keep(times)
    world.sync()
    if times == 2:
        world.turn()
        world.reindex()
    steps = [rollback(world, None, times).steps for _ in range(2)]
    points = [chosen(each, part, direction) for direction, each in enumerate(steps)]
    for at in chain.from_iterable(zip_longest(*points)):
        rollback(world, at, times)


def rollback(world: World, at: int | None, times: int) -> Done:
    """Let the pages turn in a new generation, go back to the one before it, kill that, and reindex.

    The second time it is the one before that, which is as the new one; and what the dead command had under way arrives
    after the reindex.
    """
    world.turn()
    world.reindex()
    before, after = map(flat, (world.before, world.pages))
    if times == 2:
        assert world.killer.run("rollback").code == 0
        before, after = after, before
    done = world.killer.run("rollback", at=at)
    with told(world, "rollback", done):
        assert done.killed or done.code == 0, done
        world.is_held_or_not(before, after, always=times == 2)
        if times == 1 and may_be_late(world, done):
            world.killer.deliver()
            world.is_held_or_not(before, after, always=False)
        world.reindex()
        world.is_new()
        if times == 2 and may_be_late(world, done):
            world.killer.deliver()
            world.is_new()
        world.is_at_rest()
    return done

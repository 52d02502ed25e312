"""A service is killed before each step of what a command has asked of it: what is asked for is done once.

The command that waits does it itself then, or the next service does it for the command; whichever comes first.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from cachesync.errors import CachesyncError
from tests.contract.conftest import ENGINES
from tests.hostile import calls, judge
from tests.hostile.crash import Victim, VictimOfCalls, VictimOfRequests
from tests.hostile.effort import THOROUGH, effort
from tests.hostile.tally import TALLY
from tests.support.pages import entry, page, put
from tests.support.proxy import Proxy
from tests.support.sandbox import Sandbox
from tests.support.service import Service, index_of, until

GENERATIONS: Final = 3
"""As many as there are, so that a rollback that is done twice is seen."""

SWAP: Final = re.compile(r"POST /_aliases|^rename\S* .*/live$")
"""The step by which readers find something else. It is never left out, nor is the one after it."""

DECISIVE: Final = re.compile(r"_aliases|^rename|^symlink|response-")
"""Steps by which what is taken for done changes."""


class World:
    """An index with some generations, pages that have changed since, a service, and a command that it works for."""

    def __init__(self, sandbox: Sandbox, proxy: Proxy | None) -> None:
        self.sandbox = sandbox
        self._proxy = proxy
        self._its = sandbox
        if proxy:
            folder = sandbox.folder / "service"
            folder.mkdir()
            self._its = Sandbox(folder, proxy.url, sandbox.name)
            self._its.root = sandbox.root
        for each in {sandbox, self._its}:
            each.configure(keep_generations=GENERATIONS)
            _listen_anywhere(each)
        self._write(0)
        sandbox.run("sync")
        for _ in range(GENERATIONS - 1):
            sandbox.run("reindex")
        self.generations = [self.live(), *index_of(sandbox).status().kept]

    def victim(self) -> Victim:
        """Start a service, and wait until it has nothing to do."""
        victim: Victim = VictimOfRequests(self._its, self._proxy) if self._proxy else VictimOfCalls(self.sandbox)
        until(self._is_served, "the service to catch up")
        return victim

    def live(self) -> str:
        return index_of(self.sandbox).reader().generation

    def is_as_the_pages(self) -> bool:
        """The index holds what the pages say."""
        held = (
            judge.in_elasticsearch(self.sandbox.url, self.sandbox.name)
            if self._proxy
            else judge.in_folder(self.sandbox.index / self.sandbox.name)
        )
        pages = judge.pages(self.sandbox.root)
        expected = {id: each for documents in pages.values() for id, each in (documents or {}).items()}
        return held is not None and judge.without_keys(held.documents) == expected

    def change(self, number: int) -> None:
        """Let the pages be others."""
        self._write(number)

    def _is_served(self) -> bool:
        try:
            return index_of(self.sandbox).status().service and self.is_as_the_pages()
        except CachesyncError:
            return False

    def _write(self, number: int) -> None:
        for package in "ab":
            put(self.sandbox.root, page(*(entry(f"{each}{number}") for each in range(4)), title=package), package)


def _listen_anywhere(sandbox: Sandbox) -> None:
    """Let its service take any free port, since others of these tests run at the same time."""
    configuration = json.loads(sandbox.config.read_text())
    sandbox.config.write_text(json.dumps({**configuration, "http": {"port": 0}}))


@pytest.fixture
def world(request: pytest.FixtureRequest, tmp_path: Path, index_name: str) -> Iterator[World]:
    if request.param == "elasticsearch":
        url = request.getfixturevalue("elasticsearch_index")
        with Proxy(url, lambda _request: None).running() as proxy:
            yield World(Sandbox(tmp_path, url, index_name), proxy)
        return
    if reason := calls.missing():
        pytest.skip(reason)
    yield World(Sandbox(tmp_path), None)


def asked(world: World, command: str, at: int | None, *, follower: bool) -> list[str]:
    """Ask the service for something, kill it at a step, and see that it is done once; return the steps."""
    victim = world.victim()
    before = [world.live(), *index_of(world.sandbox).status().kept]
    try:
        victim.kill_at(at)
        running = subprocess.Popen(
            world.sandbox.command(command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        if at is not None:
            until(lambda: victim.is_dead or running.poll() is not None, "the service to come to that step")
            TALLY[f"a service killed at a step of a request: {command}"] += victim.is_dead
        if follower:
            with Service(world.sandbox):
                out, err = running.communicate(timeout=120)
        else:
            out, err = running.communicate(timeout=120)
        steps = list(victim.steps)
    finally:
        victim.end()
    said = f"{command} at {at} of {steps}\n{out}{err}"
    assert running.returncode == 0, said
    assert "Traceback" not in err, said
    after = [world.live(), *index_of(world.sandbox).status().kept]
    if command == "rollback":
        assert after == before[1:], said
        assert index_of(world.sandbox).status().pinned, said
        world.sandbox.run("reindex")
    else:
        assert after[1:] == before[:GENERATIONS], said
        assert world.is_as_the_pages(), said
    left = [key for key in index_of(world.sandbox).notes().list_keys() if key.startswith(("request", "sign"))]
    assert not left, said
    return steps


@pytest.mark.parametrize(
    ("command", "follower"),
    [("rollback", True), ("reindex", False), *effort((), (("rollback", False), ("reindex", True)))],
    ids=lambda value: {True: "followed", False: "alone"}.get(value, value),
)
@pytest.mark.parametrize("world", ENGINES, indirect=True)
def test_what_a_killed_service_was_asked_for_is_done_once(world: World, command: str, follower: bool) -> None:
    for at in chosen(asked(world, command, None, follower=False), command):
        world.change(at)
        asked(world, command, at, follower=follower)


def chosen(steps: list[str], command: str) -> list[int]:
    """Choose where to kill: around the swap; in a thorough run at each step, or at each of a reindex that decides."""
    numbers = range(1, len(steps) + 2)
    if THOROUGH and command == "rollback":
        return [*numbers]
    wanted = DECISIVE if THOROUGH else SWAP
    decisive = [at for at in numbers[:-1] if wanted.search(steps[at - 1])]
    return sorted({each for at in decisive for each in (at, at + 1)})

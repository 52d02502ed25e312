"""Whatever happens to process, machine, network and index: once it is quiet, the index equals the pages.

Each seed is a run of its own, and prints what it did as a script where it fails. ``CACHESYNC_TEST_SEEDS`` gives other
seeds, such as ``100-120``, or ``7``: the script of a single one is shrunk to the shortest that still fails.

A script is Python, with ``from tests.hostile.test_world import *`` before it; an ``ElasticWorld`` wants
``CACHESYNC_TEST_ELASTICSEARCH_URL`` to be set. Processes and networks are as quick as they are, so what fails may need
more than one try.
"""

import contextlib
import functools
import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, reject, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests.hostile.effort import effort
from tests.hostile.judge import TOOLS
from tests.hostile.tally import TALLY
from tests.hostile.tree import BREAKS, HASHES, PACKAGES, TAGS
from tests.hostile.vandal import InElasticsearch, InFolder
from tests.hostile.wire import FAULTS
from tests.hostile.world import World
from tests.support.elasticsearch import URL_VARIABLE, Server

_SEEDS = "CACHESYNC_TEST_SEEDS"
_DEEDS = 5
"""How many deeds there are between two quiet points; the last one is a quiet point."""

tags = st.sampled_from(TAGS)
packages = st.sampled_from(PACKAGES)
specs = st.dictionaries(st.sampled_from(HASHES), st.integers(0, 3), max_size=len(HASHES))
faults = st.lists(st.sampled_from(sorted(FAULTS)), min_size=1, max_size=4, unique=True)
odds = st.sampled_from([0.1, 0.3, 0.6])
seeds_of_weather = st.integers(0, 2**16)


def deed(**arguments: st.SearchStrategy[Any]) -> Callable[[Callable[..., bool | None]], Callable[..., None]]:
    """Make a rule of a method, and count how often it is followed; not if it says that it couldn't do anything."""

    def rule_of(method: Callable[..., bool | None]) -> Callable[..., None]:
        @functools.wraps(method)
        def counted(self: "Hostile", **drawn: Any) -> None:
            if self.is_too_simple:
                reject()
            given = ", ".join(f"{name}={value!r}" for name, value in drawn.items())
            self.script.append(f"state.{method.__name__}({given})")
            with self.told():
                done = method(self, **drawn)
            if done is not False:
                TALLY[": ".join(["deed", method.__name__, *([drawn["what"]] if "what" in drawn else [])])] += 1

        followed: Callable[..., None] = rule(**arguments)(counted)  # type: ignore[call-overload]  # by its targets
        return followed

    return rule_of


class Hostile(RuleBasedStateMachine):
    """Deeds in any order, and a quiet point after some of them. There always are pages and documents to attack."""

    url: str | None = None
    is_down = False
    """There is no server just now."""
    is_too_simple = False
    """This one isn't worth a world: Hypothesis begins with the same deed again and again."""

    def __init__(self) -> None:
        super().__init__()
        self.deeds = 0
        self.script: list[str] = []
        if not self.is_too_simple:
            self.world = World(self.url)
            self.world.refill(0)

    def teardown(self) -> None:
        if not self.is_too_simple:
            self.world.close()

    @invariant()
    def now_and_then_it_is_quiet(self) -> None:
        if self.deeds and self.deeds % _DEEDS == 0:
            with self.told():
                self.world.quiet()
                TALLY["quiet points"] += 1
                if self.deeds % (2 * _DEEDS) == 0:
                    self.world.nothing_is_left_to_do()
                self.world.refill(self.deeds)
        self.deeds += 1

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """Tell the whole script where something fails: Hypothesis doesn't where it doesn't fail again."""
        try:
            yield
        except Exception as error:
            quiet = f"\nstate.{self.now_and_then_it_is_quiet.__name__}()\n"
            error.add_note(quiet.join([f"state = {type(self).__name__}()", *self.script, "state.teardown()"]))
            raise

    @deed(tag=tags, package=packages, content=specs)
    def save(self, tag: str, package: str, content: dict[str, int]) -> None:
        self.world.tree.save(tag, package, content)

    @deed(tag=tags, package=packages, content=specs)
    def write(self, tag: str, package: str, content: dict[str, int]) -> None:
        self.world.tree.write(tag, package, content)

    @deed(tag=tags, package=packages)
    def change_unseen(self, tag: str, package: str) -> bool:
        return self.world.tree.change_unseen(tag, package)

    @deed(tag=tags, package=packages)
    def cut(self, tag: str, package: str) -> bool:
        return self.world.tree.cut(tag, package)

    @deed(tag=tags, package=packages, data=st.sampled_from(BREAKS))
    def spoil(self, tag: str, package: str, data: bytes) -> None:
        self.world.tree.spoil(tag, package, data)

    @deed(tag=tags, package=packages)
    def make_a_folder(self, tag: str, package: str) -> None:
        self.world.tree.make_a_folder(tag, package)

    @deed(tag=tags, package=packages)
    def remove(self, tag: str, package: str) -> None:
        self.world.tree.remove(tag, package)

    @deed(tag=tags)
    def remove_tag(self, tag: str) -> None:
        self.world.tree.remove_tag(tag)

    @deed(tag=tags, package=packages, other=packages)
    def rename(self, tag: str, package: str, other: str) -> bool:
        return self.world.tree.rename(tag, package, other)

    @deed(tag=tags, other=tags)
    def swap_tags(self, tag: str, other: str) -> bool:
        return self.world.tree.swap_tags(tag, other)

    @deed(tag=tags)
    def link(self, tag: str) -> bool:
        return self.world.tree.link(tag)

    @deed(tag=tags)
    def unlink(self, tag: str) -> bool:
        return self.world.tree.unlink(tag)

    @deed(tag=tags, package=packages, name=st.sampled_from([".~tmp~", ".snapshot", *TOOLS]), content=specs)
    def stage(self, tag: str, package: str, name: str, content: dict[str, int]) -> None:
        self.world.tree.stage(tag, package, name, content)

    @deed(number=st.integers(0, 5))
    def flood(self, number: int) -> None:
        self.world.tree.flood(number)

    @deed()
    def vanish(self) -> None:
        self.world.tree.vanish()

    @deed()
    def empty(self) -> None:
        self.world.tree.empty()

    @deed(comes_back=st.booleans())
    def unmount(self, comes_back: bool) -> bool:
        if self.is_down:
            return False
        self.world.quiet()
        self.world.refill(1)
        self.world.unmount(comes_back)
        return True

    @deed(tag=tags)
    def lock(self, tag: str) -> bool:
        return self.world.tree.lock(tag)

    @deed(seconds=st.sampled_from([0.4, 0.8, 1.5]))
    def wait(self, seconds: float) -> None:
        self.world.wait(seconds)

    @deed(after=st.sampled_from([0, 0.3, 0.4, 0.6]))
    def kill(self, after: float) -> bool:
        return self.world.kill(after)

    @deed()
    def stop(self) -> None:
        self.world.stop()

    @deed()
    def start(self) -> None:
        self.world.start()

    @deed(by_crash=st.booleans())
    def take_over(self, by_crash: bool) -> None:
        self.world.take_over(by_crash)

    @deed(seconds=st.sampled_from([0.1, 0.5, 2]))
    def freeze(self, seconds: float) -> None:
        self.world.freeze(seconds)

    @deed()
    @precondition(lambda self: self.deeds < _DEEDS)  # it takes as long as a lease lasts
    def replace_frozen(self) -> bool:
        return not self.is_down and self.world.replace_frozen()

    @deed()
    def kill_watcher(self) -> None:
        self.world.kill_watcher()

    @deed()
    def reload(self) -> None:
        self.world.reload()

    @deed(what=st.sampled_from(["sync", "reindex", "rollback", "verify --repair", "sync --allow-mass-delete"]))
    def command(self, what: str) -> None:
        self.world.command(*what.split())

    @deed()
    def kill_command(self) -> None:
        self.world.kill_command()

    @deed(what=st.sampled_from(["sync --allow-mass-delete", "reindex", "rollback"]), by_crash=st.booleans())
    def abandon(self, what: str, by_crash: bool) -> bool:
        return not self.is_down and self.world.abandon(what, by_crash=by_crash)


class EmbeddedWorld(Hostile):
    @deed(what=st.sampled_from(InFolder.HARMS))
    def harm(self, what: str) -> None:
        self.world.harm(what)

    @deed()
    def fill_the_disk(self) -> bool:
        return self.world.hinder("disk full")

    @deed()
    def reindex_watched(self) -> None:
        self.world.quiet()
        self.world.reindex_watched()


class ElasticWorld(Hostile):
    url = os.environ.get(URL_VARIABLE)

    @deed(faults=faults, odds=odds, seed=seeds_of_weather)
    def storm(self, faults: list[str], odds: float, seed: int) -> None:
        self.world.weather.storm(faults, odds, seed)

    @deed(what=st.sampled_from(InElasticsearch.HARMS))
    def harm(self, what: str) -> None:
        self.world.harm(what)

    @deed(what=st.sampled_from(InElasticsearch.HINDRANCES))
    def hinder(self, what: str) -> bool:
        return self.world.hinder(what)

    @deed(faults=faults, odds=odds, seed=seeds_of_weather)
    def reindex_watched(self, faults: list[str], odds: float, seed: int) -> bool:
        if self.is_down:
            return False
        self.world.quiet()
        self.world.reindex_watched(faults, odds, seed)
        return True

    @deed(number=st.integers(1, 12), before=st.booleans())
    def kill_at_request(self, number: int, before: bool) -> bool:
        return not self.is_down and self.world.kill_at_request(number, before)


class MortalWorld(ElasticWorld):
    """Between two quiet points the server is killed, and started again."""

    server: Server

    @invariant()
    def the_server_comes_and_goes(self) -> None:
        if self.deeds % _DEEDS == 2:
            self.server.kill()
            self.is_down = True
            TALLY["deed: the server is killed"] += 1
        elif self.deeds % _DEEDS == 0:
            self.bring_it_back()

    def bring_it_back(self) -> None:
        if self.is_down:
            self.server.start()
            self.is_down = False

    def teardown(self) -> None:
        self.bring_it_back()
        super().teardown()


def seeds(short: int, thorough: int) -> list[int]:
    """Return the seeds that are tried, those that are asked for or so many."""
    asked = os.environ.get(_SEEDS)
    if not asked:
        return list(range(effort(short, thorough)))
    first, _, last = asked.partition("-")
    return list(range(int(first), int(last or first) + 1))


def attack(machine: type[Hostile], number: int, worlds: int) -> None:
    """Run a machine as the seed says: so many worlds, each through five quiet points."""

    made = itertools.count()

    def make() -> Hostile:
        chosen = machine if next(made) else simple
        return chosen()

    simple: type[Hostile] = type(machine.__name__, (machine,), {"is_too_simple": True})
    run_state_machine_as_test(
        seed(number)(make),  # type: ignore[arg-type]  # whatever returns a machine will do [its documentation]
        settings=settings(
            max_examples=worlds,
            stateful_step_count=5 * _DEEDS,
            deadline=None,
            database=None,
            phases=[Phase.generate, *([Phase.shrink] if os.environ.get(_SEEDS, "").isdigit() else [])],
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("number", seeds(1, 15))
def test_embedded(number: int) -> None:
    attack(EmbeddedWorld, number, effort(1, 4))


@pytest.mark.parametrize("number", seeds(1, 15))
def test_elasticsearch(elasticsearch_url: str, number: int) -> None:
    attack(type("ElasticWorld", (ElasticWorld,), {"url": elasticsearch_url}), number, effort(1, 4))


@pytest.mark.parametrize("number", seeds(0, 2))
def test_a_server_that_is_killed(mortal: Server, number: int) -> None:
    attack(type("MortalWorld", (MortalWorld,), {"url": mortal.url, "server": mortal}), number, worlds=1)

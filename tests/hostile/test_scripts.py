"""A hostile world in which each deed is done in an order that stays: the cut of it that every run tries."""

from tests.hostile.effort import THOROUGH, effort
from tests.hostile.tree import BREAKS
from tests.hostile.vandal import ALTERED, InElasticsearch, InFolder
from tests.hostile.wire import FAULTS
from tests.hostile.world import World

ONE, OTHER, OLD = "develop", "develop-2025-07-13", "v0.18.1"

HARMS = effort(("alias removed", "documents deleted", "records deleted", ALTERED), InElasticsearch.HARMS)
"""The short cut leaves to ``tests/system/test_service_outages.py`` what that tries."""


def edits(world: World) -> None:
    """Whatever is done to pages."""
    tree = world.tree
    tree.save(ONE, "zlib", {"a": 1, "b": 2})
    tree.write(OLD, "hdf5", {"c": 3})
    assert tree.change_unseen(OTHER, "openmpi")
    tree.spoil(OTHER, "zlib", BREAKS[1])
    assert tree.rename(OTHER, "hdf5", "py-pip")
    world.quiet()
    assert tree.cut(ONE, "openmpi")
    tree.make_a_folder(OTHER, "zlib")
    tree.remove(OLD, "zlib")
    assert tree.swap_tags(ONE, OTHER)
    tree.vanish()
    world.quiet()
    assert tree.lock(OTHER)
    tree.remove_tag(OLD)
    tree.save(ONE, "zlib", {"d": 1})
    world.quiet()
    world.nothing_is_left_to_do()
    tree.stage(ONE, "hdf5", ".~tmp~", {"a": 7})
    tree.stage(OTHER, "zlib", "@eaDir", {"b": 7})
    assert tree.link(ONE)
    tree.save(OTHER, "zlib", {"e": 1})
    world.quiet()
    assert tree.unlink(ONE)
    world.quiet()
    world.nothing_is_left_to_do()


def kills(world: World) -> None:
    """Whatever happens to processes."""
    world.tree.flood(1)
    assert world.kill(0.4)
    world.tree.flood(2)
    world.take_over(by_crash=True)
    world.tree.spoil(ONE, "zlib", BREAKS[0])
    world.kill_watcher()
    world.tree.flood(3)
    world.freeze(0.5)
    world.quiet()
    world.command("reindex")
    world.tree.flood(4)
    world.reload()
    world.wait(0.4)
    world.stop()
    world.quiet()
    world.command("rollback")
    world.command("verify", "--repair")
    world.tree.flood(5)
    world.kill_command()
    world.take_over(by_crash=False)
    world.quiet()
    world.nothing_is_left_to_do()
    for what, by_crash in (("sync --allow-mass-delete", True), ("rollback", False), ("reindex", True)):
        assert world.abandon(what, by_crash=by_crash)
        world.unmount(comes_back=True)


def attack(world: World) -> None:
    try:
        world.refill(0)
        if world.sandbox.is_embedded or THOROUGH:  # in short, deeds that no engine hears of are tried with one
            edits(world)
        kills(world)
        world.unmount(comes_back=True)
        world.unmount(comes_back=False)
        world.refill(0)
        for number, what in enumerate(InFolder.HARMS if world.sandbox.is_embedded else HARMS):
            world.tree.spoil(ONE, "zlib", BREAKS[number % len(BREAKS)])
            world.harm(what)
            world.tree.save(OLD, "hdf5", {"a": number})
            world.quiet()
        world.refill(0)
        if world.sandbox.is_embedded:
            world.hinder("disk full")
            world.tree.flood(1)
            world.quiet()
            world.reindex_watched()
        else:
            storms(world)
        world.stop()
    finally:
        world.close()


def storms(world: World) -> None:
    """Whatever happens between cachesync and Elasticsearch."""
    for number, what in enumerate(InElasticsearch.HINDRANCES):
        world.hinder(what)
        world.tree.flood(number)
        world.quiet()
    together = effort(6, 1)
    faults = list(FAULTS)
    for number in range(0, len(faults), together):
        world.weather.storm(faults[number : number + together], 0.5, number)
        world.tree.flood(number)
        world.quiet()
    for number in effort((2,), (1, 2, 3, 5, 8)):
        for before in (True, False):
            world.kill_at_request(number, before)
            world.quiet()
    assert world.replace_frozen()
    world.quiet()
    world.reindex_watched(faults, 0.1, 1)


def test_embedded() -> None:
    attack(World(None))


def test_elasticsearch(elasticsearch_url: str) -> None:
    attack(World(elasticsearch_url))

"""`cachesync reindex`, `rollback` and `verify`, from outside."""

import errno
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cachesync.index.base import Index
from cachesync.index.engines import open_index
from cachesync.index.generation import PageChange, Put, Reader, Remembered
from cachesync.index.server import IndexServer, Layout
from cachesync.pages.pattern import Pattern
from cachesync.sync import full_sync
from cachesync.sync.guard import Guard
from cachesync.sync.scan import Source
from examples.pages import write_tree
from tests.support.pages import entry, page, path_of, put
from tests.support.sandbox import Sandbox


def index_of(sandbox: Sandbox) -> Index:
    url = f"embedded:{sandbox.index}" if sandbox.is_embedded else sandbox.url
    return open_index(IndexServer((url,)), sandbox.name, Layout(), Path)


def generations(sandbox: Sandbox) -> list[str]:
    """All that is there of generations: finished, kept, or left behind."""
    if sandbox.is_embedded:
        names = [each.name for each in (sandbox.index / sandbox.name).iterdir()]
        return sorted(name for name in names if name not in ("live", "lock", "held", "notes"))
    return sorted(name for name in sandbox.ask("/_alias") if not name.endswith("-state"))


def expected_generations(sandbox: Sandbox, *numbers: int) -> list[str]:
    kinds = [sandbox.name] if sandbox.is_embedded else [sandbox.name, f"{sandbox.name}-pages"]
    return sorted(f"{kind}-{number}" for kind in kinds for number in numbers)


def is_building(sandbox: Sandbox) -> bool:
    if sandbox.is_embedded:
        return any((sandbox.index / sandbox.name).glob("*/building"))
    return "-building" in str(sandbox.ask("/_alias"))


def stopped_when(sandbox: Sandbox, command: str, seen: Callable[[], bool]) -> subprocess.Popen[str]:
    """Start a command and stop it (as a debugger would) at the first moment that something is seen."""
    running = subprocess.Popen(sandbox.command(command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not seen():
        assert running.poll() is None, running.communicate()
        time.sleep(0.005)
    running.send_signal(signal.SIGSTOP)
    return running


def ends_well(running: subprocess.Popen[str]) -> None:
    running.send_signal(signal.SIGCONT)
    printed = running.communicate(timeout=100)
    assert running.returncode == 0, printed


def test_a_reindex_is_a_new_generation_with_the_same_documents(sandbox: Sandbox) -> None:
    pages = write_tree(sandbox.root, tag_count=4, package_count=20)
    sandbox.run("sync")
    before = sandbox.documents()
    report = sandbox.json("reindex")
    assert report["pages"] == {"added": pages, "updated": 0, "deleted": 0, "unchanged": 0, "problems": 0}
    assert report["specs"] == {"added": len(before), "updated": 0, "deleted": 0}
    assert sandbox.documents() == before == sandbox.rendered()
    status = sandbox.json("status")
    assert (status["generation"], status["kept_generations"]) == (f"{sandbox.name}-2", [f"{sandbox.name}-1"])
    assert generations(sandbox) == expected_generations(sandbox, 1, 2)
    sandbox.run("reindex")
    assert generations(sandbox) == expected_generations(sandbox, 2, 3)
    state = sandbox.state()
    sandbox.run("sync")
    assert sandbox.state() == state


def test_without_an_index_a_reindex_makes_one(sandbox: Sandbox) -> None:
    put(sandbox.root, page(entry("1")))
    sandbox.run("reindex")
    assert sandbox.documents() == sandbox.rendered()


def test_readers_see_the_full_number_all_the_while(sandbox: Sandbox) -> None:
    write_tree(sandbox.root, tag_count=4, package_count=60)
    total = sandbox.json("sync")["specs"]["added"]
    index = index_of(sandbox)
    counts: list[int] = []
    over = threading.Event()

    def count() -> int:
        if sandbox.is_embedded:
            return index.reader().size()[0]
        found = sandbox.ask_alias("/_search", {"size": 0, "track_total_hits": True})
        return int(found["hits"]["total"]["value"])

    def reading() -> None:
        while not over.is_set():
            counts.append(count())

    reader = threading.Thread(target=reading)
    reader.start()
    try:
        for _ in range(2):
            sandbox.run("reindex")
    finally:
        over.set()
        reader.join()
    assert set(counts) == {total}
    assert len(counts) > 20
    assert count() == total


def test_what_changes_while_it_builds_is_in_it(sandbox: Sandbox) -> None:
    write_tree(sandbox.root, tag_count=2, package_count=30)
    sandbox.run("sync")
    running = stopped_when(sandbox, "reindex", lambda: is_building(sandbox))
    put(sandbox.root, page(entry("new")), "aaa", "aaa")
    put(sandbox.root, page(entry("changed")), "hdf5")
    (sandbox.root / path_of("zlib-ng")).unlink()
    ends_well(running)
    assert sandbox.documents() == sandbox.rendered()
    assert "aaa/aaa/new" in sandbox.documents()


def test_an_emptied_root_needs_consent(sandbox: Sandbox) -> None:
    write_tree(sandbox.root, tag_count=2, package_count=10)
    sandbox.run("sync")
    whole = sandbox.documents()
    (sandbox.root / "_cache").rename(sandbox.folder / "away")
    for command in ("sync", "reindex"):
        told = sandbox.run(command, expect=4).stderr
        assert f"cachesync {command} --allow-mass-delete" in told
        assert sandbox.documents() == whole
        assert generations(sandbox) == expected_generations(sandbox, 1)
    sandbox.run("reindex", "--allow-mass-delete")
    assert sandbox.documents() == {}


def test_new_pages_do_not_make_up_for_lost_ones(embedded: Sandbox) -> None:
    for tag in ("a", "b", "c"):
        put(embedded.root, page(*(entry(f"{number}") for number in range(10)), tag=tag), tag=tag)
    embedded.run("sync")
    whole = embedded.documents()
    for tag in ("a", "b"):
        (embedded.root / path_of(tag=tag)).unlink()
    put(embedded.root, page(*(entry(f"{number}") for number in range(40))), "other")
    assert "20 specs would be lost" in embedded.run("reindex", expect=4).stderr
    assert embedded.documents() == whole


def test_pages_that_are_problems_keep_their_documents(sandbox: Sandbox) -> None:
    put(sandbox.root, page(entry("1"), entry("2")), "bad")
    put(sandbox.root, page(entry("1")), "good")
    sandbox.run("sync")
    whole = sandbox.documents()
    put(sandbox.root, b"---\nhalf", "bad")
    put(sandbox.root, b"---\nhalf", "never-good")
    for command in ("sync", "reindex", "reindex"):
        report = sandbox.json(command, expect=1)
        assert [each["page"] for each in report["problems"]] == [path_of("bad"), path_of("never-good")]
        assert sandbox.documents() == whole
    put(sandbox.root, page(entry("2")), "bad")
    (sandbox.root / path_of("never-good")).unlink()
    assert sandbox.json("sync")["specs"] == {"added": 0, "updated": 0, "deleted": 1}
    assert sandbox.documents() == sandbox.rendered()


def test_a_rollback_is_held_until_a_reindex(sandbox: Sandbox) -> None:
    put(sandbox.root, page(entry("old")))
    sandbox.run("sync")
    assert "no generation before" in sandbox.run("rollback", expect=2).stderr
    put(sandbox.root, page(entry("new")))
    sandbox.run("reindex")
    assert f"{sandbox.name}-1 is live again" in sandbox.run("rollback").stdout
    assert list(sandbox.documents()) == ["develop/zlib/old"]
    for arguments in (["sync"], ["sync", "--dry-run"], ["verify", "--repair"]):
        assert "cachesync reindex" in sandbox.run(*arguments, expect=4).stderr
    assert list(sandbox.documents()) == ["develop/zlib/old"]
    assert sandbox.json("status")["held_after_rollback"]
    assert "pinned    after a rollback" in sandbox.run("status").stdout
    sandbox.run("reindex")
    assert sandbox.documents() == sandbox.rendered()
    assert not sandbox.json("status")["held_after_rollback"]
    put(sandbox.root, page(entry("newer")))
    sandbox.run("sync")
    assert sandbox.documents() == sandbox.rendered()


def test_a_sync_during_a_reindex_comes_after_it(sandbox: Sandbox) -> None:
    write_tree(sandbox.root, tag_count=2, package_count=30)
    sandbox.run("sync")
    reindexing = stopped_when(sandbox, "reindex", lambda: is_building(sandbox))
    put(sandbox.root, page(entry("new")), "new")
    syncing = subprocess.Popen(sandbox.command("sync"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with pytest.raises(subprocess.TimeoutExpired):
        syncing.wait(1.5)
    ends_well(reindexing)
    ends_well(syncing)
    assert sandbox.documents() == sandbox.rendered()
    assert generations(sandbox) == expected_generations(sandbox, 1, 2)


def test_verify_finds_nothing_where_all_is_well(sandbox: Sandbox) -> None:
    pages = write_tree(sandbox.root, tag_count=3, package_count=20)
    sandbox.run("sync")
    found = sandbox.json("verify")
    assert (found["pages"], found["specs"]) == (pages, len(sandbox.rendered()))
    assert (found["missing"], found["extra"], found["different"], found["ledger"]) == (0, 0, 0, 0)
    put(sandbox.root, page(entry("1")), "new")
    (sandbox.root / path_of("hdf5")).unlink()
    found = sandbox.json("verify", expect=1)
    assert found["differing"] == sorted([path_of("hdf5"), path_of("new")])


def damage(sandbox: Sandbox) -> None:
    """Change documents past the ledger, which goes on saying what it said."""
    with index_of(sandbox).writer(5) as writer:
        live = writer.live()
        assert live
        known = live.remembered([path_of("a"), path_of("b")])
        assert [each.page for each in live.write([damaging(live, each) for each in known.values()])] == list(known)


def damaging(index: Reader, known: Remembered) -> PageChange:
    """One document of a page is lost, one is too many, one is changed."""
    record = known.record
    documents = {each.id: each.source for each in index.documents(record.page)}
    lost, changed, added = (f"develop/{record.package}/{key}" for key in ("2", "1", "9"))
    puts = [
        Put(changed, documents[changed].replace(b"zen4", b"zen9"), is_new=False),
        Put(added, documents[changed], is_new=True),
    ]
    return PageChange(record.page, puts, [lost], record, record, known.digests)


def test_verify_finds_and_repairs_damage_that_keeps_the_counts(sandbox: Sandbox) -> None:
    for name in ("a", "b", "c"):
        put(sandbox.root, page(entry("1", target="zen4"), entry("2"), entry("3"), title=name), name)
    sandbox.run("sync")
    damage(sandbox)
    assert sandbox.documents() != sandbox.rendered()
    assert sandbox.json("sync")["pages"]["unchanged"] == 3, "the counts are right"
    found = sandbox.json("verify", expect=1)
    assert (found["missing"], found["extra"], found["different"], found["ledger"]) == (2, 2, 2, 0)
    assert found["differing"] == [path_of("a"), path_of("b")]
    assert found["documents"] == [
        {"id": f"develop/{name}/{hash}", "page": path_of(name), "kind": kind, "fields": fields}
        for name in ("a", "b")
        for hash, kind, fields in (("1", "different", ["spec", "target"]), ("2", "missing", []), ("9", "extra", []))
    ]
    assert sandbox.run("verify", expect=1).stdout.startswith(
        "differs  _cache/develop/a/specs.md\n"
        "  different develop/a/1: spec, target\n"
        "  missing   develop/a/2\n"
        "  extra     develop/a/9\n"
        "differs  _cache/develop/b/specs.md\n"
    )
    repaired = sandbox.json("verify", "--repair", expect=1)
    assert repaired == {**found, "repaired": True}
    assert sandbox.documents() == sandbox.rendered()
    assert "0 missing, 0 extra, 0 different" in sandbox.run("verify").stdout
    assert not sandbox.json("verify", "--repair")["repaired"]


def test_verify_compares_problem_pages_with_their_last_good_state(sandbox: Sandbox) -> None:
    put(sandbox.root, page(entry("1")))
    sandbox.run("sync")
    put(sandbox.root, b"broken")
    sandbox.run("sync", expect=1)
    found = sandbox.json("verify", expect=1)
    assert (found["differing"], found["specs"], len(found["problems"])) == ([], 1, 1)


def test_a_repair_says_which_documents_only_a_mended_page_puts_right(sandbox: Sandbox) -> None:
    good = {name: page(entry("1", target="zen4"), entry("2"), entry("3"), title=name) for name in ("a", "b")}
    for name, data in good.items():
        put(sandbox.root, data, name)
    sandbox.run("sync")
    put(sandbox.root, b"broken", "b")
    sandbox.run("sync", expect=1)
    damage(sandbox)
    said = sandbox.run("verify", "--repair", expect=1).stdout
    assert "repaired, except for the documents of 1 page with problems" in said
    assert sandbox.json("verify", expect=1)["differing"] == []
    put(sandbox.root, good["b"], "b")
    sandbox.run("sync")
    assert sandbox.documents() == sandbox.rendered()
    sandbox.run("verify")


def test_a_repair_that_would_lose_too_much_is_refused(sandbox: Sandbox) -> None:
    for number in range(4):
        put(sandbox.root, page(entry("1"), title=f"p{number}"), f"p{number}")
    sandbox.run("sync")
    for number in range(3):
        (sandbox.root / path_of(f"p{number}")).unlink()
    done = sandbox.run("verify", "--repair", expect=4)
    assert "--allow-mass-delete" in done.stderr
    assert "repaired" not in done.stdout
    assert len(sandbox.documents()) == 4


def test_pages_that_cannot_be_looked_at_keep_their_documents(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that can't be listed is no folder without pages, in a reindex either."""
    for tag in ("a", "b", "c", "d"):
        put(sandbox.root, page(entry("1"), entry("2"), tag=tag), tag=tag)
    sandbox.run("sync")
    whole = sandbox.documents()
    listed = os.scandir

    def denied(path: str | int) -> Any:
        if str(path).rstrip("/").endswith("_cache/a"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return listed(path)

    monkeypatch.setattr(os, "scandir", denied)
    source = Source(sandbox.root, Pattern(("_cache/**/specs.md",)), 1_000_000)
    for _ in range(2):
        with index_of(sandbox).writer(5) as writer:
            report = full_sync.reindex(source, writer, Guard(0.5), lambda _done, _total: None)
        assert [each.page for each in report.problems] == ["_cache/a"]
        assert report.lost == 0
        assert sandbox.documents() == whole
    monkeypatch.undo()
    state = sandbox.json("sync")
    assert (state["pages"]["unchanged"], state["specs"]) == (4, {"added": 0, "updated": 0, "deleted": 0})


def test_status_tells_what_a_rollback_would_go_back_to_and_when_that_was_made(sandbox: Sandbox) -> None:
    put(sandbox.root, page(entry("1")))
    before = datetime.now(UTC)
    sandbox.run("sync")
    assert sandbox.json("status")["rollback"] is None
    assert "rollback" not in sandbox.run("status").stdout
    first = sandbox.json("status")["generation"]
    sandbox.run("reindex")
    found = sandbox.json("status")
    made = datetime.fromisoformat(found["rollback"]["made"])
    assert (found["rollback"]["generation"], found["kept_generations"]) == (first, [first])
    assert before - timedelta(seconds=2) < made < datetime.now(UTC) + timedelta(seconds=2)
    assert f"rollback  would go back to {first}, made {made:%Y-%m-%d %H:%M} UTC" in sandbox.run("status").stdout
    sandbox.run("rollback")
    assert sandbox.json("status")["rollback"] is None

"""What waits for something that doesn't answer: it shows that it goes on, says for what, and ends when it is told to."""

import os
import subprocess
import threading
from pathlib import Path

import pytest

from examples.pages import write_tree
from tests.support import elasticsearch
from tests.support.pages import entry, page, put
from tests.support.sandbox import Sandbox
from tests.support.service import Service, Watchdog, until
from tests.support.slowness import SlowFileSystem, silent_server


@pytest.fixture
def slowness(embedded: Sandbox) -> SlowFileSystem:
    return SlowFileSystem(embedded.folder, embedded.root)


def specs(number: int) -> bytes:
    return page(*(entry(f"h{number}x{spec}" + "a" * 24) for spec in range(3)))


# --- a file system ------------------------------------------------------------------------------------------------------


def test_the_watchdog_hears_of_a_scan_of_a_slow_file_system(embedded: Sandbox, slowness: SlowFileSystem) -> None:
    """Else systemd would kill the service on a cold network file system, again and again."""
    write_tree(embedded.root, 4, 40)
    slowness.slow_down()
    with (
        Watchdog(embedded.folder) as watchdog,
        Service(embedded, **watchdog.environment, **slowness.environment) as service,
    ):
        heard = watchdog.heard_until(service.is_ready)
        assert heard.count("WATCHDOG=1") >= 15, "each look at 160 pages takes more than three seconds"


def test_a_start_that_takes_long_asks_for_time(embedded: Sandbox, slowness: SlowFileSystem) -> None:
    write_tree(embedded.root, 1, 5)
    slowness.hang()
    polling = {"CACHESYNC_WATCH__MODE": "polling"}
    with (
        Watchdog(embedded.folder) as watchdog,
        Service(embedded, **watchdog.environment, **slowness.environment, **polling) as service,
    ):
        until(lambda: slowness.is_hanging, "the watcher to look at the pages")
        watchdog.hears("EXTEND_TIMEOUT_USEC=60000000")
        slowness.answer()
        assert "READY=1" in watchdog.heard_until(service.is_ready)
        watchdog.heard_until(lambda: True)
        watchdog.hears("WATCHDOG=1", beats=3)
        assert not any("EXTEND" in each for each in watchdog.heard_until(lambda: True))


def test_a_mount_that_hangs_stops_neither_health_nor_the_end(embedded: Sandbox, slowness: SlowFileSystem) -> None:
    write_tree(embedded.root, 2, 5)
    with (
        Watchdog(embedded.folder) as watchdog,
        Service(embedded, **watchdog.environment, **slowness.environment) as service,
    ):
        service.caught_up()
        slowness.hang()
        put(embedded.root, specs(1), "new", "develop")
        until(lambda: slowness.is_hanging, "the service to look at the page")
        watchdog.hears("WATCHDOG=1", beats=5)
        assert service.get("/healthz")[0] == 200
        waiting = until(lambda: service.status()["waiting_for"], "the service to say what it waits for")
        assert waiting["what"] == f"the file system of pages.root {embedded.root}"
        told = until(lambda: service.get("/readyz")[1]["degraded"], "the service to call itself degraded")
        assert "hasn't responded for" in str(told)
        assert service.stop() == 0


def test_a_service_goes_on_when_its_mount_answers_again(embedded: Sandbox, slowness: SlowFileSystem) -> None:
    write_tree(embedded.root, 2, 5)
    with Service(embedded, **slowness.environment) as service:
        service.caught_up()
        slowness.hang()
        put(embedded.root, specs(1), "new", "develop")
        until(lambda: slowness.is_hanging, "the service to look at the page")
        slowness.answer()
        service.converges()
        assert until(service.is_ready, "readiness")


def test_a_scan_ends_when_the_service_is_to_end(embedded: Sandbox, slowness: SlowFileSystem) -> None:
    """At the next page, and not when all are looked at."""
    write_tree(embedded.root, 20, 50)
    slowness.slow_down()
    with Service(embedded, **slowness.environment) as service:
        until(lambda: slowness.was_asked, "a scan to begin")
        assert service.stop() == 0
        assert service.said("stopped")[-1]["message"] == "stopped", "nothing had to be left behind"


# --- a server -----------------------------------------------------------------------------------------------------------

READING = [
    ("search", "zlib"),
    ("status",),
    ("verify",),
    ("sync", "--dry-run"),
]


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_a_server_that_never_answers_holds_no_reading_command(tmp_path: Path, command: tuple[str, ...]) -> None:
    with silent_server() as url:
        done = Sandbox(tmp_path, url).run(*command, expect=3)
    assert f"cannot reach Elasticsearch at {url}" in done.stderr
    assert done.stderr.index("waiting for an answer") < done.stderr.index("cannot reach")
    assert f"Elasticsearch at {url}" in done.stderr.splitlines()[0]


def test_of_two_servers_one_that_never_answers_keeps_nobody_from_the_other(elastic: Sandbox) -> None:
    write_tree(elastic.root, 1, 3)
    elastic.run("sync")
    with silent_server() as url:
        elastic.configure(url=[url, elastic.url])
        for _ in range(2):
            assert elastic.json("search")["total"]


# --- shards -------------------------------------------------------------------------------------------------------------


class Allocation:
    """Whether a server gives shards a place."""

    def __init__(self, url: str) -> None:
        self._url = url

    def set(self, value: str | None) -> None:
        settings = {"persistent": {"cluster.routing.allocation.enable": value}}
        elasticsearch.request(f"{self._url}/_cluster/settings", "PUT", settings)

    def __enter__(self) -> None:
        self.set("none")

    def __exit__(self, *_: object) -> None:
        self.set(None)


def test_a_reindex_that_finds_no_place_holds_up_no_page(mortal: elasticsearch.Server, tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path, mortal.url, "test-placed")
    write_tree(sandbox.root, 2, 5)
    with Service(sandbox) as service:
        service.caught_up()
        with Allocation(mortal.url):
            running = threading.Thread(target=sandbox.run, args=("reindex",))
            running.start()
            until(lambda: service.said("waiting for a place"), "the reindex to say what it waits for")
            (line,) = service.said("waiting for a place")
            assert "has no place for a shard of test-placed-2" in line["error.message"]
            assert "cluster.routing.allocation.enable=none" in line["error.message"]
            put(sandbox.root, specs(1), "new", "develop")
            service.converges()
            assert service.status()["reindexing"] is not None, "it still waits"
            assert service.is_ready()
        running.join()
        until(lambda: service.status()["generation"] == "test-placed-2", "the reindex")
        service.converges()


def test_a_first_start_that_finds_no_place_leaves_nothing_behind(mortal: elasticsearch.Server, tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path, mortal.url, "test-unplaced")
    write_tree(sandbox.root, 1, 2)
    with Allocation(mortal.url):
        told = sandbox.run("sync", expect=3).stderr
        assert "has no place for a shard of test-unplaced-state" in told
        assert "cluster.routing.allocation.enable=none" in told
        assert not sandbox.has_index()
    sandbox.run("sync")


def test_a_reindex_of_a_tree_that_cant_be_read_has_no_progress(embedded: Sandbox) -> None:
    """Where there was one page to divide by there is none, and where folders can't be read there are more than it saw."""
    write_tree(embedded.root, 3, 5)
    embedded.blindfold()
    with Service(embedded, *embedded.before) as service:
        service.caught_up()
        before = service.status()["specs"]
        (embedded.root / "_cache").chmod(0)
        try:
            embedded.run("reindex", expect=1)
            assert service.status()["specs"] == before
        finally:
            (embedded.root / "_cache").chmod(0o755)
        service.converges()
        assert not service.said("internal error")


def test_a_command_that_waits_for_its_pages_says_so(embedded: Sandbox, slowness: SlowFileSystem) -> None:
    write_tree(embedded.root, 1, 3)
    slowness.hang()
    command = subprocess.Popen(
        embedded.command("sync"),
        stderr=subprocess.PIPE,
        text=True,
        cwd=embedded.folder,
        env={**os.environ, **slowness.environment},
    )
    assert command.stderr
    assert f"the file system of pages.root {embedded.root}" in command.stderr.readline()
    slowness.answer()
    assert command.wait(60) == 0
    command.stderr.close()

"""`cachesync run` while Elasticsearch is away, refuses, or loses what it had: it heals by itself."""

import contextlib
import json
import re
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cachesync.service.schedule import LAST_REINDEX, SCHEDULED_SINCE
from examples.pages import write_tree
from tests.support import elasticsearch
from tests.support.pages import entry, page, put
from tests.support.proxy import Answer, Deed, Proxy, Request, refusal
from tests.support.sandbox import Sandbox
from tests.support.service import Service, Watchdog, documents, index_of, until


def content(number: int = 0) -> bytes:
    return page(*(entry(f"h{number}x{spec}" + "a" * 24) for spec in range(3)))


@pytest.fixture
def service(elastic: Sandbox) -> Iterator[Service]:
    """One that has caught up, and that neither the watcher nor a rescan helps when the index is harmed."""
    write_tree(elastic.root, 4, 20)
    with Service(elastic, CACHESYNC_WATCH__RESCAN_INTERVAL="1h") as running:
        running.caught_up()
        running.converges()
        yield running


def live(service: Service) -> str:
    return str(service.status()["generation"])


def deleted(*suffixes: str) -> Callable[[Service], None]:
    def deed(service: Service) -> None:
        name, generation = service.sandbox.name, live(service)
        number = generation.rpartition("-")[2]
        names = {"specs": generation, "pages": f"{name}-pages-{number}", "state": f"{name}-state"}
        for suffix in suffixes:
            elasticsearch.request(f"{service.sandbox.url}/{names[suffix]}", "DELETE")

    deed.__name__ = f"deleted {' and '.join(suffixes)}"
    return deed


def alias_moved(service: Service) -> None:
    sandbox = service.sandbox
    other = f"{sandbox.name}-other"
    elasticsearch.request(f"{sandbox.url}/{other}", "PUT", {})
    actions = [
        {"remove": {"index": live(service), "alias": sandbox.name}},
        {"add": {"index": f"{sandbox.name}-pages-1", "alias": sandbox.name}},
        {"remove_index": {"index": other}},
    ]
    elasticsearch.request(f"{sandbox.url}/_aliases", "POST", {"actions": actions})


HARMS = [deleted("specs"), deleted("pages"), deleted("state"), deleted("specs", "pages", "state"), alias_moved]


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
def test_what_is_taken_from_the_index_comes_back_without_any_event(
    service: Service, harm: Callable[[Service], None]
) -> None:
    harm(service)
    service.converges(15)
    until(service.is_ready, "readiness", 15)
    put(service.sandbox.root, content(), "new", "develop")
    service.converges()
    assert service.status()["watcher"]["blind"] is False


@pytest.mark.parametrize("harm", [HARMS[0], HARMS[3]], ids=lambda harm: harm.__name__)
def test_indices_are_deleted_while_pages_change(service: Service, harm: Callable[[Service], None]) -> None:
    ended = threading.Event()

    def change() -> None:
        number = 0
        while not ended.wait(0.01):
            put(service.sandbox.root, content(number), f"new-{number % 50}", "develop")
            number += 1

    changing = threading.Thread(target=change)
    changing.start()
    try:
        harm(service)
        until(
            lambda: service.said("as it was left") or service.said("built anew") or service.said("a job failed"),
            "notice",
        )
    finally:
        ended.set()
        changing.join()
    service.converges()


def test_a_write_block_is_waited_out(service: Service) -> None:
    sandbox = service.sandbox
    blocked = f"{sandbox.url}/{sandbox.name}-1,{sandbox.name}-pages-1/_settings"
    elasticsearch.request(blocked, "PUT", {"index.blocks.write": True})
    put(sandbox.root, content(), "new", "develop")
    until(lambda: not service.is_ready(), "the block to be noticed")
    assert "block" in service.get("/readyz")[1]["reason"]
    assert "cachesync_retries_total" in service.get("/metrics")[1]
    elasticsearch.request(blocked, "PUT", {"index.blocks.write": None})
    service.converges(15)
    until(service.is_ready, "readiness", 15)
    assert len(service.said("can't be used for now")) == 1
    assert len(service.said("answers again")) == 1


def test_refused_credentials_and_errors_are_survived(elastic: Sandbox) -> None:
    """401 and 403, as after a key was revoked; 429, 502, 503, and answers that are none."""
    write_tree(elastic.root, 4, 20)
    refusals: list[Answer] = []
    security = "security_exception"

    def deed(request: Request) -> Answer | None:  # noqa: ARG001  whatever is asked
        return refusals[0] if refusals else None

    with Proxy(elastic.url, deed).running() as proxy:
        elastic.url = proxy.url
        elastic.configure()
        with Service(elastic, CACHESYNC_WATCH__RESCAN_INTERVAL="1h") as service:
            service.caught_up()
            for number, answer in enumerate(
                (
                    refusal(401, security, "missing authentication"),
                    refusal(403, security, "unauthorized"),
                    refusal(429, "circuit_breaking_exception"),
                    refusal(503, "unavailable_shards_exception"),
                    Answer(502, [("Content-Type", "text/html")], b"<html>"),
                    Answer(200, [("Content-Type", "text/html")], b"<html>no"),
                )
            ):
                refusals.append(answer)
                put(elastic.root, content(number), "new", "develop")
                until(lambda: not service.is_ready(), f"{answer} to be noticed")
                refusals.clear()
                until(service.is_ready, f"the end of {answer}", 15)
                service.converges(15)
        elastic.url = proxy.upstream_url


def test_refused_credentials_are_told_in_the_log(embedded: Sandbox) -> None:
    """Where they never were any good."""
    refused = refusal(401, "security_exception", "missing authentication")
    with Proxy("http://127.0.0.1:9", lambda _request: refused).running() as proxy:
        embedded.url = proxy.url
        embedded.configure()
        with Service(embedded) as service:
            until(lambda: service.said("can't be used"), "the reason")
            assert "refuses the credentials" in str(service.said("can't be used"))


def test_trouble_ends_with_a_reload_that_ends_its_cause(elastic: Sandbox) -> None:
    write_tree(elastic.root, 3, 5)
    elastic.configure(url="http://127.0.0.1:9")
    with Service(elastic) as service:
        until(lambda: service.status()["trouble"], "the trouble")
        elastic.configure()
        service.reload()
        service.converges()
        until(service.is_ready, "readiness")
        assert service.status()["trouble"] is None


def test_trouble_with_the_root_ends_with_a_reload_too(embedded: Sandbox) -> None:
    write_tree(embedded.root, 3, 5)
    with Service(embedded) as service:
        service.caught_up()
        embedded.root = embedded.root.rename(embedded.folder / "elsewhere")
        until(lambda: service.status()["trouble"], "the trouble")
        embedded.configure()
        service.reload()
        until(lambda: service.status()["in_sync"], "the index to be in line")
        assert service.status()["trouble"] is None
        assert service.status()["lag_seconds"] == 0


@contextlib.contextmanager
def behind(elastic: Sandbox, deed: Deed) -> Iterator[Proxy]:
    """Put a proxy before the server."""
    direct = elastic.url
    with Proxy(direct, deed).running() as proxy:
        elastic.url = proxy.url
        elastic.configure()
        try:
            yield proxy
        finally:
            elastic.url = direct


def test_a_change_after_a_reindex_goes_to_the_new_generation(elastic: Sandbox) -> None:
    """Though it can't be noted at first when that was."""
    write_tree(elastic.root, 3, 5)
    refusals = [refusal(400, "illegal_argument_exception", "no")]

    def deed(request: Request) -> Answer | None:
        writes = LAST_REINDEX in request.path and request.method != "GET"
        return refusals.pop() if writes and refusals else None

    with behind(elastic, deed), Service(elastic, CACHESYNC_WATCH__RESCAN_INTERVAL="1h") as service:
        service.caught_up()
        elastic.run("reindex")
        put(elastic.root, content(), "new", "develop")
        service.converges()
        assert not refusals
        until(lambda: live(service) == f"{elastic.name}-2" and service.is_ready(), "the new generation to be known")
        assert len(service.said("carrying out a command's request")) == 1


def test_a_reindex_that_cant_be_begun_leaves_the_service_ready(elastic: Sandbox) -> None:
    write_tree(elastic.root, 3, 5)
    elastic.run("sync")
    index_of(elastic).notes().put(SCHEDULED_SINCE, b"2020-01-01T00:00:00+00:00 0 0 1 1 * UTC")

    def deed(request: Request) -> Answer | None:
        if request.method == "PUT" and request.path.split("?")[0] == f"/{elastic.name}-2":
            return refusal(400, "validation_exception", "this cluster currently has the maximum normal shards open")
        return None

    with behind(elastic, deed), Service(elastic, CACHESYNC_SCHEDULE__REINDEX="0 0 1 1 *") as service:
        until(lambda: service.said("the reindex failed"), "the reindex")
        service.caught_up()
        code, ready = service.get("/readyz")
        assert (code, "maximum normal shards" in str(ready["degraded"])) == (200, True)
        service.converges()


def test_while_the_index_is_filled_for_the_first_time_commands_tell_how_far_it_is(elastic: Sandbox) -> None:
    write_tree(elastic.root, 3, 5)
    may_write = threading.Event()

    def deed(request: Request) -> Answer | None:
        if "_bulk" in request.path:
            may_write.wait(60)
        return None

    with behind(elastic, deed) as proxy, Service(elastic) as service:
        until(lambda: any("_bulk" in request.path for request in proxy.requests), "the first pages to be written")
        for command in ("status", "search", "verify"):
            told = elastic.run(command, expect=3).stderr
            expected = (
                rf"no index {elastic.name} at \S+ yet: the service \(.+\) is filling it, \d+ of 15 pages are done\n"
            )
            assert re.search(expected, told), told
            assert "`cachesync sync` makes one" not in told
        may_write.set()
        service.caught_up()
        assert elastic.json("status")["pages"] == 15


def test_the_watchdog_hears_of_a_service_whose_server_is_away(elastic: Sandbox) -> None:
    away = threading.Event()

    def deed(_request: Request) -> Answer | None:
        return refusal(503, "unavailable", "away") if away.is_set() else None

    with (
        behind(elastic, deed),
        Watchdog(elastic.folder) as watchdog,
        Service(elastic, **watchdog.environment) as service,
    ):
        service.caught_up()
        away.set()
        put(elastic.root, content(), "new", "develop")
        until(lambda: not service.is_ready(), "the outage to be noticed")
        watchdog.hears()
        away.clear()
        until(service.is_ready, "readiness")


IMPATIENT = """
import sys
from cachesync.__main__ import main
from cachesync.service import supervisor
supervisor.STOP_SECONDS = 1.0
del sys.argv[1:4]
main()
"""
"""Runs the command line that follows, and gives up soon what isn't answered at the end."""


def test_it_ends_while_the_server_keeps_it_waiting(elastic: Sandbox) -> None:
    hangs, over = threading.Event(), threading.Event()
    waiting: list[Request] = []

    def deed(request: Request) -> Answer | None:
        if hangs.is_set():
            waiting.append(request)
            over.wait(60)
        return None

    with behind(elastic, deed), Service(elastic, sys.executable, "-c", IMPATIENT) as service:
        service.caught_up()
        hangs.set()
        put(elastic.root, content(), "new", "develop")
        until(lambda: len(waiting) > 1, "a request besides that which renews the lease")
        try:
            assert service.stop() == 0
        finally:
            over.set()
        assert service.said("a request is not answered yet")


def test_a_server_that_is_killed_and_started_again(mortal: elasticsearch.Server, tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path, mortal.url, "test-killed")
    write_tree(sandbox.root, 4, 20)
    with Service(sandbox, CACHESYNC_WATCH__RESCAN_INTERVAL="1h", CACHESYNC_HTTP__MAX_LAG="1h") as service:
        service.caught_up()
        for round_ in range(2):
            mortal.kill()
            for number in range(20):
                put(sandbox.root, content(100 * round_ + number), f"new-{number}", "develop")
            until(lambda: not service.is_ready(), "the outage to be noticed")
            assert mortal.url in service.get("/readyz")[1]["reason"]
            mortal.start()
            service.converges(30)
            until(service.is_ready, "readiness", 15)
        about = [line for line in service.lines if line["log.level"] == "warning"]
        assert len(about) <= 6, about


def test_a_server_that_comes_after_the_service(mortal: elasticsearch.Server, tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path, mortal.url, "test-late")
    write_tree(sandbox.root, 4, 20)
    mortal.kill()
    with Service(sandbox) as service:
        until(lambda: not service.is_ready() and mortal.url in str(service.get("/readyz")), "the reason")
        assert service.get("/healthz")[0] == 200
        mortal.start()
        service.caught_up()
        service.converges()
    assert documents(sandbox)


def test_it_ends_while_the_server_is_away(mortal: elasticsearch.Server, tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path, mortal.url, "test-ends")
    write_tree(sandbox.root, 4, 20)
    with Service(sandbox) as service:
        service.caught_up()
        mortal.kill()
        put(sandbox.root, content(), "new", "develop")
        until(lambda: not service.is_ready(), "the outage to be noticed")
        assert service.stop() == 0
    mortal.start()
    sandbox.run("sync")
    assert json.loads(sandbox.run("verify", "--json").stdout)["missing"] == 0

"""Walks and exports over HTTP beside a running service, while pages change and a reindex puts another index in place."""

import csv
import http.client
import io
import json
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlencode, urlsplit

import pytest

from tests.support.pages import entry, page, put
from tests.support.sandbox import Sandbox
from tests.support.service import Service, until

STAYING: Final = 60
"""So many packages stay as they are."""

SPECS: Final = 40
"""Of each package there are so many."""

NEW: Final = "develop-2025-01-12"
"""A tag that comes while the service runs."""

FILLING: Final = "x" * 900
"""Makes documents so large that the end of an export isn't on its way before its beginning is read."""


def of_package(title: str, version: str = "1.0", specs: int = SPECS, tag: str = "develop") -> bytes:
    entries = (
        entry(f"{title}{number}".ljust(32, "a"), versions=[version], os=f"os{number % 3}", variants=[f"+{FILLING}"])
        for number in range(specs)
    )
    return page(*entries, title=title, tag=tag)


@pytest.fixture
def service(sandbox: Sandbox) -> Iterator[Service]:
    for number in range(STAYING):
        put(sandbox.root, of_package(f"stay{number:02}"), f"stay{number:02}")
    for number in range(0, STAYING, 3):
        put(sandbox.root, of_package(f"stay{number:02}x", specs=3), f"stay{number:02}x")
    sandbox.run("sync")
    with Service(sandbox) as running:
        yield running.caught_up()


@contextmanager
def changing(service: Service) -> Iterator[Callable[[], int]]:
    """Rewrite, add and remove pages between those that stay, without a pause; yields how often that was done."""
    is_over = threading.Event()
    turns = 0

    def change() -> None:
        nonlocal turns
        root = service.sandbox.root
        while not is_over.wait(0.2):
            title = f"stay{turns * 7 % STAYING // 3 * 3:02}x"
            file = put(root, of_package(title, f"2.{turns}", specs=turns % 5 + 1), title)
            if turns % 4 == 3:
                file.unlink()
            turns += 1

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield lambda: turns
    finally:
        is_over.set()
        thread.join()


def generation(service: Service) -> str:
    found: str = service.status()["generation"]
    return found


@contextmanager
def reindexing(service: Service) -> Iterator[Callable[[], bool]]:
    """Ask for a reindex; yields whether its index has taken the place of the other."""
    before = generation(service)
    asked = subprocess.Popen(service.sandbox.command("reindex"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield lambda: generation(service) != before
    finally:
        assert asked.wait(120) == 0


def is_whole(met: list[str]) -> None:
    """What stays was met once, and nothing twice."""
    counts = Counter(met)
    assert not [id for id, count in counts.items() if count > 1]
    stayed = [id for id in counts if not id.split("/")[1].endswith("x")]
    assert len(stayed) == STAYING * SPECS


@pytest.mark.parametrize("asked", [{}, {"sort": "os:desc", "distinct": "true"}])
def test_a_walk_meets_all_that_stays_once(service: Service, asked: dict[str, str]) -> None:
    met: list[str] = []
    cursor: dict[str, str] = {}
    with changing(service) as turns, reindexing(service) as is_swapped:
        while True:
            parameters = urlencode({**asked, **cursor, "limit": 60})
            status, answer = service.get(f"/api/search?{parameters}")
            assert status == 200, answer
            met += [hit["_id"] for hit in answer["hits"]]
            if answer["next"] is None:
                break
            cursor = {"cursor": answer["next"]}
            if len(met) in range(600, 660):
                until(lambda: is_swapped() and turns() > 5, "another index")
    is_whole(met)


def test_a_walk_meets_all_that_stays_once_though_a_new_tag_has_it_too(service: Service) -> None:
    """The new tag is the newest, so its documents come before those that the walk has come to."""
    total = service.get("/api/search?limit=0")[1]["total"]
    met: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        parameters = urlencode({"distinct": "true", **cursor, "limit": 300})
        status, answer = service.get(f"/api/search?{parameters}")
        assert (status, answer["total"]) == (200, total), answer
        met += [hit["_id"] for hit in answer["hits"]]
        if answer["next"] is None:
            break
        cursor = {"cursor": answer["next"]}
        if len(met) == 300:
            for number in range(STAYING):
                title = f"stay{number:02}"
                put(service.sandbox.root, of_package(title, tag=NEW), title, NEW)
            until(lambda: service.get("/api/tags")[1]["tags"][0]["specs"] == STAYING * SPECS, "a new tag", 60)
    is_whole(met)


@pytest.mark.parametrize(("form", "asked"), [("ndjson", {}), ("csv", {"sort": "os:desc", "distinct": "true"})])
def test_an_export_has_all_that_stays_once(service: Service, form: str, asked: dict[str, str]) -> None:
    """It is read slowly: two other indices are put in place meanwhile, and the one that it began with is removed."""
    where = urlsplit(service.url)
    connection = http.client.HTTPConnection(where.netloc, timeout=60)
    with changing(service) as turns:
        connection.request("GET", f"/api/search?{urlencode({**asked, 'format': form})}")
        answer = connection.getresponse()
        assert answer.status == 200
        body = answer.read(100_000)
        for _ in range(2):
            with reindexing(service) as is_swapped:
                until(is_swapped, "another index")
        assert turns() > 5
        body += answer.read()
    connection.close()
    is_whole(ids_of(body.decode(), form))


def ids_of(body: str, form: str) -> list[str]:
    if form == "csv":
        return [row["_id"] for row in csv.DictReader(io.StringIO(body))]
    return [json.loads(line)["_id"] for line in body.splitlines()]

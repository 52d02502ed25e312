"""Several `cachesync serve` beside one `cachesync run`, over a cluster and over a folder: none errs, all follow."""

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from examples.pages import write_tree
from tests.support.pages import entry, page, put
from tests.support.sandbox import Sandbox
from tests.support.service import Serve, Service, until

ASKED = (
    "/api/search?q=hdf5&facet=os",
    "/api/search?limit=50&distinct=true",
    "/api/tags",
    "/api/status",
    "/readyz",
    "/",
)


@pytest.fixture
def filled(sandbox: Sandbox) -> Sandbox:
    write_tree(sandbox.root, tag_count=2, package_count=20)
    return sandbox


@contextlib.contextmanager
def asked_all_the_while(sites: list[Serve]) -> Iterator[list[tuple[str, int, Any]]]:
    """Ask each without a pause, and lend what was asked and answered."""
    answered: list[tuple[str, int, Any]] = []
    is_over = threading.Event()

    def ask(site: Serve) -> None:
        while not is_over.is_set():
            for path in ASKED:
                answered.append((path, *site.get(path)))  # noqa: PERF401  others look at it meanwhile

    with ThreadPoolExecutor(len(sites)) as threads:
        asking = [threads.submit(ask, site) for site in sites]
        try:
            yield answered
        finally:
            is_over.set()
            for each in asking:
                each.result()


def test_generations_are_followed_without_an_error(filled: Sandbox) -> None:
    with Service(filled) as service, contextlib.ExitStack() as running:
        service.caught_up()
        sites = [running.enter_context(Serve(filled)) for _ in range(2)]
        total = len(filled.rendered())
        with asked_all_the_while(sites) as answered:
            for number in range(2):
                generation = service.status()["generation"]
                filled.run("reindex")
                assert service.status()["generation"] != generation
                tag = f"develop-2026-01-0{number + 1}"
                put(filled.root, page(entry(f"n{number}"), tag=tag), "newcomer", tag)
                all_know(sites, tag)
        assert {status for _, status, _ in answered} == {200}, [each for each in answered if each[1] != 200][:3]
        totals = {answer["total"] for path, _, answer in answered if "limit=50" in path}
        assert totals <= set(range(total, total + 3)), "none has seen a generation that isn't filled"
        assert max(totals) == total + 2


def all_know(sites: list[Serve], tag: str) -> None:
    until(lambda: all(knows(site, tag) for site in sites), f"{tag} to be known everywhere")


def knows(site: Serve, tag: str) -> bool:
    """Whether a tag is listed, searched and chosen as the newest."""
    listed = site.get("/api/tags")[1]["tags"]
    latest = site.get("/api/search?tag=latest")[1]
    return tag in {each["tag"] for each in listed} and {hit["tag"] for hit in latest["hits"]} == {tag}


def test_a_walk_goes_on_at_another_one_while_a_generation_takes_over(filled: Sandbox) -> None:
    filled.run("sync")
    with Serve(filled) as one, Serve(filled) as other:
        wanted = sorted(filled.rendered())
        found: list[str] = []
        more, turn = "", 0
        while more or not turn:
            answer = (one, other)[turn % 2].get(f"/api/search?limit=40{more}")[1]
            found += [hit["_id"] for hit in answer["hits"]]
            more = f"&cursor={answer['next']}" if answer["next"] else ""
            turn += 1
            if turn == 2:
                filled.run("reindex")
        assert turn > 3
        assert sorted(found) == wanted

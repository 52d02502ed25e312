"""What the runbooks print is what is printed: each block is run in the situation that its section is about."""

import contextlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cachesync.index.elastic import mapping
from examples.pages import write_tree
from tests.support import elasticsearch
from tests.support.sandbox import Sandbox
from tests.support.secured import Secured, without
from tests.support.service import Service, until

RUNBOOKS = Path(__file__).parents[2] / "docs/runbooks.md"
URL = "http://127.0.0.1:8080"
POLLING = {"CACHESYNC_WATCH__MODE": "polling"}
"""Asked for, so that no file system or limit of the machine makes a service say that it is degraded."""
PAGE = "_cache/develop/hdf5/specs.md"
VARIES = {
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d\+00:00)?": "TIME",
    r"(https?)://127\.0\.0\.1:\d+": r"\1://SERVER",
    r"process \d+ on [\w.-]+": "process N on HOST",
    r"(test-[0-9a-f]{12}|spack-specs)": "NAME",
    r"(?<=NAME)(-pages)?-\d+": r"\1-N",
    r"the user [\w-]+": "the user U",
    r"done in [\d.]+ s": "done in N s",
    r"(?<=see )(https://|…)[^ \]]*": "…",
}

World = Iterator[Service | None]
"""Makes a situation, and the next one at each step; yields the service that is asked by HTTP."""


def sections() -> dict[str, list[tuple[str, str]]]:
    """Each section's blocks that begin with a command: the command, and what it prints."""
    found = {}
    for section in RUNBOOKS.read_text().split("\n## ")[1:]:
        title, _, text = section.partition("\n")
        blocks = [block.strip("\n").partition("\n") for block in text.split("```")[1::2]]
        found[title] = [(command[2:], shown) for command, _, shown in blocks if command.startswith("$ ")]
    return found


def same(text: str) -> str:
    """A text without what is another each time."""
    for pattern, replacement in VARIES.items():
        text = re.sub(pattern, replacement, text)
    return text


def printed(sandbox: Sandbox, service: Service | None, command: str) -> str:
    """Run a command of the runbooks, and return what a person sees of it, but for the log."""
    if command.startswith("curl"):
        assert service
        answer = service.get(command.rpartition(URL)[2])[1]
        return json.dumps(answer, separators=(",", ":"), ensure_ascii=False)
    done = sandbox.run(*command.removeprefix("cachesync ").split(), expect=None)
    errors = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    return "\n".join([*done.stdout.splitlines(), *errors])


# --- the situations ---------------------------------------------------------------------------------------------------


def running(sandbox: Sandbox) -> World:
    with Service(sandbox, **POLLING) as service:
        service.caught_up()
        yield service


def synced(sandbox: Sandbox) -> World:
    sandbox.run("sync")
    yield None


def damaged(sandbox: Sandbox) -> World:
    sandbox.run("sync")
    ids = sorted(sandbox.documents())
    for id, change in ((ids[0], None), (ids[1], {"doc": {"size": 1}})):
        path = f"{sandbox.url}/{sandbox.name}-1/{'_update' if change else '_doc'}/{id.replace('/', '%2F')}?refresh=true"
        elasticsearch.request(path, "POST" if change else "DELETE", change)
    for _ in range(3):
        yield None


def unreachable(sandbox: Sandbox) -> World:
    sandbox.configure(url=f"http://127.0.0.1:{elasticsearch.free_port()}")
    with Service(sandbox, **POLLING) as service:
        until(lambda: "refused" in str(service.get("/readyz")), "the reason")
        yield service


def deleted(sandbox: Sandbox) -> World:
    with Service(sandbox, **POLLING) as service:
        service.caught_up()
        delete(sandbox, 1)
        until(
            lambda: service.status()["generation"] == f"{sandbox.name}-2" and service.is_ready(), "the new generation"
        )
        yield service
    delete(sandbox, 2)
    yield None


def delete(sandbox: Sandbox, number: int) -> None:
    elasticsearch.request(f"{sandbox.url}/{sandbox.name}-{number},{sandbox.name}-pages-{number}", "DELETE")


def full(sandbox: Sandbox) -> World:
    with Service(sandbox, **POLLING) as service:
        service.caught_up()
        block(sandbox, is_full=True)
        change(sandbox)
        until(lambda: "flood-stage" in str(service.get("/readyz")), "the reason")
        yield service
        block(sandbox, is_full=False)
        until(service.is_ready, "the service to go on")
        yield service


def block(sandbox: Sandbox, *, is_full: bool) -> None:
    """As the server does it to every index on a full disk, ours in the order in which we meet them."""
    setting = {"index.blocks.read_only_allow_delete": True if is_full else None}
    elasticsearch.request(f"{sandbox.url}/{sandbox.name}-1,{sandbox.name}-pages-1/_settings", "PUT", setting)


def change(sandbox: Sandbox) -> None:
    file = sandbox.root / PAGE
    file.write_text(file.read_text().replace("x86_64_v3", "x86_64_v4"))


def held(sandbox: Sandbox) -> World:
    sandbox.run("sync")
    pages, away = sandbox.root / "_cache", sandbox.root / "away"
    pages.rename(away)
    pages.mkdir()
    yield None
    pages.rmdir()
    away.rename(pages)
    yield None
    shutil.rmtree(pages)
    pages.mkdir()
    yield None


def broken(sandbox: Sandbox) -> World:
    file = sandbox.root / PAGE
    sandbox.run("sync")
    file.write_text(file.read_text().replace("spec_details: [{", "spec_details: [{{", 1))
    sandbox.run("sync", expect=1)
    yield None
    yield None


def rolled_back(sandbox: Sandbox) -> World:
    sandbox.run("sync")
    sandbox.run("reindex")
    for _ in range(3):
        yield None


def outdated(sandbox: Sandbox) -> World:
    sandbox.run("sync")
    meta = {"index": sandbox.name, "layout": mapping.LAYOUT, "fields": "those of another version"}
    for index in (f"{sandbox.name}-1", f"{sandbox.name}-pages-1"):
        elasticsearch.request(f"{sandbox.url}/{index}/_mapping", "PUT", {"_meta": {"cachesync": meta}})
    yield None
    yield None


def moved(sandbox: Sandbox) -> World:
    sandbox.run("sync")
    place = sandbox.folder / "elsewhere"
    shutil.copytree(sandbox.root, place)
    shutil.rmtree(sandbox.root)
    sandbox.root = place
    sandbox.configure()
    yield None


def two(sandbox: Sandbox) -> World:
    with Service(sandbox, **POLLING) as first, Service(sandbox, **POLLING) as second:
        services = [first, second]
        until(lambda: any(each.is_ready() for each in services), "one to serve")
        (waiting,) = (each for each in services if not each.is_ready())
        until(lambda: "standing by" in str(waiting.get("/readyz")), "the other to stand by")
        yield first
        yield waiting


def powerless(sandbox: Sandbox, secured: Secured) -> World:
    sandbox.configure(url=secured.url, **secured.security.keys(without("delete")))
    yield None


WORLDS: dict[str, Callable[..., World]] = {
    "The index is behind": running,
    "Is it right": damaged,
    "Not ready": unreachable,
    "The service is gone": running,
    "The index was deleted": deleted,
    "Elasticsearch's disk is full": full,
    "Credentials and rights": powerless,
    "Deletes are held back": held,
    "Pages that can't be used": broken,
    "Rollback": rolled_back,
    "Upgrade": outdated,
    "Moving the pages": moved,
    "Standby": two,
}


@pytest.mark.parametrize("title", WORLDS)
def test_a_runbook_prints_what_it_shows(request: pytest.FixtureRequest, elastic: Sandbox, title: str) -> None:
    write_tree(elastic.root, tag_count=4, package_count=60)
    more = [request.getfixturevalue("secured")] if WORLDS[title] is powerless else []
    world = WORLDS[title](elastic, *more)
    with contextlib.closing(world):  # type: ignore[type-var]  # a generator, though it is called an iterator
        for command, shown in sections()[title]:
            found = printed(elastic, next(world), command)
            assert same(found) == same(shown), found
        assert next(world, "no more") == "no more" or WORLDS[title] is running


def test_every_runbook_that_shows_something_is_tried() -> None:
    assert {title for title, blocks in sections().items() if blocks} == set(WORLDS)


def test_links_lead_somewhere() -> None:
    """Within the runbooks, and from the alerts."""
    anchors = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in sections()}
    assert set(re.findall(r"\]\(#([^)]+)\)", RUNBOOKS.read_text())) <= anchors
    alerts = (RUNBOOKS.parents[1] / "deploy/prometheus/alerts.yml").read_text()
    assert set(re.findall(r"runbooks\.md#(\S+)", alerts)) <= anchors

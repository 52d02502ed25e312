"""`cachesync serve` reveals nothing about the engine behind it, whatever is wrong with that."""

import contextlib
import json
import shutil
import socket
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple, get_args
from urllib.parse import urlsplit

import pytest

from cachesync.index.freshness import Freshness, Shortcoming, note_freshness
from tests.support import elasticsearch
from tests.support.filling import fill
from tests.support.pages import entry, page, path_of, put
from tests.support.proxy import Answer, Cut, Deed, Proxy, Request
from tests.support.public import asked, faults_of, secrets_of, told, told_in_short
from tests.support.sandbox import Sandbox, unreadable
from tests.support.secured import HOST, NOBODY, READER, WRITER, Secured
from tests.support.service import Serve, index_of, until
from tests.support.slowness import silent_server

EMBEDDED = "the-hidden-name"
JSON = [("Content-Type", "application/json"), ("X-Elastic-Product", "Elasticsearch")]


@pytest.fixture(params=["embedded", "elasticsearch"])
def sandbox(request: pytest.FixtureRequest, tmp_path: Path, index_name: str) -> Sandbox:
    """Pages, and an index of them with each engine."""
    if request.param == "elasticsearch":
        return filled(Sandbox(tmp_path, request.getfixturevalue("elasticsearch_index"), index_name))
    return filled(Sandbox(tmp_path, name=EMBEDDED))


@pytest.fixture
def embedded(tmp_path: Path) -> Sandbox:
    return filled(Sandbox(tmp_path, name=EMBEDDED))


@pytest.fixture
def elastic(tmp_path: Path, elasticsearch_index: str, index_name: str) -> Sandbox:
    return filled(Sandbox(tmp_path, elasticsearch_index, index_name))


def filled(sandbox: Sandbox) -> Sandbox:
    pages = {
        path_of(): page(entry("a" * 32), entry("b" * 32, os="rhel8")),
        path_of(tag="other"): page(entry("a" * 32), tag="other"),
    }
    with contextlib.closing(index_of(sandbox)) as index:
        fill(index, pages)
    return sandbox


def reveals_nothing(
    sandbox: Sandbox, *secrets: str, is_ready: bool = False, searched: set[int] | None = None, some: bool = False
) -> None:
    """Send all kinds of requests, or some, to a new process, and check that its responses reveal nothing.

    ``secrets``: what else mustn't be revealed; ``searched``: the statuses that searches may have.
    """
    patience = "60s" if is_ready else "5s"  # a healthy server may still be slow
    with Serve(sandbox, CACHESYNC_HTTP__SEARCH_TIMEOUT=patience) as served:
        assert_no_leak(served, {*secrets_of(sandbox), *secrets}, is_ready=is_ready, searched=searched, some=some)


def assert_no_leak(
    served: Serve, hidden: set[str], *, is_ready: bool = False, searched: set[int] | None = None, some: bool = True
) -> None:
    """Do the same with a running process."""
    found = {each.asked: each for each in (told_in_short if some else told)(served.url)}
    assert {name: faults for name, each in found.items() if (faults := faults_of(each, hidden))} == {}
    assert {each.status for each in found.values()} <= {200, 400, 404, 405, 503, 504}
    assert found["GET /readyz (text/html)"].status == (200 if is_ready else 503)
    if not is_ready:
        assert json.loads(found["GET /readyz (text/html)"].body) == UNREADY
        assert json.loads(found["GET /api/status (text/html)"].body) == UNREADY
    for name in ("GET /api/search (text/html)", "GET / (text/html)"):
        answer = found[name]
        assert answer.status in (searched or ({200} if is_ready else {503, 504})), answer
        assert (int(answer.headers.get("retry-after", 0)) > 0) == (answer.status == 503)


UNREADY = {"ready": False, "reason": "not ready", "degraded": []}


def test_all_is_well(sandbox: Sandbox) -> None:
    reveals_nothing(sandbox, is_ready=True)


def test_there_is_no_index_yet(sandbox: Sandbox) -> None:
    if sandbox.is_embedded:
        shutil.rmtree(sandbox.index)
    else:
        elasticsearch.remove(sandbox.url, sandbox.name)
    reveals_nothing(sandbox)


def test_the_writer_has_died_and_had_noted_what_was_wrong(sandbox: Sandbox) -> None:
    then = datetime.now(UTC) - timedelta(hours=1)
    noted = Freshness(
        noted=then, due=then, writer="service", in_sync=False, lag_seconds=9, degraded=get_args(Shortcoming)
    )
    with contextlib.closing(index_of(sandbox)) as index:
        note_freshness(index.notes(), noted)
    reveals_nothing(sandbox, is_ready=True)


# --- a folder ---------------------------------------------------------------------------------------------------------


def foreign_file(index: Path) -> None:
    shutil.rmtree(index)
    index.write_text("mine")


def foreign_folder(index: Path) -> None:
    shutil.rmtree(index)
    index.mkdir()
    (index / "mine").touch()


def without_meta(index: Path) -> None:
    (live(index) / "meta.json").unlink()


def cut_files(index: Path) -> None:
    for file in live(index).iterdir():
        if file.is_file():
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def garbled_files(index: Path) -> None:
    for file in live(index).iterdir():
        if file.is_file():
            file.write_bytes(b"\xff" * file.stat().st_size)


def lost_generation(index: Path) -> None:
    shutil.rmtree(live(index))


def lost_link(index: Path) -> None:
    (index / "live").unlink()


def link_to_itself(index: Path) -> None:
    (index / "live").unlink()
    (index / "live").symlink_to("live")


def other_layout(index: Path) -> None:
    change_meta(index, layout=0)


def live(index: Path) -> Path:
    return (index / "live").resolve()


def change_meta(index: Path, **changed: object) -> None:
    file = next(each for each in live(index).iterdir() if "fingerprint" in each.read_bytes().decode(errors="ignore"))
    file.write_text(json.dumps({**json.loads(file.read_text()), **changed}))


DAMAGES = [
    *(foreign_file, foreign_folder, without_meta, cut_files, garbled_files),
    *(lost_generation, lost_link, link_to_itself, other_layout),
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_folder_that_cant_be_used(embedded: Sandbox, damage: Callable[[Path], None]) -> None:
    damage(embedded.index / embedded.name)
    reveals_nothing(embedded, some=damage is not foreign_folder)


def test_a_folder_that_cannot_be_read(embedded: Sandbox) -> None:
    embedded.blindfold()
    for place in (embedded.index, embedded.index / embedded.name, live(embedded.index / embedded.name)):
        with unreadable(place):
            reveals_nothing(embedded, some=True)


def test_a_folder_that_an_older_version_has_filled(embedded: Sandbox) -> None:
    change_meta(embedded.index / embedded.name, fingerprint="older")
    reveals_nothing(embedded, is_ready=True)
    change_meta(embedded.index / embedded.name, fields=["package", "tag", "page", "spec"])
    reveals_nothing(embedded, is_ready=True)


def test_a_folder_that_is_damaged_while_it_is_served(embedded: Sandbox) -> None:
    """The next check detects the damage. The operator finds the reason in the log, once; clients don't see it."""
    with Serve(embedded) as served:
        assert asked(served.url, "/api/search").status == 200
        foreign_file(embedded.index / embedded.name)
        until(lambda: asked(served.url, "/api/search").status == 503, "the damage to be noticed")
        assert [faults for each in told_in_short(served.url) if (faults := faults_of(each, secrets_of(embedded)))] == []
        (line,) = served.said("the index can't be searched for now")
        assert f"{embedded.index / embedded.name} is not a cachesync index" in line["error.message"]


# --- a cluster --------------------------------------------------------------------------------------------------------


def foreign_index(sandbox: Sandbox) -> None:
    elasticsearch.remove(sandbox.url, sandbox.name)
    elasticsearch.request(f"{sandbox.url}/{sandbox.name}", "PUT")


def foreign_alias(sandbox: Sandbox) -> None:
    elasticsearch.remove(sandbox.url, sandbox.name)
    elasticsearch.request(f"{sandbox.url}/{sandbox.name}-other", "PUT", {"aliases": {sandbox.name: {}}})


def one_alias_alone(sandbox: Sandbox) -> None:
    (specs,) = elasticsearch.request(f"{sandbox.url}/_alias/{sandbox.name}")
    actions = [{"remove": {"index": specs, "alias": sandbox.name}}]
    elasticsearch.request(f"{sandbox.url}/_aliases", "POST", {"actions": actions})


def closed_index(sandbox: Sandbox) -> None:
    elasticsearch.request(f"{sandbox.url}/{sandbox.name}/_close", "POST")


def of_other_layout(sandbox: Sandbox) -> None:
    change_mapping(sandbox, layout=0)


def change_mapping(sandbox: Sandbox, **changed: object) -> None:
    ((index, found),) = elasticsearch.request(f"{sandbox.url}/{sandbox.name}/_mapping").items()
    meta = found["mappings"]["_meta"]
    told_of_it = {"_meta": {**meta, "cachesync": {**meta["cachesync"], **changed}}}
    elasticsearch.request(f"{sandbox.url}/{index}/_mapping", "PUT", told_of_it)


@pytest.mark.parametrize(
    "damage",
    [foreign_index, foreign_alias, one_alias_alone, closed_index, of_other_layout],
    ids=lambda damage: damage.__name__,
)
def test_indices_that_cant_be_used(elastic: Sandbox, damage: Callable[[Sandbox], None]) -> None:
    damage(elastic)
    reveals_nothing(elastic, some=damage is not foreign_index)


def test_indices_that_an_older_version_has_filled_or_nobody_may_write(elastic: Sandbox) -> None:
    change_mapping(elastic, fields="older")
    elastic.ask("/_settings", "PUT", {"index.blocks.read_only": True})
    try:
        reveals_nothing(elastic, is_ready=True)
    finally:
        elastic.ask("/_settings", "PUT", {"index.blocks.read_only": None})


def test_a_server_that_cannot_be_reached(elastic: Sandbox) -> None:
    with socket.create_server((HOST, 0)) as closed:
        port = closed.getsockname()[1]
    elastic.url = f"http://{HOST}:{port}"
    elastic.configure()
    reveals_nothing(elastic, some=True)


def test_a_server_that_never_answers(elastic: Sandbox) -> None:
    with silent_server() as elastic.url:
        elastic.configure()
        reveals_nothing(elastic, some=True)


def test_a_server_that_speaks_no_tls(elastic: Sandbox) -> None:
    elastic.url = elastic.url.replace("http:", "https:")
    elastic.configure()
    reveals_nothing(elastic, some=True)


def refused(status: int, kind: str, reason: str) -> Answer:
    error = {"type": kind, "reason": f"{reason} [es-node-7] [{HOST}:9300]", "root_cause": [{"type": kind}]}
    return Answer(status, JSON, json.dumps({"error": error, "status": status}).encode())


PLAIN = [("Content-Type", "text/html")]
ANSWERS = {
    "unauthorized": refused(401, "security_exception", "unable to authenticate user [es-user]"),
    "forbidden": refused(403, "security_exception", "action [es-action] is unauthorized for user [es-user]"),
    "blocked": refused(403, "cluster_block_exception", "index [es-index] blocked by: [FORBIDDEN/8/index write]"),
    "gone": refused(404, "index_not_found_exception", "no such index [es-index]"),
    "too old": refused(400, "media_type_header_exception", "Accept version must be either version 8 or 7, but found 9"),
    "overloaded": refused(429, "es_rejected_execution_exception", "rejected execution on es-thread"),
    "broken": refused(500, "null_pointer_exception", "es-reason"),
    "shards failed": refused(503, "search_phase_execution_exception", "all shards failed on es-index"),
    "another server": Answer(200, PLAIN, b"<title>es-title</title>"),
    "a proxy's page": Answer(502, PLAIN, b"<title>502 es-title</title>"),
    "elsewhere": Answer(302, [("Location", "http://es-elsewhere.example/login")], b""),
    "no JSON": Answer(200, JSON, b'{"es-half":'),
}
SECRETS_OF_ANSWERS = {"es-", "max_buckets", "9300"}


class Behind(NamedTuple):
    """A proxy between ``cachesync serve`` and Elasticsearch that tampers with requests."""

    served: Serve
    proxy: Proxy
    hidden: set[str]

    def reveals_nothing(self, deed: Deed, kind: str = "all", searched: set[int] | None = None) -> None:
        """Check with the proxy tampering with all requests, or with searches only."""
        self.proxy.deed = lambda request: deed(request) if kind == "all" or "_search" in request.path else None
        self.served.reload()  # clears its caches
        assert_no_leak(self.served, self.hidden, searched=searched)


@pytest.fixture(scope="module")
def behind(elasticsearch_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    name = f"test-{uuid.uuid4().hex[:12]}"
    with contextlib.ExitStack() as lent:
        lent.callback(elasticsearch.remove, elasticsearch_url, name)
        proxy = lent.enter_context(Proxy(elasticsearch_url, lambda _request: None).running())
        sandbox = filled(Sandbox(tmp_path_factory.mktemp("behind"), proxy.url, name))
        served = lent.enter_context(Serve(sandbox, CACHESYNC_HTTP__SEARCH_TIMEOUT="500ms"))
        yield Behind(served, proxy, {*secrets_of(sandbox), *SECRETS_OF_ANSWERS, urlsplit(elasticsearch_url).netloc})


@pytest.mark.parametrize("kind", ["all", "searches"])
@pytest.mark.parametrize("name", ANSWERS)
def test_a_server_that_answers_something_else(behind: Behind, name: str, kind: str) -> None:
    behind.reveals_nothing(lambda _request: ANSWERS[name], kind)


def test_a_server_that_refuses_large_facets(behind: Behind) -> None:
    too_much = refused(400, "too_many_buckets_exception", "must be less than or equal to: [7], search.max_buckets")
    behind.reveals_nothing(lambda _request: too_much, "searches", {400, 504})


@pytest.mark.parametrize("kind", ["all", "searches"])
@pytest.mark.parametrize("reset", [True, False])
def test_a_server_that_hangs_up(behind: Behind, kind: str, reset: bool) -> None:
    def deed(_request: Request) -> Answer:
        raise Cut(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", reset=reset)

    behind.reveals_nothing(deed, kind)


def no_credentials(secured: Secured) -> dict[str, str]:
    keys = secured.security.keys(READER)
    return {name: value for name, value in keys.items() if name not in ("username", "password")}


def wrong_password(secured: Secured) -> dict[str, str]:
    return {**secured.security.keys(READER), "password": "wrong"}


def no_rights(secured: Secured) -> dict[str, str]:
    return secured.security.keys(NOBODY)


def no_trust(secured: Secured) -> dict[str, str]:
    return {name: value for name, value in secured.security.keys(READER).items() if name != "ca_certs"}


def no_client_certificate(secured: Secured) -> dict[str, str]:
    return {name: value for name, value in secured.security.keys(READER).items() if not name.startswith("client")}


def a_reader(secured: Secured) -> dict[str, str]:
    return secured.security.keys(READER)


@pytest.mark.parametrize(
    "keys",
    [no_credentials, wrong_password, no_rights, no_trust, no_client_certificate, a_reader],
    ids=lambda keys: keys.__name__,
)
def test_a_secured_server(
    tmp_path: Path, secured_index: Secured, index_name: str, keys: Callable[[Secured], dict[str, str]]
) -> None:
    sandbox = Sandbox(tmp_path, secured_index.url, index_name)
    sandbox.configure(**secured_index.security.keys(WRITER))
    put(sandbox.root, page(entry("a" * 32)))
    sandbox.run("sync")
    sandbox.configure(**keys(secured_index))
    is_reader = keys is a_reader
    reveals_nothing(sandbox, READER, NOBODY, str(secured_index.security.folder), is_ready=is_reader, some=True)

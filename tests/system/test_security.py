"""A secured server: the documented rights are enough and none is too many, and no secret is ever seen."""

import base64
import contextlib
import json
import os
import signal
import urllib.error
from pathlib import Path

import pytest

from cachesync.index.elastic import rights
from cachesync.index.engines import open_index
from cachesync.index.freshness import Freshness, read_freshness
from cachesync.index.server import Layout
from examples.pages import write_tree
from tests.support import elasticsearch
from tests.support.pages import entry, page, put
from tests.support.proxy import Answer, Proxy, Request, refusal
from tests.support.sandbox import Sandbox
from tests.support.secured import DOCUMENT, NOBODY, PASSWORD, READER, SERVER, WRITER, Secured, documented, without
from tests.support.service import Serve, Service, until

JSON = [("Content-Type", "application/json")]
RIGHTS = [*rights.CLUSTER, *rights.WRITING, "NAME", "NAME-*"]


@pytest.fixture
def guarded(tmp_path: Path, secured_index: Secured, index_name: str) -> Sandbox:
    """In a secured server, as the user who may write."""
    sandbox = Sandbox(tmp_path, secured_index.url, index_name)
    sandbox.configure(**secured_index.security.keys(WRITER))
    write_tree(sandbox.root, tag_count=2, package_count=10)
    return sandbox


def test_the_documented_rights_are_those_that_are_asked_for() -> None:
    role = documented(WRITER)
    assert (tuple(role["cluster"]), tuple(role["indices"][0]["privileges"])) == (rights.CLUSTER, rights.WRITING)
    key = DOCUMENT.read_text().split("POST /_security/api_key\n")[1].partition("\n```")[0]
    (descriptor,) = json.loads(key)["role_descriptors"].values()
    assert descriptor["cluster"] == role["cluster"]
    assert descriptor["indices"][0]["privileges"] == role["indices"][0]["privileges"]


def test_who_has_them_can_do_everything(guarded: Sandbox) -> None:
    guarded.run("sync")
    put(guarded.root, page(entry("n1")), "new", "develop")
    guarded.run("sync")
    guarded.run("reindex")
    guarded.run("rollback")
    guarded.run("reindex")
    guarded.run("verify", "--repair")
    assert guarded.json("status")["in_sync"]
    with Service(guarded) as service:
        service.caught_up()
        put(guarded.root, page(entry("n1"), entry("n2")), "new", "develop")
        until(lambda: guarded.json("search", "/n2")["total"] == 1, "the new spec")
        assert "handed to the running service" in guarded.run("reindex").stderr
        assert not service.said("lacks rights")
    assert guarded.documents() == guarded.rendered()


@pytest.mark.parametrize("right", RIGHTS)
def test_without_one_of_them_a_command_says_which(guarded: Sandbox, secured: Secured, right: str) -> None:
    guarded.configure(**secured.security.keys(without(right)))
    for command in ("sync", "reindex", "rollback"):
        refused = guarded.run(command, expect=3).stderr
        assert f"the user {without(right)} at {secured.url} lacks rights: {lacking(guarded, right)}.\n" in refused
    with Service(guarded) as service:
        until(lambda: service.said("the index can't be used for now"), "the service to say so")
        assert service.get("/readyz")[0] == 503
        assert lacking(guarded, right) in service.get("/readyz")[1]["reason"]


def lacking(sandbox: Sandbox, right: str) -> str:
    """What a command says that a user lacks."""
    everything = ", ".join(sorted(rights.WRITING))
    match right:
        case "NAME":
            return f"{everything} on {sandbox.name}"
        case "NAME-*":
            return f"{everything} on {sandbox.name}-*"
        case _ if right in rights.CLUSTER:
            return f"{right} on the cluster"
        case _:
            return f"{right} on {sandbox.name}; {right} on {sandbox.name}-*"


def test_who_only_searches_needs_less(guarded: Sandbox, secured: Secured) -> None:
    guarded.run("sync")
    guarded.configure(**secured.security.keys(READER))
    assert guarded.documents() == guarded.rendered()
    assert guarded.json("status")["in_sync"]
    guarded.run("verify")
    guarded.run("sync", "--dry-run")
    assert "delete, index, manage on" in guarded.run("sync", expect=3).stderr
    guarded.configure(**secured.security.keys(NOBODY))
    for command in (["search"], ["status"], ["verify"]):
        refused = guarded.run(*command, expect=3).stderr
        assert "is unauthorized for user [nobody]" in refused
        assert "docs/elasticsearch.md" in refused


def test_who_only_searches_knows_how_fresh_the_index_is(guarded: Sandbox, secured: Secured, index_name: str) -> None:
    """Who may not even search doesn't, and whoever asks before there is anything to know is told nothing."""

    def known(user: str) -> Freshness | None:
        index = open_index(secured.server(user), index_name, Layout(), Path)
        with contextlib.closing(index):
            return read_freshness(index.notes())

    assert [known(user) for user in (READER, NOBODY)] == [None, None]
    guarded.run("sync")
    found = known(READER)
    assert found
    assert found.in_sync
    assert found == known(WRITER)
    assert known(NOBODY) is None


SERVED = ("/api/status", "/api/search?q=n1", "/api/tags", "/api/suggest?q=hd", "/api/binaries/n1n1", "/")


def test_who_only_serves_needs_least(guarded: Sandbox, secured: Secured) -> None:
    """It follows changes and another generation."""
    put(guarded.root, page(entry("n1n1")), "new", "develop")
    guarded.run("sync")
    guarded.configure(**secured.security.keys(SERVER))
    refused = guarded.run("sync", "--allow-mass-delete", expect=3).stderr
    assert "monitor on the cluster; delete, index, manage on" in refused
    with Serve(guarded) as site:
        until(site.is_ready, "the index")
        assert [site.get(path)[0] for path in SERVED] == [200] * len(SERVED)
        generation = guarded.json("status")["generation"]
        guarded.configure(**secured.security.keys(WRITER))
        put(guarded.root, page(entry("n1n1"), entry("n2n2")), "new", "develop")
        guarded.run("reindex")
        assert guarded.json("status")["generation"] != generation
        until(lambda: site.get("/api/binaries/n2n2")[0] == 200, "the new spec")
        assert [site.get(path)[0] for path in SERVED] == [200] * len(SERVED)
        assert site.status()["last_written"]
        assert len(site.get("/api/search?format=csv")[1].splitlines()) == len(guarded.rendered()) + 1


def test_who_only_serves_cant_write(guarded: Sandbox, secured: Secured) -> None:
    guarded.run("sync")
    url, name, security = secured.url, guarded.name, secured.security
    (concrete,) = elasticsearch.request(f"{url}/{name}/_alias", security=security, user=SERVER)
    moved = {"actions": [{"remove": {"index": concrete, "alias": name}}]}
    for method, path, body in (
        ("POST", f"/{name}/_doc", {}),
        ("DELETE", f"/{name}-state/_doc/lease", None),
        ("POST", f"/{name}/_update/x", {"doc": {}}),
        ("POST", "/_aliases", moved),
        ("DELETE", f"/{concrete}", None),
        ("PUT", f"/{name}-new", {}),
        ("PUT", f"/{name}/_settings", {"index.refresh_interval": "1h"}),
        ("POST", f"/{name}/_close", None),
        ("POST", f"/{name}/_refresh", None),
    ):
        with pytest.raises(urllib.error.HTTPError) as refused:
            elasticsearch.request(f"{url}{path}", method, body, security, SERVER)
        with refused.value as answer:
            assert (answer.code, path, b"security_exception" in answer.read()) == (403, path, True)
    assert guarded.documents() == guarded.rendered()


@pytest.mark.parametrize("right", ["read", "view_index_metadata"])
def test_without_one_of_them_nothing_is_served(guarded: Sandbox, secured: Secured, right: str) -> None:
    guarded.run("sync")
    guarded.configure(**secured.security.keys(without(right, SERVER)))
    with Serve(guarded) as site:
        assert [site.get(path)[0] for path in SERVED] == [503] * len(SERVED)
        assert "unauthorized" not in str(site.get("/api/search"))


# --- secrets ----------------------------------------------------------------------------------------------------------


def is_clean(*texts: str) -> None:
    """No secret, and no header that it could be told from."""
    for text in texts:
        assert PASSWORD not in text
        for user in (WRITER, "wrong"):
            assert base64.b64encode(f"{user}:{PASSWORD}".encode()).decode() not in text


def commands(sandbox: Sandbox) -> list[str]:
    """All that every command prints, at the most talkative."""
    printed = []
    for command in (["sync"], ["reindex"], ["status"], ["status", "--json"], ["search"], ["verify"], ["config"]):
        for style in ("json", "console"):
            told = {"CACHESYNC_LOG__LEVEL": "debug", "CACHESYNC_LOG__FORMAT": style}
            done = sandbox.run(*command, expect=None, **told)
            printed += [done.stdout, done.stderr]
    return printed


def test_a_password_is_never_seen(guarded: Sandbox, secured: Secured) -> None:
    good = commands(guarded)
    with Service(guarded, CACHESYNC_LOG__LEVEL="debug") as service:
        service.caught_up()
        paths = ("/healthz", "/readyz", "/metrics", "/api/status", "/openapi.json")
        answers = [str(service.get(path)) for path in paths]
        running = Path(f"/proc/{service.pid}/cmdline").read_text()
    guarded.configure(**{**secured.security.keys(WRITER), "username": "wrong"})
    bad = commands(guarded)
    assert any("refuses the credentials" in each for each in bad)
    with Service(guarded, CACHESYNC_LOG__LEVEL="debug") as refused:
        until(lambda: refused.said("can't be used"), "the service to say so")
        answers += [str(refused.get(path)) for path in paths]
    is_clean(*good, *bad, *answers, running, *map(str, service.lines), *map(str, refused.lines))


def test_neither_is_it_on_disk(guarded: Sandbox, secured: Secured) -> None:
    """Not in the index either, where the service leaves notes."""
    secret = guarded.folder / "password"
    secret.write_text(f"{PASSWORD}\n")
    keys = secured.security.keys(WRITER)
    guarded.configure(**{key: value for key, value in keys.items() if key != "password"}, password_file=str(secret))
    guarded.run("sync")
    guarded.run("reindex")
    found = [file for file in guarded.folder.rglob("*") if file.is_file() and PASSWORD.encode() in file.read_bytes()]
    assert found == [secret]


ONE_LINE = "expected one line"
BESIDE = "expected it together with index."
MISTAKES: list[tuple[dict[str, str], str]] = [
    ({"api_key_file": f'{{\n  "encoded" : "{PASSWORD}"\n}}'}, "index.api_key_file: expected one line of base64 in "),
    ({"api_key_file": ""}, "index.api_key_file: expected one line of base64 in "),
    ({"api_key": f"{PASSWORD}\n{PASSWORD}"}, "index.api_key: expected one line of base64: "),
    ({"api_key": f"{PASSWORD}€"}, "index.api_key: expected one line of base64: "),
    ({"username": "u", "password_file": f"{PASSWORD}\n{PASSWORD}"}, f"index.password_file: {ONE_LINE} in "),
    ({"username": "u", "password_file": "\n"}, f"index.password_file: {ONE_LINE} in "),
    ({"username": f"{PASSWORD}\r\nX-Header: 1", "password": PASSWORD}, f"index.username: {ONE_LINE}"),
    ({"username": "u"}, f"index.password: {BESIDE}username"),
    ({"password": PASSWORD}, f"index.username: {BESIDE}password"),
    ({"username": "", "password": PASSWORD}, f"index.username: {BESIDE}password"),
    ({"api_key": "a2V5", "username": "u", "password": PASSWORD}, "index.api_key: expected either this or"),
]


@pytest.mark.parametrize(("keys", "says"), MISTAKES)
@pytest.mark.parametrize("command", ["status", "sync", "run"])
def test_credentials_that_can_be_none_are_told_and_not_shown(
    tmp_path: Path, keys: dict[str, str], says: str, command: str
) -> None:
    sandbox = Sandbox(tmp_path, "http://127.0.0.1:9")
    for name, content in keys.items():
        if name.endswith("_file"):
            (tmp_path / name).write_text(content)
    given = {name: str(tmp_path / name) if name.endswith("_file") else value for name, value in keys.items()}
    sandbox.configure(**given)
    done = sandbox.run(command, expect=2)
    assert done.stderr.splitlines()[-1].startswith(f"cachesync: {says}"), done.stderr
    is_clean(done.stdout, done.stderr)


def test_what_editors_put_into_files_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\xef\xbb\xbfa2V5\r\n")
    sandbox = Sandbox(tmp_path, "http://127.0.0.1:9")
    with Proxy(sandbox.url, lambda _: refusal(401, "security_exception")).running() as proxy:
        sandbox.configure(url=proxy.url, api_key_file=str(tmp_path / "key"))
        sandbox.run("status", expect=3)
        sandbox.configure(url=proxy.url, username="jörg", password="pä€ss wort")
        sandbox.run("status", expect=3)
        key, password = (request.headers["authorization"] for request in proxy.requests)
    assert key == "ApiKey a2V5"
    assert base64.b64decode(password.removeprefix("Basic ")).decode() == "jörg:pä€ss wort"


def test_bad_files_at_a_reload_leave_the_service_as_it_was(guarded: Sandbox, secured: Secured) -> None:
    with Service(guarded) as service:
        service.caught_up()
        junk = guarded.folder / "junk.pem"
        junk.write_text("no certificate")
        for change in (
            {"ca_certs": str(junk)},
            {"client_key": str(junk)},
            {"password": "", "password_file": str(junk)},
        ):
            if "password" in change:
                junk.write_text("")
            refusals = len(service.said("the new configuration is refused"))
            guarded.configure(**secured.security.keys(WRITER) | change)
            os.kill(service.pid, signal.SIGHUP)
            until(lambda: len(service.said("the new configuration is refused")) > refusals, "the refusal")  # noqa: B023  at once
            assert service.is_ready()
        guarded.configure(**secured.security.keys(WRITER))
        os.kill(service.pid, signal.SIGHUP)
        until(lambda: service.said("the configuration was read again"), "the reload")
        until(service.is_ready, "the service to go on")
    guarded.configure(**secured.security.keys(WRITER) | {"ca_certs": str(junk)})
    assert "index.ca_certs: expected certificates in PEM form" in guarded.run("run", expect=2).stderr


@pytest.mark.parametrize("refused", [None, 401, 403])
def test_an_api_key_is_sent_and_never_seen(
    tmp_path: Path, elasticsearch_index: str, index_name: str, refused: int | None
) -> None:
    """The minimal server has no API keys, so one without security is behind this, and the proxy is who says no."""

    def deed(request: Request) -> Answer | None:
        if refused:
            return refusal(refused, "security_exception", "not with this key")
        return granting(request) if "_has_privileges" in request.path else None

    with Proxy(elasticsearch_index, deed).running() as proxy:
        sandbox = Sandbox(tmp_path, proxy.url, index_name)
        (tmp_path / "key").write_text(f"{PASSWORD}\n")
        sandbox.configure(api_key_file=str(tmp_path / "key"))
        write_tree(sandbox.root, 1, 3)
        printed = commands(sandbox)
        assert {request.headers["authorization"] for request in proxy.requests} == {f"ApiKey {PASSWORD}"}
    is_clean(*printed)
    assert bool(refused) == any("refuses" in each for each in printed)


def granting(request: Request) -> Answer:
    """Say that whatever is asked for is granted."""
    asked = json.loads(request.body)
    cluster = dict.fromkeys(asked["cluster"], True)
    index = {name: dict.fromkeys(each["privileges"], True) for each in asked["index"] for name in each["names"]}
    body = {"username": "key", "has_all_requested": True, "cluster": cluster, "index": index, "application": {}}
    return Answer(200, [*JSON, ("X-Elastic-Product", "Elasticsearch")], json.dumps(body).encode())

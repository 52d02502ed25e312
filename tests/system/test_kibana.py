"""Kibana, simulated: the searches that it would send, and an import as strict as its own."""

import json
import os
import re
import subprocess
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import trustme

from cachesync.commands.components import Components
from cachesync.errors import KibanaError, UsageError
from cachesync.kibana.content import ndjson, saved_objects
from cachesync.kibana.install import install
from cachesync.kibana.server import Kibana as Place
from examples.pages import write_tree
from tests.support import elasticsearch, lens
from tests.support.kibana import LATEST, Answer, Deed, Kibana, Request, failure
from tests.support.pages import entry, page, path_of, put, raw_page
from tests.support.sandbox import Sandbox

KEY = "Y2FuYXJ5OmNhbmFyeS1jYW5hcnktY2FuYXJ5"
"""A secret that may appear only in a header."""


# --- what it shows ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, elasticsearch_url: str) -> Iterator[Sandbox]:
    """An index after a real sync: good pages, one that went bad, one that was always bad, one cut short."""
    sandbox = Sandbox(tmp_path_factory.mktemp("kibana"), elasticsearch_url, f"test-kibana-{os.getpid()}")
    write_tree(sandbox.root, tag_count=5, package_count=12)
    put(sandbox.root, page(entry("a" * 32), entry("b" * 32), title="went-bad"), "went-bad")
    hdf5 = (entry(version, versions=[version]) for version in ("1.8.23", "1.12.2", "1.14.5", "develop-1.14"))
    put(sandbox.root, page(*hdf5, title="hdf5", tag="v1"), "hdf5", "v1")
    sandbox.run("sync")
    put(sandbox.root, raw_page("[{]", title="went-bad"), "went-bad")
    put(sandbox.root, page(entry("c" * 600), title="never-good"), "never-good")
    sandbox.run("sync", expect=1)
    where = f"{elasticsearch_url}/{sandbox.name}-pages"
    (some,) = elasticsearch.request(f"{where}/_search?size=1&q=tag:develop")["hits"]["hits"]
    cut_short = {**some["_source"], "pending": True}
    elasticsearch.request(f"{where}/_doc/{quote(some['_id'], safe='')}?refresh=true", "PUT", cut_short)
    yield sandbox
    elasticsearch.remove(elasticsearch_url, sandbox.name)


class Shown:
    """Shows an index as a Kibana would after importing an export."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._url = sandbox.url
        objects = [json.loads(line) for line in sandbox.run("kibana", "export").stdout.splitlines()]
        self.objects = {each["id"].removesuffix(f"-{sandbox.name}"): each for each in objects}
        self._aliases = {each["id"]: each["attributes"]["title"] for each in objects}

    def ask(self, of: dict[str, Any], request: dict[str, Any]) -> Any:
        """Search as Kibana does: through the alias of the object's data view."""
        (view,) = {each["id"] for each in of["references"]}
        return elasticsearch.request(f"{self._url}/{self._aliases[view]}/_search", "POST", request)

    def rows(self, dashboard: str) -> dict[str, list[lens.Row]]:
        """The rows of each panel, by its title."""
        found = self.objects[dashboard]
        return {title: panel.rows(self.ask(found, panel.request())) for title, panel in lens.panels(found).items()}


@pytest.fixture(scope="module")
def shown(filled: Sandbox) -> Shown:
    return Shown(filled)


def test_an_export_is_for_the_index_of_the_configuration(embedded: Sandbox) -> None:
    assert embedded.run("kibana", "export").stdout.encode() == ndjson(saved_objects("spack-specs"))
    other = embedded.run("kibana", "export", CACHESYNC_INDEX__NAME="other").stdout
    assert other.encode() == ndjson(saved_objects("other"))


def test_build_cache_shows_the_content_of_the_pages(filled: Sandbox, shown: Shown) -> None:
    rows = shown.rows("cachesync-build-cache")
    documents = list(filled.documents().values())
    hashes = {each["hash"] for each in documents if "hash" in each}
    tags = {each["tag"] for each in documents}

    def numbers(field: str) -> dict[str, int]:
        values = [value for each in documents for value in each.get(field, []) or []]
        values = [each[field] for each in documents if field in each] if field != "stacks" else values
        return {value: values.count(value) for value in values}

    assert rows.pop("Specs") == [{"Specs": len(documents)}]
    assert rows.pop("Binaries") == [{"Binaries": len(hashes)}]
    assert rows.pop("Packages") == [{"Packages": len({each["package"] for each in documents})}]
    assert rows.pop("Tags") == [{"Tags": len(tags)}]
    stacks = {row["Stack"]: row["Specs"] for row in rows.pop("Specs by stack")}
    assert stacks.items() <= numbers("stacks").items()
    assert len(stacks) == min(20, len(numbers("stacks")) - 1)
    assert "root" not in stacks
    targets = {row["Target"]: row["Specs"] for row in rows.pop("Specs by target")}
    assert targets == numbers("target")
    compilers = {row["Compiler"]: row["Specs"] for row in rows.pop("Specs by compiler")}
    assert compilers == numbers("compiler")
    weeks = rows.pop("Specs by the date of their tag, per week")
    assert sum(row["Specs"] for row in weeks) == len([each for each in documents if "tag_date" in each])
    by_tag = {row["Tag"]: row for row in rows.pop("Specs by tag")}
    assert set(by_tag) == tags
    newest = max(tag for tag in tags if tag.startswith("develop-"))
    assert (by_tag[newest]["Tag's date"], by_tag[newest]["Specs"]) == (newest[-10:], numbers("tag")[newest])
    assert by_tag["develop"]["Tag's date"] is None
    versions = rows.pop("Versions of what is chosen above")
    assert {(row["Package"], row["Version"]) for row in versions} == {
        (each["package"], each["version"]) for each in documents
    }
    for row in versions:
        alike = [each for each in documents if (each["package"], each["version"]) == (row["Package"], row["Version"])]
        assert (row["Specs"], row["Tags"]) == (len(alike), len({each["tag"] for each in alike}))
        assert row["Targets"] == len({each["target"] for each in alike})
    ((title, binaries),) = rows.items()
    assert "100" in title
    assert len(binaries) == 100
    in_tags = [row["Tags"] for row in binaries]
    assert in_tags == sorted(in_tags, reverse=True)
    most = Counter(each["hash"] for each in documents if "hash" in each).most_common(1)[0][1]
    assert in_tags[0] == most
    for row in binaries:
        of_hash = [each for each in documents if each.get("hash") == row["Hash"]]
        (document,) = [each for each in of_hash if each["tag"] == row["Newest tag"]]
        assert row["Package"] == document["package"]
        assert row["Target"] == document["target"]
        assert row["Compiler"] == document.get("compiler")
        assert row["Tags"] == len(of_hash)
        shown = row["Variants"]
        assert (shown if isinstance(shown, list) else [shown]) == document["variants"]


def test_mirror_health_shows_what_is_wrong(filled: Sandbox, shown: Shown) -> None:
    rows = shown.rows("cachesync-mirror-health")
    status = filled.json("status")
    assert rows["Pages"] == [{"Pages": status["pages"]}]
    assert rows["Specs"] == [{"Specs": status["specs"]}]
    assert rows["Problem pages"] == [{"Problem pages": 2}]
    assert rows["Pending pages"] == [{"Pending pages": 1}]
    (problems,) = (found for title, found in rows.items() if title.startswith("Problem pages:"))
    told = {each["page"]: each for each in status["problems"]}
    assert {row["Page"] for row in problems} == set(told) == {path_of("went-bad"), path_of("never-good")}
    for row in problems:
        assert row["Problem"] == told[row["Page"]]["message"]
        assert row["Line"] == told[row["Page"]]["line"]
    kept = {row["Page"]: row["Specs kept"] for row in problems}
    assert kept == {path_of("went-bad"): 2, path_of("never-good"): 0}
    (last,) = (found for title, found in rows.items() if title.startswith("Last syncs"))
    assert len(last) == status["pages"]
    times = [row["Last synced"] for row in last]
    assert times == sorted(times, reverse=True)
    assert max(times) == rows["Pages by tag"][0]["Last synced"]
    by_tag = {row["Tag"]: row for row in rows["Pages by tag"]}
    assert (by_tag["develop"]["Problem pages"], by_tag["develop"]["Pending pages"]) == (2, 1)
    assert sum(row["Pages"] for row in by_tag.values()) == status["pages"]


def test_every_control_offers_values_and_finds_parts_of_them(shown: Shown) -> None:
    dashboards = [shown.objects[id] for id in ("cachesync-build-cache", "cachesync-mirror-health")]
    for dashboard, field, control in [(each, *item) for each in dashboards for item in lens.controls(each).items()]:
        request = lens.options_request(control)
        assert not request.keys() & {"timeout", "terminate_after"}, "of a large index it would list a part"
        offered = shown.ask(dashboard, request)["aggregations"]["within"]["values"]["buckets"]
        assert offered, field
        found = shown.ask(dashboard, lens.options_request(control, offered[0]["key"][1:4]))["aggregations"]["within"]
        assert offered[0] in found["values"]["buckets"], field


def test_every_search_finds_something_and_fills_its_columns(filled: Sandbox, shown: Shown) -> None:
    binaries = shown.objects["cachesync-binaries"]
    found = shown.ask(binaries, lens.search_request(binaries))["hits"]
    assert found["total"]["value"] == len(filled.documents())
    assert {name for hit in found["hits"] for name in hit["fields"]} == set(binaries["attributes"]["columns"])
    packages = [hit["fields"]["package"][0] for hit in found["hits"]]
    assert packages == sorted(packages)
    versions = shown.objects["cachesync-versions"]
    found = shown.ask(versions, lens.search_request(versions))["hits"]
    asked = filled.json("search", "--spec", "hdf5@1.12:1.14", "--limit", "0")
    assert found["total"]["value"] == asked["total"] >= 2
    problems = shown.objects["cachesync-problems"]
    found = shown.ask(problems, lens.search_request(problems))["hits"]
    assert found["total"]["value"] == 2
    assert {name for hit in found["hits"] for name in hit["fields"]} == set(problems["attributes"]["columns"])


# --- how it gets there ------------------------------------------------------------------------------------------------


def put_into(
    sandbox: Sandbox, kibana: Kibana, *arguments: str, space: str = "default", expect: int = 0, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Install with a key."""
    names = {"URL": kibana.url, "SPACE": space, "API_KEY": KEY}
    keys = {f"CACHESYNC_KIBANA__{name}": value for name, value in names.items()} | environment
    done = sandbox.run("kibana", "install", *arguments, expect=expect, **keys)
    assert KEY not in done.stdout + done.stderr
    return done


def objects_of(kibana: Kibana, space: str = "default") -> list[Any]:
    return list(kibana.spaces[space].values())


def test_an_install_creates_and_a_second_one_overwrites_with_the_same(embedded: Sandbox) -> None:
    with Kibana(api_key=KEY, base_path="/kibana").running() as kibana:
        first = put_into(embedded, kibana).stdout.splitlines()
        there = objects_of(kibana)
        second = put_into(embedded, kibana).stdout.splitlines()
        assert objects_of(kibana) == there == saved_objects("spack-specs")
    assert len(first) == len(there)
    assert all(line.startswith("created ") for line in first)
    assert [line.replace("overwritten ", "created     ") for line in second] == first
    links = [line.split()[-1] for line in first]
    assert f"{kibana.url}/app/dashboards#/view/cachesync-build-cache-spack-specs" in links
    assert f"{kibana.url}/app/discover#/view/cachesync-problems-spack-specs" in links


def test_another_space_gets_objects_of_its_own_and_links_to_them(embedded: Sandbox) -> None:
    with Kibana(api_key=KEY, spaces=("default", "hpc")).running() as kibana:
        put_into(embedded, kibana)
        for outcome in ("created", "overwritten"):
            found = json.loads(put_into(embedded, kibana, "--json", space="hpc").stdout)
            assert (found["url"], found["space"]) == (kibana.url, "hpc")
            assert {each["outcome"] for each in found["objects"]} == {outcome}
        assert {each["id"] for each in found["objects"]} == {id for _, id in kibana.spaces["hpc"]}
        for each in found["objects"]:
            assert each["id"] not in {id for _, id in kibana.spaces["default"]}
            assert each["link"].startswith(f"{kibana.url}/s/hpc/app/")
            assert each["link"].endswith(each["id"])


def test_several_indices_fit_into_one_kibana() -> None:
    with Kibana().running() as kibana:
        for name in ("spack-specs", "other"):
            install(Place(kibana.url), ndjson(saved_objects(name)), 1)
        assert objects_of(kibana) == saved_objects("spack-specs") + saved_objects("other")


def test_a_missing_space_is_not_created_by_mistake(embedded: Sandbox) -> None:
    with Kibana(api_key=KEY).running() as kibana:
        told = put_into(embedded, kibana, space="nope", expect=2).stderr
        assert list(kibana.spaces) == ["default"]
    assert "no space nope: check kibana.space" in told
    with Kibana(api_key=KEY, allowed=("default",)).running() as kibana:
        told = put_into(embedded, kibana, space="nope", expect=3).stderr
        assert list(kibana.spaces) == ["default"]
    assert "There may be no such space, or the key is for another" in told


def test_links_use_the_public_url(embedded: Sandbox) -> None:
    with Kibana(api_key=KEY).running() as kibana:
        shown = "https://kibana.example.org/base"
        found = json.loads(put_into(embedded, kibana, "--json", CACHESYNC_KIBANA__PUBLIC_URL=shown).stdout)
    assert all(each["link"].startswith(f"{shown}/app/") for each in found["objects"])


def always(status: int, body: Any = b"", *headers: tuple[str, str], only: str = "") -> Deed:
    """Answer every request like this, or only those of one method."""
    return lambda request: Answer(status, body, headers) if request.method == only or not only else None


LOGIN = ("Location", "https://login.example.org/")
OLD = {**LATEST, "dashboard": (8, 5, 0)}
FORBIDDEN = failure(403, "Unable to bulk_create dashboard").body

REFUSALS: list[tuple[str, Callable[[], Kibana], int, str]] = [
    ("wrong key", lambda: Kibana(api_key="other"), 3, "refuses the credentials: check kibana.api_key"),
    ("forbidden", lambda: Kibana(deed=always(403, FORBIDDEN)), 3, "Unable to bulk_create dashboard\n.*docs/kibana.md"),
    ("not found", lambda: Kibana(deed=always(404)), 2, "no Kibana, or it has no space default: check"),
    ("bad request", lambda: Kibana(deed=always(400, failure(400, "so").body)), 3, r"refuses the import \(400\): so"),
    ("conflict", lambda: Kibana(deed=always(409, failure(409, "so").body)), 3, r"refuses the import \(409\): so"),
    ("too large", lambda: Kibana(deed=always(413, only="POST")), 3, "savedObjects.maxImportPayloadBytes"),
    ("too old", lambda: Kibana(latest=OLD), 3, "belongs to a more recent version.*\n.*older than they are"),
    ("defect", lambda: Kibana(deed=always(500, b"")), 3, r"refuses the import \(500\): ''"),
    ("never ready", lambda: Kibana(deed=always(503, b"not ready yet")), 3, r"within 0.5 s \(503\): 'not ready yet'"),
    ("login page", lambda: Kibana(deed=always(302, b"", LOGIN)), 2, r"redirects \(302\) to https://login.example.org/"),
    ("a page", lambda: Kibana(deed=always(200, b"<html>\nHello")), 3, "is not Kibana: it answered '<html> Hello'"),
    ("other JSON", lambda: Kibana(deed=always(200, {"ok": 1})), 3, "is not Kibana"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kibana", "code", "says"), [each[1:] for each in REFUSALS], ids=[each[0] for each in REFUSALS]
)
def test_every_failure_has_a_message_that_says_what_to_do(
    embedded: Sandbox, kibana: Callable[[], Kibana], code: int, says: str
) -> None:
    with kibana().running() as one:
        done = put_into(embedded, one, "--wait", "0.5", expect=code)
        assert objects_of(one) == []
    assert re.search(says, done.stderr), done.stderr
    assert one.url in done.stderr
    assert done.stdout == ""


def test_a_missing_key_is_reported(embedded: Sandbox) -> None:
    with Kibana(api_key=KEY).running() as kibana:
        done = embedded.run("kibana", "install", expect=3, CACHESYNC_KIBANA__URL=kibana.url)
    assert "requires credentials: set kibana.api_key" in done.stderr


def test_requests_are_retried_while_kibana_is_starting_or_busy(embedded: Sandbox) -> None:
    answers = iter([Answer(503, b"Kibana server is not ready yet"), None, Answer(429, b""), Answer(502, b""), None])
    with Kibana(api_key=KEY, deed=lambda _request: next(answers)).running() as kibana:
        done = put_into(embedded, kibana)
        assert objects_of(kibana) == saved_objects("spack-specs")
    assert "isn't ready" in done.stderr


def test_an_unanswered_request_times_out(embedded: Sandbox) -> None:
    told = threading.Event()

    def silent(_request: Request) -> None:
        told.wait()

    with Kibana(deed=silent).running() as kibana:
        done = put_into(embedded, kibana, "--wait", "0.3", expect=3)
        told.set()
    assert "didn't answer in time" in done.stderr


def test_an_unreachable_kibana_is_reported(embedded: Sandbox) -> None:
    gone = f"http://127.0.0.1:{elasticsearch.free_port()}"
    done = embedded.run("kibana", "install", expect=3, CACHESYNC_KIBANA__URL=gone)
    assert f"cannot reach Kibana at {gone}: " in done.stderr
    assert "refused" in done.stderr


def test_certificates(embedded: Sandbox) -> None:
    authority, other = trustme.CA(), trustme.CA()
    certificate = embedded.folder / "server.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(certificate))
    authority.cert_pem.write_to_path(str(embedded.folder / "ours.pem"))
    other.cert_pem.write_to_path(str(embedded.folder / "other.pem"))
    with Kibana(api_key=KEY, certificate=certificate).running() as kibana:
        assert kibana.url.startswith("https:")
        for ca_certs in ("", "other.pem"):
            done = put_into(
                embedded, kibana, expect=3, **({"CACHESYNC_KIBANA__CA_CERTS": ca_certs} if ca_certs else {})
            )
            assert f"no trusted connection to {kibana.url}" in done.stderr
            assert "isn't trusted: kibana.ca_certs must be the certificate of that authority" in done.stderr
        done = put_into(embedded, kibana, expect=2, CACHESYNC_KIBANA__CA_CERTS="nope.pem")
        assert "kibana.ca_certs: cannot read" in done.stderr
        put_into(embedded, kibana, CACHESYNC_KIBANA__CA_CERTS="ours.pem")
        assert objects_of(kibana) == saved_objects("spack-specs")


def test_objects_that_kibana_refuses_with_status_200_are_listed(embedded: Sandbox) -> None:
    """A later version might require more attributes of a search."""
    strict = {each: frozenset[str]() for each in LATEST} | {"search": frozenset({"tabs"})}
    with Kibana(api_key=KEY, required=strict).running() as kibana:
        done = put_into(embedded, kibana, expect=3)
        assert {each["type"] for each in objects_of(kibana)} == {"index-pattern", "dashboard"}
    assert "4 others are installed" in done.stderr
    assert "  search All binaries: spack-specs: [attributes.tabs]: expected value of type [string]" in done.stderr


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda objects: objects[2:],
            "nothing is installed:\n  search All binaries: test: it refers to missing objects: data view c",
        ),
        (lambda objects: [*objects, objects[0]], r"\(400\): Non-unique import objects detected: \[index-pattern:cach"),
        (
            lambda objects: [*objects, {**objects[0], "type": "map"}],
            "7 others .*\n  map test: this Kibana doesn't know its type",
        ),
    ],
)
def test_an_inconsistent_file_is_reported(change: Callable[[list[Any]], list[Any]], says: str) -> None:
    with Kibana().running() as kibana, pytest.raises(KibanaError, match=says):
        install(Place(kibana.url), ndjson(change(saved_objects("test"))), 1)


def test_a_conflicting_object_is_reported() -> None:
    error = {"type": "dashboard", "id": "x", "meta": {"title": "Mine"}, "error": {"type": "ambiguous_conflict"}}
    body = {"success": False, "successCount": 0, "errors": [error]}
    with (
        Kibana(deed=always(200, body, only="POST")).running() as kibana,
        pytest.raises(KibanaError, match="dashboard Mine: it conflicts with another object"),
    ):
        install(Place(kibana.url), b"", 1)


@pytest.mark.parametrize(
    ("headers", "filename", "message"),
    [
        ({}, "x.ndjson", "Request must contain a kbn-xsrf header."),
        ({"kbn-xsrf": "1"}, "x.json", "Invalid file extension .json"),
        ({"kbn-xsrf": "1"}, "x.ndjson", None),
    ],
)
def test_the_test_double_of_kibana_is_strict(headers: dict[str, str], filename: str, message: str | None) -> None:
    form = f'--x\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n\r\n'.encode()
    form += ndjson(saved_objects("test")) + b"\r\n--x--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=x", **headers}
    with Kibana().running() as kibana:
        request = urllib.request.Request(f"{kibana.url}/api/saved_objects/_import", form, headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                found = json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                found = json.loads(error.read())
    assert found.get("message") == message
    assert bool(objects_of(kibana)) == (message is None)


def test_an_install_needs_a_url(embedded: Sandbox) -> None:
    assert "kibana.url: expected the URL of Kibana" in embedded.run("kibana", "install", expect=2).stderr


@pytest.mark.parametrize("url", ["http://[::1", "http://h:99999"])
def test_an_invalid_url_is_reported(url: str) -> None:
    with pytest.raises(UsageError, match=r"kibana\.url: .* expected http"):
        install(Place(url), b"", 1)


@pytest.mark.parametrize("key", ["canary:canary", "canary\ncanary", "canäry"])
def test_an_invalid_key_is_reported_without_showing_it(tmp_path: Path, key: str) -> None:
    (tmp_path / "key").write_text(f"{key}\n")
    config = tmp_path / "cachesync.yml"
    config.write_text(f"kibana: {{url: 'http://127.0.0.1:1', api_key_file: {tmp_path}/key}}")
    with pytest.raises(UsageError, match=r"kibana\.api_key_file: expected one line of base64") as caught:
        _ = Components(config, quiet=True).connections.kibana()
    assert "can" not in str(caught.value)


def test_a_key_may_come_from_a_file_and_is_never_shown(embedded: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")
    with Kibana(api_key=KEY).running() as kibana:
        done = embedded.run(
            "kibana",
            "install",
            CACHESYNC_LOG__LEVEL="debug",
            CACHESYNC_KIBANA__URL=kibana.url,
            CACHESYNC_KIBANA__API_KEY_FILE=str(tmp_path / "key"),
        )
        assert len(objects_of(kibana)) == len(saved_objects("spack-specs"))
        assert KEY not in done.stdout + done.stderr
        shown = embedded.run("config", CACHESYNC_KIBANA__API_KEY=KEY)
    assert "api_key: '**********'" in shown.stdout
    assert KEY not in shown.stdout + shown.stderr

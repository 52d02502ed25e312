"""``--server`` with servers that misbehave: each failure ends with a message, an exit code and no harm."""

import itertools
import json
import socket
import ssl
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.support.impostor import Answer, Asked, Impostor, answer, gzipped, impostor, in_chunks, packed, told
from tests.support.many import run_each

SECRET = "s3cret"
EVIL = "\x1b]0;owned\x07\x9b31m\u202e"

HIT: dict[str, Any] = {
    "_id": "v1/zlib/aaaa",
    "package": "zlib",
    "version": "1.3",
    "variants": ["+pic"],
    "stacks": ["e4s"],
    "spec": "zlib@1.3+pic",
    "page": "_cache/v1/zlib/specs.md",
    "hash": "aaaa",
    "binary": "aaaa",
    "tag": "v1",
}
GOOD: dict[str, Any] = {
    "total": 1,
    "binaries": 1,
    "hits": [HIT],
    "facets": {},
    "query": {"text": "", "mode": "text", "canonical": "", "notes": []},
    "took_ms": 1.0,
    "next": None,
}
WITHOUT_VERSION = {name: value for name, value in HIT.items() if name != "version"}


@pytest.fixture(scope="module")
def server() -> Iterator[Impostor]:
    with impostor() as lent:
        yield lent


def page_of(hits: list[dict[str, Any]], next: str | None, total: int = 1_000_000) -> bytes:
    return told({**GOOD, "hits": hits, "next": next, "total": total})


def lines(count: int, hit: dict[str, Any] = HIT) -> Iterable[bytes]:
    return itertools.repeat(json.dumps(hit).encode() + b"\n", count)


SEARCH = ("search", "zlib")
EXPORT = ("search", "zlib", "--format", "ndjson", "--limit", "5000")
WALK = ("search", "zlib", "--json", "--limit", "1500")
SHOW = ("show", "/aaaa")
DIFF = ("diff", "v1", "v2")
STATUS = ("status",)


def redirected(location: str) -> bytes:
    return answer("", "302 Found", "text/plain", *([f"Location: {location}"] if location else []))


def always(made: bytes) -> Answer:
    return lambda _: made


def exported(stream: Answer) -> Answer:
    """The answers to a search with more hits than one response may have, and to its export."""
    many = page_of([HIT] * 1_000, "more", 5_000)
    return lambda asked: stream(asked) if asked.parameter("format") == "ndjson" else many


def walked(further: Answer) -> Answer:
    first = page_of([HIT] * 1_000, "more")
    return lambda asked: further(asked) if asked.parameter("cursor") else first


CASES: dict[str, tuple[tuple[str, ...], Answer, int, str]] = {
    "html": (SEARCH, lambda _: answer("<!doctype html><p>Welcome", content_type="text/html"), 2, "is not a cachesync server: it answered '<!doctype"),
    "text": (SEARCH, lambda _: answer(EVIL, content_type="text/plain"), 2, r"is not a cachesync server: it answered"),
    "nothing-there": (SEARCH, lambda _: answer("<h1>404", "404 Not Found", "text/html"), 2, "there is no cachesync server at"),
    "no-such-path": (SEARCH, lambda _: told({"error": "Not Found", "at": None}, "404 Not Found"), 2, "there is no cachesync server at"),
    "no-such-method": (SEARCH, lambda _: answer("", "405 Method Not Allowed", "text/html"), 2, "there is no cachesync server at"),
    "who": (SEARCH, lambda _: answer("", "401 Unauthorized", "text/html"), 3, "https://USER:PASSWORD@HOST"),
    "forbidden": (SEARCH, lambda _: answer("", "403 Forbidden", "text/html"), 3, "denied access (403 Forbidden)"),
    "teapot": (SEARCH, lambda _: answer("", "418 I'm a teapot", "text/html"), 2, "gave an answer unlike a cachesync server's (418"),
    "odd-status": (SEARCH, lambda _: answer("", "299 Fine", "text/html"), 2, "gave an answer unlike a cachesync server's (299)"),
    "too-long": (SEARCH, lambda _: answer("", "414 URI Too Long", "text/html"), 2, "refused the query as too long"),
    "broken": (SEARCH, lambda _: answer("", "500 Internal Server Error", "text/html"), 3, "had an internal error"),
    "gateway": (SEARCH, lambda _: answer("", "502 Bad Gateway", "text/html"), 3, "is unavailable (502 Bad Gateway)"),
    "away": (SEARCH, lambda _: answer("", "503 Service Unavailable", "text/html"), 3, "is unavailable (503"),
    "away-for-long": (SEARCH, lambda _: told({"error": "not just now"}, "503 Service Unavailable", "Retry-After: 600"), 3, ": not just now"),
    "away-for-ever": (SEARCH, lambda _: answer("", "503 Service Unavailable", "text/html", "Retry-After: " + "9" * 400), 3, "is unavailable"),
    "away-until": (SEARCH, lambda _: answer("", "503 Service Unavailable", "text/html", "Retry-After: Mon, 30 Nov 2026 10:00:00 GMT"), 3, "is unavailable"),
    "late": (SEARCH, lambda _: told({"error": "it takes longer than 5 s; ask for less", "at": None}, "504 Gateway Timeout"), 3, ": it takes longer than 5 s; ask for less"),
    "refused-query": (SEARCH, lambda _: told({"error": "character 3 of the query: no", "at": 3}, "400 Bad Request"), 2, "cachesync: character 3 of the query: no\n"),
    "refused-with-escapes": (SEARCH, lambda _: told({"error": EVIL, "at": 3}, "400 Bad Request"), 2, r"cachesync: \x1b]0;owned\x07\x9b31m\u202e"),
    "refused-at-length": (SEARCH, lambda _: told({"error": "long " * 10_000 + "end", "at": 3}, "400 Bad Request"), 2, "long long"),
    "refused-in-lines": (SEARCH, lambda _: told({"error": "line\n" * 300 + "end", "at": 3}, "400 Bad Request"), 2, "line\n"),
    "refused-by-a-number": (SEARCH, lambda _: told({"error": 3}, "400 Bad Request"), 2, "gave an answer unlike a cachesync server's (400"),
    "refused-endlessly": (SEARCH, lambda _: in_chunks(itertools.repeat(b"x" * 60_000, 2_000)), 2, "is not a cachesync server"),
    "several": (SHOW, lambda _: told({"error": "/aaaa fits 2 binaries: type more of it\n/aaaab x\n/aaaac y", "at": None}, "409 Conflict"), 2, "fits 2 binaries: type more of it\ncachesync: /aaaab x\ncachesync: /aaaac y\n"),
    "elsewhere": (SEARCH, lambda _: redirected("https://u:s3cret@example.org/login?x"), 2, "redirects to https://example.org/login?x: if that is right, give it as --server"),
    "elsewhere-by-port": (SEARCH, lambda _: redirected("http://127.0.0.1:1/"), 2, "redirects to http://127.0.0.1:1/"),
    "elsewhere-by-escapes": (SEARCH, lambda _: redirected("http://example.org/\x9b"), 2, "redirects to"),
    "elsewhere-by-a-backslash": (SEARCH, lambda asked: redirected(f"http://{asked.headers['host']}\\.evil/"), 2, "redirects to an invalid URL"),
    "elsewhere-by-half-a-host": (SEARCH, lambda _: redirected("http://[::1"), 2, "redirects to an invalid URL"),
    "elsewhere-by-no-address": (SEARCH, lambda _: redirected("http://[x]/"), 2, "redirects to an invalid URL"),
    "elsewhere-by-no-port": (SEARCH, lambda _: redirected("http://127.0.0.1:99999/"), 2, "redirects to an invalid URL"),
    "elsewhere-by-words": (SEARCH, lambda _: redirected("http://127.0.0.1:http/"), 2, "redirects to an invalid URL"),
    "elsewhere-by-another-scheme": (SEARCH, lambda _: redirected("file:///etc/passwd"), 2, "redirects to file:///etc/passwd"),
    "in-circles": (SEARCH, lambda asked: redirected(asked.target), 2, "redirects to"),
    "nowhere": (SEARCH, lambda _: redirected(""), 2, "redirects to"),
    "cut-off": (SEARCH, lambda _: told(GOOD)[:-10], 3, "dropped the connection"),
    "cut-chunks": (SEARCH, lambda _: in_chunks([json.dumps(GOOD).encode()], "application/json", whole=False), 3, "dropped the connection"),
    "bad-chunks": (SEARCH, lambda _: b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nnope\r\n", 3, "dropped the connection"),
    "no-gzip": (SEARCH, lambda _: packed(b"{}"), 3, "it can't be decompressed"),
    "cut-gzip": (SEARCH, lambda _: packed(gzipped(GOOD)[:-20]), 3, "its end is missing"),
    "bomb": (SEARCH, lambda _: packed(gzipped("0" * 70_000_000)), 3, "it has more than 67,108,864 bytes"),
    "other-packing": (SEARCH, lambda _: packed(b"{}", "br"), 3, "its encoding is 'br'"),
    "no-json": (SEARCH, lambda _: answer("{"), 3, "isn't as expected: Input data was truncated"),
    "no-object": (SEARCH, lambda _: told([GOOD]), 3, "isn't as expected: Expected `object`, got `array`"),
    "no-text": (SEARCH, lambda _: answer(b'{"total": "\xff"}'), 3, "isn't as expected"),
    "too-deep": (SEARCH, lambda _: answer('{"total":' + "[" * 1_000_000), 3, "isn't as expected: it is nested too deeply"),
    "empty": (SEARCH, lambda _: told({}), 3, "isn't as expected: Object missing required field `total`"),
    "no-version": (SEARCH, lambda _: told({**GOOD, "hits": [WITHOUT_VERSION]}), 3, "Object missing required field `version` - at `$.hits[0]`"),
    "not-a-number": (SEARCH, lambda _: told({**GOOD, "total": "many"}), 3, "Expected `int`, got `str` - at `$.total`"),
    "too-many": (SEARCH, lambda _: told({**GOOD, "hits": [HIT] * 21}), 3, "it has 21 hits, but 20 were requested"),
    "no-facet": (SEARCH, lambda _: told({**GOOD, "facets": {"os": [{"value": "x"}]}}), 3, "missing required field `count`"),
    "silent": (SEARCH, lambda _: b"", 3, "dropped the connection"),
    "ssh": (SEARCH, lambda _: b"SSH-2.0-OpenSSH_9.9\r\n", 3, "dropped the connection"),
    "long-header": (SEARCH, lambda _: answer("", "200 OK", "a/b", "X: " + "x" * 100_000), 3, "dropped the connection"),
    "many-headers": (SEARCH, lambda _: answer("", "200 OK", "a/b", *["X: x"] * 1_000), 3, "dropped the connection"),
    "export-html": (EXPORT, exported(lambda _: answer("<p>", content_type="text/html")), 2, "is not a cachesync server"),
    "export-busy": (EXPORT, exported(lambda _: told({"error": "too much is asked at once"}, "503 Service Unavailable", "Retry-After: 60")), 3, ": too much is asked at once"),
    "export-broken": (EXPORT, exported(lambda _: in_chunks(lines(1_200), whole=False)), 3, "dropped the connection"),
    "export-cut": (EXPORT, exported(lambda _: in_chunks([*lines(5), b'{"_id"'])), 3, "its last line is cut off"),
    "export-long-line": (EXPORT, exported(lambda _: in_chunks(itertools.repeat(b"x" * 60_000, 1_000))), 3, "it has a line of more than 16,777,216 bytes"),
    "export-no-hit": (EXPORT, exported(lambda _: in_chunks([b"{}\n"])), 3, "missing required field `package`"),
    "walk-empty": (WALK, walked(lambda _: page_of([], "more")), 3, "a page of hits that should follow is empty"),
    "walk-refused": (WALK, walked(lambda _: told({"error": "cursor: begin anew", "at": None}, "400 Bad Request")), 2, "cachesync: cursor: begin anew\n"),
    "show-empty": (SHOW, lambda _: told({"documents": [], "tags": [], "stacks": [], "query": {}}), 3, "it has no documents"),
    "show-without": (SHOW, lambda _: told({"tags": [], "stacks": [], "query": {}}), 3, "missing required field `documents`"),
    "diff-without": (DIFF, lambda _: told({"from": "v1", "to": "v2", "added": [{}]}), 3, "missing required field `package` - at `$.added[0]`"),
    "diff-nowhere": (DIFF, lambda _: told({"error": "no page has the tag 'v1'", "at": None}, "404 Not Found"), 2, "cachesync: no page has the tag 'v1'\n"),
    "status-unready": (STATUS, lambda _: told({"ready": False, "reason": "not ready", "degraded": []}, "503 Service Unavailable"), 3, "isn't ready: not ready"),
    "status-without": (STATUS, lambda _: told({"status": "alive"}), 3, "missing required field `specs`"),
    "status-of-another": (STATUS, lambda _: told({"specs": 1, "pages": 1, "last_written": "yesterday"}), 3, "Invalid RFC3339 encoded datetime - at `$.last_written`"),
}  # fmt: skip


COME_IN_PART = {"export-broken", "export-cut"}


def with_user(url: str) -> str:
    return url.replace("://", f"://user:{SECRET}@")


def test_every_failure_of_a_server_has_a_message(server: Impostor, tmp_path: Path) -> None:
    server.answers |= {name: case[1] for name, case in CASES.items()}
    commands = [(*case[0], "--server", f"{with_user(server.url)}/{name}/") for name, case in CASES.items()]
    for (name, (_, _, code, sentence)), ran in zip(CASES.items(), run_each(commands, tmp_path), strict=True):
        assert (ran.code, sentence in ran.stderr) == (code, True), (name, ran)
        assert bool(ran.stdout) == (name in COME_IN_PART), name
        assert SECRET not in ran.stderr, name
        assert len(ran.stderr) < 4_000, name
        assert ran.stderr.count("\n") <= 21, name
        assert all(each.isprintable() for each in ran.stderr.replace("\n", "")), (name, ran.stderr)
    assert {each.headers["authorization"] for each in server.asked} == {"Basic dXNlcjpzM2NyZXQ="}


def test_hits_of_an_export_are_printed_before_it_breaks_off(server: Impostor, tmp_path: Path) -> None:
    server.answers["breaks"] = CASES["export-broken"][1]
    (ran,) = run_each([(*EXPORT, "--server", f"{server.url}/breaks")], tmp_path)
    assert ran.code == 3
    assert list(map(json.loads, ran.stdout.splitlines())) == [HIT] * 1_200


def test_an_export_needs_no_more_memory_for_more_hits(server: Impostor, tmp_path: Path) -> None:
    long = {**HIT, "variants": ["+" + "x" * 1_000]}
    server.answers["endless"] = exported(lambda _: in_chunks(iter(lambda: b"".join(lines(20, long)), None)))
    commands = [
        ("search", "--format", "csv", "--limit", limit, "--server", f"{server.url}/endless")
        for limit in ("2000", "30000")
    ]
    few, many = run_each(commands, tmp_path)
    assert [each.stdout.count("\r\n") for each in (few, many)] == [2_001, 30_001]
    assert many.memory - few.memory < 20_000_000, (few.memory, many.memory)


def test_a_request_is_retried_while_the_server_is_busy(server: Impostor, tmp_path: Path) -> None:
    def busy_first(asked: Asked) -> bytes:
        busy = told({"error": "too much is asked at once"}, "503 Service Unavailable", "Retry-After: 0")
        return busy if asked.before < 3 else told(GOOD)

    server.answers["busy"] = busy_first
    server.answers["idle"] = lambda asked: told(GOOD) if asked.before else b""
    for ran in run_each([(*SEARCH, "--server", f"{server.url}/{name}") for name in ("busy", "idle")], tmp_path):
        assert (ran.code, ran.stderr) == (0, "")


def test_retries_end_if_the_server_stays_busy(server: Impostor, tmp_path: Path) -> None:
    statuses = {"always-busy": "503 Service Unavailable", "always-too-much": "429 Too Many Requests"}
    for name, status in statuses.items():
        server.answers[name] = always(told({"error": "too much is asked at once"}, status, "Retry-After: 0"))
    done = run_each([(*SEARCH, "--server", f"{server.url}/{name}") for name in statuses], tmp_path)
    for name, ran in zip(statuses, done, strict=True):
        assert (ran.code, ran.stdout) == (3, ""), ran
        assert ran.stderr == f"cachesync: {server.url}/{name}: too much is asked at once\n"
        asked = sum(each.path.startswith(f"/{name}/") for each in server.asked)
        assert 4 <= asked <= 20, name


def test_paging_starts_again_if_the_servers_packages_change(server: Impostor, tmp_path: Path) -> None:
    refused = told({"error": "cursor: begin anew", "at": None}, "400 Bad Request")
    server.answers["anew"] = walked(lambda asked: page_of([HIT] * 500, None) if asked.before else refused)
    (ran,) = run_each([(*WALK, "--server", f"{server.url}/anew")], tmp_path)
    assert (ran.code, len(json.loads(ran.stdout)["hits"])) == (0, 1_500)


def test_redirects_are_followed_on_the_same_server(server: Impostor, tmp_path: Path) -> None:
    server.answers["old"] = lambda asked: redirected(asked.target.replace("/old/", "/new/"))
    server.answers["new"] = lambda _: told(GOOD)
    (ran,) = run_each([(*SEARCH, "--server", f"{with_user(server.url)}/old")], tmp_path)
    assert (ran.code, ran.stderr) == (0, "")


def test_a_password_is_sent_to_no_other_server(server: Impostor, tmp_path: Path) -> None:
    with impostor() as other:
        same, foreign = (each.url.removeprefix("http://") for each in (server, other))
        leading = [
            f"http://{foreign}\\@{same}/x",
            f"//{foreign}\\@{same}/x",
            f"http://{foreign}/\\@{same}/x",
            f"http:\\\\{foreign}/x",
            f"\\\\{foreign}/x",
            f"http://{same}@{foreign}/x",
            f"http://{same}:x@{foreign}/x",
            f"http://{foreign}\t@{same}/x",
            f"http://{foreign}?@{same}/x",
            f"http://{foreign}#@{same}/x",
        ]
        server.answers |= {f"leads-{number}": always(redirected(to)) for number, to in enumerate(leading)}
        server.answers["x"] = lambda _: told(GOOD)
        urls = [f"{with_user(server.url)}/leads-{number}" for number in range(len(leading))]
        for to, ran in zip(leading, run_each([(*SEARCH, "--server", url) for url in urls], tmp_path), strict=True):
            assert not other.asked, to
            assert (ran.code, ran.stdout, "redirects to" in ran.stderr) == (2, "", True), (to, ran)


def test_control_characters_are_escaped(server: Impostor, tmp_path: Path) -> None:
    hit: dict[str, Any] = {name: [EVIL] if isinstance(value, list) else EVIL for name, value in HIT.items()}
    hit |= {"tags": [EVIL], "runs": EVIL, "os": EVIL, "install": {"mirror": EVIL, "commands": [EVIL]}}
    found = {**GOOD, "hits": [hit] * 2, "query": {**GOOD["query"], "notes": [EVIL]}}
    nothing = {**found, "total": 0, "hits": [], "near": [{"total": 1, "without": EVIL}, {"total": 1, "package": EVIL}]}
    server.answers |= {
        "evil": lambda _: told({**found, "facets": {EVIL: [{"value": EVIL, "count": 1}]}}),
        "evil-near": lambda _: told(nothing),
        "evil-show": lambda _: told({"documents": [hit], "tags": [EVIL], "stacks": [EVIL], "query": {}}),
        "evil-diff": lambda _: told({"from": "a", "to": "b", "added": [hit], "gone": [hit], "packages": [{"package": EVIL, "added": 1, "gone": 1}]}),
        "evil-status": lambda _: told({"specs": 1, "pages": 1, "url": EVIL, "generation": EVIL, "holder": EVIL, "reason": EVIL, "degraded": [EVIL], "problems": [{"page": EVIL, "message": EVIL}], "warnings": [{"path": EVIL, "message": EVIL}]}),
    }  # fmt: skip
    forms = ("table", "long", "oneline", "hash", "csv", "ndjson", "json")
    commands = [
        *(("search", "--format", form, "--server", f"{server.url}/evil") for form in forms),
        ("search", "--server", f"{server.url}/evil-near"),
        *((*command, *more, "--server", f"{server.url}/evil-{command[0]}") for command in (SHOW, DIFF, STATUS) for more in ((), ("--json",))),
    ]  # fmt: skip
    for command, ran in zip(commands, run_each(commands, tmp_path), strict=True):
        assert ran.code == 0, (command, ran)
        assert not {"\x1b", "\x07", "\x9b"} & set(ran.stdout + ran.stderr), command
        assert "owned" in ran.stdout, command
        is_for_programs = "--json" in command or command[2:3] in [("csv",), ("ndjson",), ("json",)]
        assert ("\u202e" in ran.stdout) == is_for_programs, command


@pytest.mark.parametrize("form", ["table", "csv", "ndjson"])
def test_fields_that_no_command_relies_on_may_have_any_value(server: Impostor, tmp_path: Path, form: str) -> None:
    odd = {**HIT, "version_key": [1, None, {}], "git_ref": {"a": 1}, "variant_names": 3.5, "later": [[]]}
    server.answers["odd"] = lambda _: told({**GOOD, "hits": [odd] * 2, "more": {}})
    columns = ("--columns", "version_key,git_ref,variant_names")
    (ran,) = run_each([("search", "--format", form, *columns, "--server", f"{server.url}/odd")], tmp_path)
    assert (ran.code, ran.stderr) == (0, "")
    assert "3.5" in ran.stdout


def test_the_whole_status_of_a_service_is_printed(server: Impostor, tmp_path: Path) -> None:
    status = {
        "url": "http://es:9200",
        "generation": "spack-specs-3",
        "specs": 2_000,
        "pages": 10,
        "in_sync": False,
        "lag_seconds": 3.2,
        "last_written": "2026-11-30T09:00:00Z",
        "holder": "host:1",
        "service": True,
        "problems": [{"page": "a/specs.md", "message": "no", "line": 3}],
        "warnings": [{"path": "b", "message": "odd"}],
        "held_deletes": {"pages": 1, "specs": 7},
        "next_reindex": "2026-12-01T03:00:00Z",
        "reindex_needed": True,
        "degraded": ["one", "another"],
    }
    server.answers["run"] = lambda _: told(status)
    (ran,) = run_each([("status", "--server", f"{with_user(server.url)}/run")], tmp_path)
    printed = ran.stdout.splitlines()
    assert printed[:6] == [
        f"server    {server.url}/run",
        "index     http://es:9200 (spack-specs-3)",
        "holds     2,000 specs of 10 pages",
        "written   2026-11-30 09:00:00+00:00",
        "in sync   no, for up to 3 seconds",
        "degraded  one; another",
    ]
    assert printed[6:8] == ["writer    host:1, a service", "reindex   next 2026-12-01 03:00 UTC"]
    assert printed[-4:] == ["problems  1", "warnings  1", "  a/specs.md:3: no", "  b: warning: odd"]


BAD_URLS = {
    "": "expected the URL of its web page, as in https://HOST",
    "example.org": "expected the URL of its web page",
    "localhost:8080": "expected the URL of its web page",
    "ftp://example.org": "expected the URL of its web page",
    "http://": "expected the URL of its web page",
    "http:///path": "expected the URL of its web page",
    "http://host:99999": "Port out of range 0-65535",
    "http://host:0": "expected the URL of its web page",
    "http://host:http": "Port could not be cast",
    "http://[::1": "Invalid IPv6 URL",
    "http://host/?q=zlib": "without ? or # and what follows",
    "http://host/#top": "without ? or # and what follows",
    "http://ho st": "without whitespace and control characters",
    "http://host\x1b[0m": "without whitespace and control characters",
    f"http://user:{SECRET}/more@host": "has to be percent-encoded",
    f"http://user:{SECRET}@host:bad": "has to be percent-encoded",
    f"user:{SECRET}@host": "expected the URL of its web page",
    f"http://user:{SECRET}@": "expected the URL of its web page",
}  # fmt: skip


def test_an_invalid_url_is_refused(tmp_path: Path) -> None:
    for (url, sentence), ran in zip(
        BAD_URLS.items(), run_each([("search", "--server", url) for url in BAD_URLS], tmp_path), strict=True
    ):
        assert (ran.code, ran.stdout, sentence in ran.stderr) == (2, "", True), (url, ran)
        assert SECRET not in ran.stderr
        assert "\x1b" not in ran.stderr
    (ran,) = run_each([("search", "--server", b"http://\xff")], tmp_path)
    assert ran.code == 2


def test_an_unreachable_server_is_reported(server: Impostor, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens there
        urls = {
            f"http://user:{SECRET}@127.0.0.1:{taken.getsockname()[1]}": "Is `cachesync serve` running there?",
            "http://nobody.invalid": "Is the name right, and is there a network?",
            f"http://{'x' * 70}.invalid": "cachesync: ",
            server.url.replace("http:", "https:"): "no trusted connection to",
        }
        for (url, sentence), ran in zip(
            urls.items(), run_each([("search", "--server", url) for url in urls], tmp_path), strict=True
        ):
            assert (ran.code in (2, 3), ran.stdout, sentence in ran.stderr) == (True, "", True), (url, ran)
            assert SECRET not in ran.stderr


def test_certificate_authorities_come_from_the_system_or_ssl_cert_file(tmp_path: Path) -> None:
    ours = trustme.CA()
    ours.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.issue_cert("127.0.0.1").configure_cert(context)
    with impostor(context) as secure:
        secure.answers["good"] = lambda _: told(GOOD)
        here = f"{secure.url}/good"
        commands = [("search", "--server", here), ("search", "--server", here.replace("127.0.0.1", "localhost"))]
        untrusted = run_each(commands[:1], tmp_path)[0]
        trusted, misnamed = run_each(commands, tmp_path, {"SSL_CERT_FILE": str(tmp_path / "ca.pem")})
    assert (untrusted.code, "SSL_CERT_FILE" in untrusted.stderr) == (3, True), untrusted
    assert (trusted.code, trusted.stderr) == (0, "")
    assert (misnamed.code, "its certificate is for another name" in misnamed.stderr) == (3, True), misnamed


def test_proxies_come_from_the_environment(server: Impostor, tmp_path: Path) -> None:
    server.answers["proxied"] = lambda _: told(GOOD)
    command = ("search", "--server", "http://behind.invalid/proxied")
    here = ("search", "--server", f"{server.url}/proxied")
    proxy = with_user(server.url)
    proxied, lower = (run_each([command], tmp_path, {name: proxy})[0] for name in ("HTTP_PROXY", "all_proxy"))
    assert (proxied.code, proxied.stderr) == (lower.code, lower.stderr) == (0, "")
    asked = [each for each in server.asked if each.target.startswith("http://behind.invalid/")]
    assert {each.headers["proxy-authorization"] for each in asked} == {"Basic dXNlcjpzM2NyZXQ="}
    dead = f"http://user:{SECRET}@127.0.0.1:1"
    (bypassed,) = run_each([here], tmp_path, {"HTTP_PROXY": dead, "NO_PROXY": "127.0.0.1"})
    assert bypassed.code == 0
    failed, of_another_kind = (run_each([here], tmp_path, {"HTTP_PROXY": each})[0] for each in (dead, "socks5://x:1"))
    assert (failed.code, "the proxy http://127.0.0.1:1, which the environment names" in failed.stderr) == (3, True), (
        failed
    )
    assert SECRET not in failed.stderr
    assert (of_another_kind.code, "expected one of http:// or https://" in of_another_kind.stderr) == (2, True)

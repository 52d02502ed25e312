"""The health of the connection to an index, recorded from requests that fail or are answered."""

import contextvars
import itertools
import math
import threading

import pytest
from structlog.testing import capture_logs

from cachesync import retry
from cachesync.context import Context, StoppedError, running
from cachesync.errors import IndexUnavailableError, IndexUnusableError
from cachesync.index.connection_health import SERVICE, ConnectionHealth
from cachesync.index.elastic import ElasticIndex
from cachesync.index.elastic.connection import Connection
from cachesync.index.server import IndexServer, Layout
from tests.support.filling import change_for, fill, write
from tests.support.pages import entry, page, path_of
from tests.support.proxy import Answer, Proxy, Request, refusal

URL = "http://somewhere"
A = path_of("a")


def test_trouble_lasts_until_the_failing_request_is_answered() -> None:
    health = ConnectionHealth()
    with capture_logs() as logged, health.trying(URL) as writing:
        writing.failed("429", "too busy")
        with health.trying(URL) as reading:
            reading.failed("503", "starting")
            reading.answered()
        writing.failed("429", "too busy")
        assert health.trouble == f"{URL}: too busy", "a response to another request doesn't count"
        writing.answered()
        assert health.trouble is None
        writing.answered()
    assert [(each["log_level"], each["event"][:31]) for each in logged] == [
        ("warning", "Elasticsearch can't be used for"),
        ("info", "Elasticsearch answers again"),
    ]
    assert health.retries == {"429": 2, "503": 1}


def test_a_given_up_request_is_trouble_until_any_request_is_answered() -> None:
    health = ConnectionHealth()
    with capture_logs() as logged:
        for _ in range(2):
            with health.trying(URL) as tries:
                tries.failed("timeout", "no answer")
                tries.gave_up("timeout", "it stays away")
            assert health.trouble == "it stays away"
        with health.trying(URL) as tries:
            tries.answered()
    assert health.trouble is None
    assert len(logged) == 2, "one line for the failure, one for the recovery"
    with health.trying(URL) as tries:
        tries.gave_up("credentials", "no")
        tries.answered()
    assert health.trouble is None
    before = dict(health.retries)
    health.gave_up(SERVICE, "other", "the same, reported by the service")
    assert health.trouble == "the same, reported by the service"
    assert health.retries == before, "a request is counted once"


# --- requests -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disables retries."""
    monkeypatch.setattr(retry, "delays", lambda: itertools.repeat(math.inf))


def asked(answer: Answer | None, health: ConnectionHealth) -> Exception | None:
    """Send a request to a server with this response or, if None, to a closed port; return the error."""
    with Proxy("http://127.0.0.1:9", lambda _request: answer).running() as proxy:
        url = proxy.url if answer else "http://127.0.0.1:9"
        try:
            Connection(IndexServer((url,)), 10, health).call(lambda client: client.cluster.health())
        except IndexUnavailableError as error:
            return error
    return None


GOOD = refusal(200)


@pytest.mark.parametrize(
    ("answer", "kind", "trouble"),
    [
        (None, "connection", "cannot reach"),
        (refusal(429), "429", "overloaded"),
        (refusal(502), "502", "overloaded"),
        (refusal(403, "cluster_block_exception", "disk full"), "blocked", "disk full"),
        (refusal(401, "security_exception"), "credentials", "refuses the credentials"),
        (refusal(403, "security_exception", "no right"), "credentials", "no right"),
        (refusal(500, "oops", "oops"), "other", "oops"),
    ],
)
@pytest.mark.usefixtures("once")
def test_each_failure_has_a_kind_and_is_trouble(answer: Answer | None, kind: str, trouble: str) -> None:
    health = ConnectionHealth()
    assert asked(answer, health)
    assert health.retries == {kind: 1}
    assert trouble in str(health.trouble)
    assert "\n" not in str(health.trouble)
    assert asked(GOOD, health) is None
    assert health.trouble is None


@pytest.mark.usefixtures("once")
def test_a_missing_index_is_not_trouble() -> None:
    health = ConnectionHealth()
    asked(refusal(503), health)
    assert isinstance(asked(refusal(404, "index_not_found_exception"), health), IndexUnusableError)
    assert health.trouble is None


def test_a_stop_ends_retries_at_once() -> None:
    health = ConnectionHealth()
    tried, stop = threading.Event(), threading.Event()

    def refuse(_request: Request) -> Answer:
        tried.set()
        return refusal(503)

    def ask() -> None:
        with running(Context(stop)), pytest.raises(StoppedError):
            Connection(IndexServer((proxy.url,)), 3600, health).call(lambda client: client.cluster.health())

    with Proxy("http://127.0.0.1:9", refuse).running() as proxy:
        thread = threading.Thread(target=ask)
        thread.start()
        assert tried.wait(10)
        stop.set()
        thread.join(10)
        assert not thread.is_alive()
        before = len(proxy.requests)
        ask()
        assert len(proxy.requests) == before + 1, "no retry"
    assert health.trouble


def test_a_bulk_request_is_retried_and_counted(elasticsearch_index: str, index_name: str) -> None:
    """Its threads have the context variables of the writer's thread."""
    doing: contextvars.ContextVar[str] = contextvars.ContextVar("doing")
    seen: list[tuple[str, bool]] = []
    health = ConnectionHealth(lambda seconds: seen.append((doing.get("nothing"), seconds > 0)))
    refused: set[str] = set()

    def refuse_once(request: Request) -> Answer | None:
        if "_bulk" not in request.path or request.path in refused:
            return None
        refused.add(request.path)
        return refusal(429)

    with Proxy(elasticsearch_index, refuse_once).running() as proxy:
        index = ElasticIndex(IndexServer((proxy.url,)), index_name, Layout(), health)
        doing.set("a pass")
        fill(index, {A: page(entry("1"), title="a")})
    assert health.retries == {"429": 2}
    assert health.trouble is None
    assert seen == [("a pass", True)] * 2


def test_a_stop_ends_retries_of_a_bulk_request_at_once(elasticsearch_index: str, index_name: str) -> None:
    health = ConnectionHealth()
    stop = threading.Event()

    def refuse(request: Request) -> Answer | None:
        if "_bulk" not in request.path:
            return None
        stop.set()
        return refusal(429, "busy", "too busy")

    with Proxy(elasticsearch_index, refuse).running() as proxy:
        index = ElasticIndex(IndexServer((proxy.url,)), index_name, Layout(), health)
        with running(Context(stop)), index.writer(1) as writer:
            generation = writer.build()
            with pytest.raises(StoppedError):
                write(generation, [change_for(A, page(entry("1"), title="a"))])
            assert "too busy" in str(health.trouble)

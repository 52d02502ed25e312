"""`cachesync serve`: starting, following an index that others write, reloading its configuration, and stopping."""

import json
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest

from cachesync.index.freshness import Freshness, note_freshness
from tests.support.pages import entry, page, put
from tests.support.sandbox import Sandbox
from tests.support.service import Serve, Service, index_of, until


@contextmanager
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


def free_ports(number: int) -> list[int]:
    """Return ports that are not in use."""
    with ExitStack() as stack:
        return [stack.enter_context(taken_port()) for _ in range(number)]


def configure(sandbox: Sandbox, **http: Any) -> None:
    """Set the keys of `http` in the configuration, replacing all others."""
    keys = json.loads(sandbox.config.read_text())
    sandbox.config.write_text(json.dumps({**keys, "http": http}))


def text(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        found: str = answer.read().decode()
        return found


def specs(service: Serve) -> int:
    status, answer = service.get("/api/search?limit=0")
    return int(answer["total"]) if status == 200 else -1


def has_specs(service: Serve, number: int) -> bool:
    return specs(service) == number


def reloaded(service: Serve, *, refused: bool = False) -> None:
    """Reload the configuration, and check whether it is accepted."""
    outcome = "stays in force" if refused else "read again"
    before = len(service.said(outcome))
    service.send(signal.SIGHUP)
    until(lambda: len(service.said(outcome)) > before, lambda: service.lines[-3:])


def test_it_serves_an_index_that_is_created_later_and_follows_it(sandbox: Sandbox) -> None:
    with Serve(sandbox) as serve:
        until(lambda: serve.said("the index can't be searched for now"), "the reason in the log before any request")
        assert serve.get("/healthz")[0] == 200
        assert serve.get("/readyz")[0] == 503
        assert serve.get("/api/search")[0] == 503
        put(sandbox.root, page(entry("1")))
        sandbox.run("sync")
        until(serve.is_ready, "an index")
        until(lambda: specs(serve) == 1, "the spec")
        put(sandbox.root, page(entry("1"), entry("2")))
        sandbox.run("sync")
        until(lambda: specs(serve) == 2, "another spec")
        sandbox.run("reindex")
        put(sandbox.root, page(entry("1"), entry("2"), entry("3")))
        sandbox.run("sync")
        until(lambda: specs(serve) == 3, "a spec in another generation")
        assert "<title>" in serve.get("/")[1]


def test_it_writes_nothing(sandbox: Sandbox) -> None:
    put(sandbox.root, page(entry("1")))
    sandbox.run("sync")
    before = sandbox.state()
    with Serve(sandbox) as serve:
        until(lambda: specs(serve) == 1, "the spec")
        assert serve.get("/api/status")[0] == 200
    assert sandbox.state() == before


@pytest.mark.surroundings
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it(sandbox: Sandbox, number: signal.Signals) -> None:
    with Serve(sandbox) as serve:
        assert serve.stop(number) == 0
        assert serve.said("stopped")


def test_metrics_are_only_served_on_the_configured_port(sandbox: Sandbox) -> None:
    (port,) = free_ports(1)
    with Serve(sandbox, CACHESYNC_HTTP__METRICS=f"127.0.0.1:{port}") as serve:
        until(lambda: len(serve.said("listening")) == 2, "both listeners")
        assert serve.get("/metrics")[0] == 404
        assert "cachesync_http_requests" in text(f"http://127.0.0.1:{port}/metrics")


def test_a_port_in_use_is_an_error(sandbox: Sandbox) -> None:
    with taken_port() as port:
        done = sandbox.run("serve", expect=2, CACHESYNC_HTTP__PORT=str(port))
        assert f"http.port: {port} is taken" in done.stderr
        done = sandbox.run("serve", expect=2, CACHESYNC_HTTP__PORT="0", CACHESYNC_HTTP__METRICS=f"127.0.0.1:{port}")
        assert f"http.metrics: {port} is taken" in done.stderr


def test_a_reload_moves_it(sandbox: Sandbox) -> None:
    first, second, metrics = free_ports(3)
    put(sandbox.root, page(entry("1")))
    sandbox.run("sync")
    configure(sandbox, port=first)
    with Serve(sandbox, CACHESYNC_HTTP__PORT=None) as serve:
        assert serve.url.endswith(str(first))
        configure(sandbox, port=second, metrics=f"127.0.0.1:{metrics}", base_path="/specs")
        reloaded(serve)
        assert "<title>" in text(f"http://127.0.0.1:{second}/specs/")
        assert "cachesync_http" in text(f"http://127.0.0.1:{metrics}/metrics")
        with pytest.raises(urllib.error.URLError):
            text(f"http://127.0.0.1:{first}/")


def test_a_reload_that_fails_halfway_changes_nothing(sandbox: Sandbox) -> None:
    first, second, metrics = free_ports(3)
    configure(sandbox, port=first, metrics=f"127.0.0.1:{metrics}")
    with Serve(sandbox, CACHESYNC_HTTP__PORT=None) as serve, taken_port() as taken:
        for refused in (
            {"port": second, "metrics": f"127.0.0.1:{taken}"},
            {"port": taken, "metrics": f"127.0.0.1:{second}"},
            {"port": taken},
        ):
            configure(sandbox, **refused)
            reloaded(serve, refused=True)
            assert serve.get("/healthz")[0] == 200
            assert "cachesync_http" in text(f"http://127.0.0.1:{metrics}/metrics")
            with pytest.raises(urllib.error.URLError):
                text(f"http://127.0.0.1:{second}/")


def test_a_reload_leaves_no_threads_behind(sandbox: Sandbox) -> None:
    put(sandbox.root, page(entry("1")))
    sandbox.run("sync")
    with Serve(sandbox) as serve:

        def ask() -> None:
            for path in ("/api/search", "/api/suggest?q=z", "/api/search?format=csv"):
                text(f"{serve.url}{path}")

        def threads() -> int:
            return len(list(Path(f"/proc/{serve.pid}/task").iterdir()))

        ask()
        before = threads()
        for _ in range(6):
            reloaded(serve)
            ask()
        until(lambda: threads() < before + 6, threads)


def test_it_runs_beside_a_service_and_another_server(sandbox: Sandbox) -> None:
    put(sandbox.root, page(entry("1")))
    with Service(sandbox) as service, Serve(sandbox) as one, Serve(sandbox) as other:
        service.caught_up()
        put(sandbox.root, page(entry("2")), "later")
        for each in (one, other):
            until(partial(has_specs, each, 2), "what the service wrote")


@pytest.mark.parametrize("writer", ["command", "service"])
def test_an_index_that_a_command_brought_up_to_date_is_not_behind(
    sandbox: Sandbox, writer: Literal["command", "service"]
) -> None:
    """After an old note of a service it does count as behind: the service should have updated its note since."""
    put(sandbox.root, page(entry("1")))
    sandbox.run("sync")
    with closing(index_of(sandbox)) as index:
        long_ago = datetime.now(UTC) - timedelta(days=1)
        note_freshness(index.notes(), Freshness(noted=long_ago, due=long_ago, writer=writer, in_sync=True))
    is_behind = writer == "service"
    with Serve(sandbox) as serve:
        until(serve.is_ready, "an index")
        assert serve.get("/readyz")[1]["degraded"] == (["behind"] if is_behind else [])
        assert serve.status()["in_sync"] is (False if is_behind else None)
        assert ("behind the pages" in serve.get("/")[1]) is is_behind

"""One Elasticsearch for a whole test run, and a secured one, each started by whichever test wants it first."""

import contextlib
import fcntl
import os
import shutil
import signal
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from tests.support import elasticsearch
from tests.support.guardian import guarded, memory
from tests.support.secured import Secured, Security, roles

_RUN = "CACHESYNC_TEST_RUN"
"""The guarded folder of a test run: what is started in it ends with the run."""
_DATA_BYTES = 4_000_000_000
"""How much room there must be in memory for a server's data; what the tests write is a small part of it."""

_NEEDED = "CACHESYNC_TEST_NEEDS_ELASTICSEARCH"

_SERVERS = frozenset({"elasticsearch_url", "secured", "mortal"})
"""The fixtures that lend a real server."""

_LENDING = ("elasticsearch", "secured")
"""Parameters of fixtures that ask for one of these only then."""


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def pytest_configure(config: pytest.Config) -> None:
    if not _is_worker(config):
        lent = contextlib.ExitStack()
        os.environ[_RUN] = str(lent.enter_context(guarded()))
        config.add_cleanup(lent.close)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and _wants_server(item):
            item.add_marker("server")


def _wants_server(test: pytest.Function) -> bool:
    """Tell whether a test uses a fixture that lends a real server, or is one of a row that does so by its parameter."""
    parameters = test.callspec.params.values() if hasattr(test, "callspec") else ()
    return not _SERVERS.isdisjoint(test.fixturenames) or any(each in _LENDING for each in parameters)


@pytest.fixture(scope="session", autouse=True)
def children_can_be_interrupted() -> Iterator[None]:
    """Let the programs that tests start obey SIGINT also where it is ignored, as in a background job of a shell.

    They would inherit that it is ignored, and by the usual convention leave it so. A handler isn't inherited: while
    this process has one that does nothing, it goes on without SIGINT, and what it starts begins with the default.
    """
    before = signal.getsignal(signal.SIGINT)
    if before == signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda *_: None)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def elasticsearch_url() -> str:
    """The URL of a real server; without one, tests that want it are skipped, or fail where it was asked for."""
    if url := os.environ.get(elasticsearch.URL_VARIABLE):
        return url.rstrip("/")
    return _shared("plain", None)


@pytest.fixture(scope="session")
def secured() -> Secured:
    """A real server that lets nobody in without a certificate and a password."""
    security = Security(Path(os.environ[_RUN]) / "security")
    return Secured(_shared("secured", security), security)


@pytest.fixture(scope="module")
def mortal() -> Iterator[elasticsearch.Server]:
    """A server of a module's own, to be killed."""
    try:
        server = elasticsearch.Server(Path(tempfile.mkdtemp(prefix="own-", dir=os.environ[_RUN])))
        server.start()
    except elasticsearch.NoServerError as reason:
        _do_without(str(reason))
    yield server
    server.kill()


def _shared(kind: str, security: Security | None) -> str:
    """Return the URL of the run's server of a kind, which is started now if it wasn't yet."""
    run = Path(os.environ[_RUN])
    with (run / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        told = run / kind
        if not told.exists():
            told.mkdir()
            try:
                if security:
                    security.make(roles())
                server = elasticsearch.Server(run / f"{kind}-server", security, _data(run, kind))
                server.start()
                server.disown()
                (told / "url").write_text(server.url)
            except elasticsearch.NoServerError as reason:
                (told / "reason").write_text(str(reason))
    if not (told / "url").exists():
        _do_without((told / "reason").read_text())
    return (told / "url").read_text()


def _do_without(reason: str) -> NoReturn:
    """Skip what wants a server, or let it fail where one was asked for."""
    reason = f"no real Elasticsearch: {reason}"
    if os.environ.get(_NEEDED):
        pytest.fail(reason)
    pytest.skip(reason)


def _data(run: Path, kind: str) -> Path | None:
    """Return a folder in memory for a server's data: nobody waits for a disk then, and nothing has to last."""
    in_memory = memory(run)
    if not os.access(in_memory.parent, os.W_OK) or shutil.disk_usage(in_memory.parent).free < _DATA_BYTES:
        return None
    in_memory.mkdir(exist_ok=True)
    in_memory.chmod(0o755)  # the server runs as another user where we are root
    (in_memory / kind).mkdir()
    return in_memory / kind


@pytest.fixture
def index_name() -> str:
    """A name that no other test uses."""
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def elasticsearch_index(elasticsearch_url: str, index_name: str) -> Iterator[str]:
    """The URL of a server on which everything called ``index_name`` is removed afterwards."""
    yield elasticsearch_url
    elasticsearch.remove(elasticsearch_url, index_name)


@pytest.fixture
def secured_index(secured: Secured, index_name: str) -> Iterator[Secured]:
    """The secured server, on which everything called ``index_name`` is removed afterwards."""
    yield secured
    elasticsearch.remove(secured.url, index_name, secured.security)

"""One Elasticsearch for a whole test run, and a secured one, each started by whichever test wants it first."""

import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from tests.support import elasticsearch
from tests.support.secured import Secured, Security, roles

_RUN = "CACHESYNC_TEST_RUN"
"""The folder of a test run, in which the server's own user may read."""
_DATA_BYTES = 4_000_000_000
"""How much room there must be in memory for a server's data; what the tests write is a small part of it."""

_NEEDED = "CACHESYNC_TEST_NEEDS_ELASTICSEARCH"


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def pytest_configure(config: pytest.Config) -> None:
    if not _is_worker(config):
        run = tempfile.mkdtemp(prefix="cachesync-tests-")
        os.environ[_RUN] = run
        Path(run).chmod(0o755)  # the server runs as another user where we are root


def pytest_unconfigure(config: pytest.Config) -> None:
    if not _is_worker(config):
        run = Path(os.environ[_RUN])
        for pid in run.glob("*/pid"):
            elasticsearch.stop(int(pid.read_text()))
        for data in run.glob("*/in-memory"):
            shutil.rmtree(data.read_text(), ignore_errors=True)
        shutil.rmtree(run, ignore_errors=True)


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
                server = elasticsearch.Server(run / f"{kind}-server", security, _data(told))
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


def _data(told: Path) -> Path | None:
    """Return a folder in memory for a server's data: nobody waits for a disk then, and nothing has to last."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK) or shutil.disk_usage(memory).free < _DATA_BYTES:
        return None
    folder = Path(tempfile.mkdtemp(prefix="cachesync-tests-", dir=memory))
    (told / "in-memory").write_text(str(folder))
    return folder


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

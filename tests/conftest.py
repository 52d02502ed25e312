"""One Elasticsearch for a whole test run, started by whichever test wants it first."""

import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import elasticsearch

_RUN = "CACHESYNC_TEST_RUN"
_servers: list[elasticsearch.Server] = []
"""Keeps whom this process has started from being forgotten before it is stopped."""

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
        if (run / "pid").exists():
            elasticsearch.stop(int((run / "pid").read_text()))
        shutil.rmtree(run, ignore_errors=True)


@pytest.fixture(scope="session")
def elasticsearch_url() -> str:
    """The URL of a real server; without one, tests that want it are skipped, or fail where it was asked for."""
    if url := os.environ.get(elasticsearch.URL_VARIABLE):
        return url.rstrip("/")
    run = Path(os.environ[_RUN])
    with (run / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (run / "url").exists() and not (run / "reason").exists():
            try:
                server = elasticsearch.Server(run / "server")
                _servers.append(server)
                server.start()
                (run / "pid").write_text(str(server.pid))
                (run / "url").write_text(server.url)
            except elasticsearch.NoServerError as reason:
                (run / "reason").write_text(str(reason))
    if (run / "url").exists():
        return (run / "url").read_text()
    reason_text = f"no real Elasticsearch: {(run / 'reason').read_text()}"
    if os.environ.get(_NEEDED):
        pytest.fail(reason_text)
    pytest.skip(reason_text)


@pytest.fixture
def index_name() -> str:
    """A name that no other test uses."""
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def elasticsearch_index(elasticsearch_url: str, index_name: str) -> Iterator[str]:
    """The URL of a server on which everything called ``index_name`` is removed afterwards."""
    yield elasticsearch_url
    elasticsearch.remove(elasticsearch_url, index_name)

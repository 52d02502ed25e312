"""A real Elasticsearch for tests and benchmarks.

``CACHESYNC_TEST_ELASTICSEARCH_URL`` names one that runs; its indices called ``test-*`` and ``bench-*`` are ours then.
Else Elastic's own server is fetched from Maven Central and started, or, where that can't be, its image where a Docker
engine answers.

    python -m tests.support.elasticsearch     # start one and keep it until Ctrl-C

``CACHESYNC_TEST_ELASTICSEARCH_VERSION`` chooses another version than the latest that is tried.
"""

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tests.support.guardian import CONTAINER, PID, guarded, stop
from tests.support.secured import ADMIN, Security, basic

VERSION: Final = os.environ.get("CACHESYNC_TEST_ELASTICSEARCH_VERSION") or "9.5.3"
MIN_JAVA: Final = 21
URL_VARIABLE: Final = "CACHESYNC_TEST_ELASTICSEARCH_URL"
HEAP: Final = "1g"
_COMPILER: Final = "-XX:TieredStopAtLevel=1" if "PYTEST_VERSION" in os.environ else ""
"""A server of tests ends before Java's optimizing compiler has earned what it costs, a third of the server's CPU.
Benchmarks want it."""

_ARTIFACT: Final = "org.elasticsearch.distribution.integ-test-zip:elasticsearch"
_COPY: Final = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
_NOBODY: Final = 65534
_START_SECONDS: Final = 300.0
_STARTED: Final = ("sh", "-c", 'echo $$ >"$0.new" && mv "$0.new" "$0" && exec "$@"')
"""Starts a program once its process id is known in a file, so that nobody can miss one that runs."""
_SETTINGS: Final = {
    "discovery.type": "single-node",
    "network.host": "127.0.0.1",
    "cluster.name": "cachesync-tests",
    "xpack.security.enabled": "false",
    "cluster.routing.allocation.disk.threshold_enabled": "false",
}


class NoServerError(Exception):
    """No Elasticsearch can be had here; the text says why."""


class Server:
    """A server that we started. It can be killed and started again on the same port with the same data.

    Its folder is one in a guarded folder. While it runs, or is being started, the file ``pid`` in it says whom to stop.
    """

    def __init__(self, folder: Path, security: Security | None = None, data: Path | None = None) -> None:
        """Lay out a server's configuration and data in ``folder``; the download is shared between runs.

        ``data`` is a folder for the data alone, such as one in memory.

        Raises:
            NoServerError: what it needs isn't here.
        """
        self._security = security
        self._java = _java_home()
        self._home = _distribution()
        self._folder = folder
        self.port = free_port()
        self.url = f"{'https' if security else 'http'}://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        config = folder / "config"
        shutil.copytree(self._home / "config", config)
        settings = {
            **_SETTINGS,
            "http.port": str(self.port),
            "transport.port": str(free_port()),
            "path.data": str(data or folder / "data"),
            "path.logs": str(folder / "logs"),
            **(security.install(config) if security else {}),
        }
        (config / "elasticsearch.yml").write_text("".join(f"{key}: {value}\n" for key, value in settings.items()))
        if os.geteuid() == 0:
            folder.chmod(0o755)
            for path in (folder, *folder.rglob("*"), *([data] if data else [])):
                os.chown(path, _NOBODY, _NOBODY)

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises:
            NoServerError: it ended, or didn't answer in time.
        """
        command = [str(self._home / "bin/elasticsearch")]
        if os.geteuid() == 0:  # it refuses to run as root
            command = ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", *command]
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._folder),
            "ES_JAVA_HOME": str(self._java),
            "ES_JAVA_OPTS": f"-Xms{HEAP} -Xmx{HEAP} {_COMPILER}",
            "ES_PATH_CONF": str(self._folder / "config"),
        }
        with (self._folder / "output.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*_STARTED, str(self._folder / PID), *command],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(self.url, self._security):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                tail = (self._folder / "output.log").read_text(errors="replace")[-1500:]
                raise NoServerError(f"Elasticsearch {VERSION} did not start:\n{tail}")
            time.sleep(0.2)

    def disown(self) -> None:
        """Leave the server to whoever knows its process, also after this one has ended."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # that it still runs
            self._process = None

    def kill(self) -> None:
        """End the server at once, as a crash would."""
        if self._process:
            stop(self._process.pid)
            self._process.wait()
            (self._folder / PID).unlink(missing_ok=True)


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Lend a server for as long as the block lasts, and yield its URL.

    Raises:
        NoServerError: none can be had.
    """
    if url := os.environ.get(URL_VARIABLE):
        yield url
        return
    with guarded() as folder:
        yield _started(folder / "plain")


def _started(folder: Path) -> str:
    """Start a server, by whatever way there is, and return its URL."""
    folder.mkdir()
    try:
        one = Server(folder)
        one.start()
    except NoServerError as reason:
        url = _container(folder)
        if url is None:
            raise NoServerError(f"{reason}; and no Docker engine answers") from None
        return url
    one.disown()
    return one.url


def request(
    url: str, method: str = "GET", body: Any = None, security: Security | None = None, user: str = ADMIN
) -> Any:
    """Ask a server directly, past every client; one with ``security`` as a user, by default one who may do anything."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} | ({"Authorization": basic(user)} if security else {})
    asked = urllib.request.Request(url, data, headers, method=method)
    with urllib.request.urlopen(asked, timeout=30, context=security.context() if security else None) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def remove(url: str, name: str, security: Security | None = None) -> None:
    """Remove every index whose name starts with ``name``."""
    pattern = f"{url}/_cat/indices/{name}*?format=json&h=index&expand_wildcards=all"
    for each in request(pattern, security=security):
        request(f"{url}/{each['index']}?ignore_unavailable=true", "DELETE", security=security)


def _answers(url: str, security: Security | None = None) -> bool:
    try:
        health = request(f"{url}/_cluster/health", security=security)
        return bool(health["status"] in ("green", "yellow"))
    except (OSError, http.client.HTTPException, ValueError):
        return False


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _java_home() -> Path:
    """Find a JDK that is new enough and has the module that Elasticsearch wants."""
    named = [Path(os.environ[name]) for name in ("ES_JAVA_HOME", "JAVA_HOME") if os.environ.get(name)]
    on_path = shutil.which("java")
    found = [
        *named,
        *([Path(on_path).resolve().parents[1]] if on_path else []),
        *sorted(Path("/usr/lib/jvm").glob("*")),
    ]
    for home in found:
        release = home / "release"
        text = release.read_text() if release.is_file() else ""
        version = re.search(r'JAVA_VERSION="(\d+)', text)
        if version and int(version[1]) >= MIN_JAVA and "jdk.incubator.vector" in text:
            return home
    raise NoServerError(f"Elasticsearch {VERSION} needs a JDK of version {MIN_JAVA} or newer, and none was found")


def _distribution() -> Path:
    """Return the unpacked server, fetched once for all runs on this machine."""
    home = Path(tempfile.gettempdir()) / f"cachesync-elasticsearch-{VERSION}-{os.geteuid()}"
    if home.is_dir() and home.stat().st_uid == os.geteuid():
        return home
    if not shutil.which("mvn"):
        raise NoServerError("fetching Elasticsearch needs mvn, and there is none")
    with tempfile.TemporaryDirectory(dir=home.parent) as folder:
        fetch = ["mvn", "-q", "-B", _COPY, f"-Dartifact={_ARTIFACT}:{VERSION}:zip", f"-DoutputDirectory={folder}"]
        fetched = subprocess.run(fetch, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if fetched.returncode:
            raise NoServerError(f"mvn could not fetch Elasticsearch {VERSION}: {fetched.stdout[-300:]}")
        with zipfile.ZipFile(Path(folder) / f"elasticsearch-{VERSION}.zip") as archive:
            archive.extractall(folder)
        unpacked = Path(folder) / f"elasticsearch-{VERSION}"
        for program in (unpacked / "bin").iterdir():
            program.chmod(0o755)
        with contextlib.suppress(OSError):  # another run was first
            unpacked.rename(home)
    return home


def _container(folder: Path) -> str | None:
    """Start Elastic's image where a Docker engine answers, and return its URL."""
    docker = shutil.which("docker")
    if not docker or subprocess.run([docker, "info"], check=False, capture_output=True).returncode:
        return None
    port = free_port()
    options = [part for key, value in _SETTINGS.items() if key != "network.host" for part in ("-e", f"{key}={value}")]
    name = f"cachesync-tests-{port}"
    (folder / CONTAINER).write_text(name)
    run = [docker, "run", "-d", "--rm", "--name", name, "-p", f"127.0.0.1:{port}:9200", *options]
    if subprocess.run([*run, f"elasticsearch:{VERSION}"], check=False, capture_output=True).returncode:
        return None
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + _START_SECONDS
    while not _answers(url) and time.monotonic() < deadline:
        time.sleep(0.5)
    return url


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))  # else the server would be left behind
    with server() as running:
        sys.stdout.write(f"{running}\n")
        sys.stdout.flush()
        signal.pause()

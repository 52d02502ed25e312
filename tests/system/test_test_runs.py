"""Test runs themselves: they need nothing around them, and what they start ends with them, however that comes about."""

import ast
import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.support.checkout import PROJECT
from tests.support.elasticsearch import URL_VARIABLE, request
from tests.support.guardian import memory
from tests.support.service import children, until

pytestmark = pytest.mark.surroundings

_TEST: Final = """
    import json, os, signal
    from pathlib import Path

    def test_that_never_ends({fixtures}):
        urls = [getattr(each, "url", each) for each in ({fixtures},)]
        told = {{"run": os.environ["CACHESYNC_TEST_RUN"], "pid": os.getpid(), "urls": urls}}
        Path("{told}.new").write_text(json.dumps(told))
        os.rename("{told}.new", "{told}")
        signal.pause()
"""

_SERVER: Final = """\
#!{python}
import http.server, json, os, subprocess
child = subprocess.Popen(["sleep", "1000"])

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({{"status": "green", "pids": [os.getpid(), child.pid]}}).encode())
    log_message = print

config = dict(line.strip().split(": ", 1) for line in open(os.environ["ES_PATH_CONF"] + "/elasticsearch.yml"))
os.makedirs(config["path.data"] + "/nodes")
http.server.HTTPServer(("127.0.0.1", int(config["http.port"])), Handler).serve_forever()
"""
"""Answers what is asked of a server before it counts as started. Like the real one, it is more than one process."""

_SETPRIV: Final = """\
#!/bin/sh
while [ "${1#--}" != "$1" ]; do shift; done
exec "$@"
"""


@pytest.fixture
def fake(tmp_path: Path) -> dict[str, str]:
    """What makes a test run take a small program for Elasticsearch."""
    home = tmp_path / f"cachesync-elasticsearch-fake-{os.geteuid()}"
    for folder in (home / "bin", home / "config", tmp_path / "java", tmp_path / "bin"):
        folder.mkdir(parents=True)
    (tmp_path / "java/release").write_text('JAVA_VERSION="25"\nMODULES="jdk.incubator.vector"\n')
    for program, text in {home / "bin/elasticsearch": _SERVER, tmp_path / "bin/setpriv": _SETPRIV}.items():
        program.write_text(text.replace("{python}", sys.executable).replace("{{", "{").replace("}}", "}"))
        program.chmod(0o755)
    return {
        "TMPDIR": str(tmp_path),
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "ES_JAVA_HOME": str(tmp_path / "java"),
        "CACHESYNC_TEST_ELASTICSEARCH_VERSION": "fake",
        "CACHESYNC_TEST_NEEDS_ELASTICSEARCH": "1",
    }


def environment(**variables: str) -> dict[str, str]:
    """Our own environment, but for what would keep a run from starting servers."""
    return {name: value for name, value in os.environ.items() if name != URL_VARIABLE} | variables


class Run(NamedTuple):
    """A test run in the middle of its only test."""

    process: subprocess.Popen[bytes]
    folder: Path
    urls: list[str]
    worker: int
    """The process that runs the test."""


@contextlib.contextmanager
def begun(folder: Path, fixtures: str, *options: str, **variables: str) -> Iterator[Run]:
    """Begin a run in a process group of its own, and wait until its test has what it wants."""
    file, told, output = folder / "test_that.py", folder / "told", folder / "output"
    file.write_text(textwrap.dedent(_TEST).format(fixtures=fixtures, told=told))
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-c", "pyproject.toml", *options, str(file)]
    with (
        output.open("wb") as out,
        subprocess.Popen(
            ["env", "--default-signal=HUP", "sh", "-c", '"$@"; exit $?', "sh", *command],
            cwd=PROJECT,
            env=environment(**variables),
            stdout=out,
            stderr=out,
            start_new_session=True,
        ) as process,
    ):
        try:
            until(lambda: told.exists() or process.poll() is not None, output.read_text, seconds=180)
            if not told.exists() and "1 skipped" in output.read_text():
                pytest.skip("no real Elasticsearch")
            assert told.exists(), output.read_text()
            found = json.loads(told.read_text())
            yield Run(process, Path(found["run"]), found["urls"], found["pid"])
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


WAYS: Final[dict[str, Callable[[Run], object]]] = {
    "pytest is killed": lambda run: os.kill(children(run.process.pid)[0], signal.SIGKILL),
    "pytest is terminated": lambda run: os.kill(children(run.process.pid)[0], signal.SIGTERM),
    "what started it is killed with all": lambda run: os.killpg(run.process.pid, signal.SIGKILL),
    "all are terminated": lambda run: os.killpg(run.process.pid, signal.SIGTERM),
    "the terminal is closed": lambda run: os.killpg(run.process.pid, signal.SIGHUP),
    "the process that runs the test is killed": lambda run: os.kill(run.worker, signal.SIGKILL),
}


@pytest.mark.parametrize("workers", ["0", "1"])
@pytest.mark.parametrize("way", WAYS)
def test_servers_end_with_their_run(tmp_path: Path, fake: dict[str, str], way: str, workers: str) -> None:
    with begun(tmp_path, "elasticsearch_url, mortal", "-n", workers, **fake) as run:
        health = [request(f"{url}/_cluster/health") for url in run.urls]
        processes = [os.pidfd_open(pid) for each in health for pid in each["pids"]]
        assert len(processes) == 4
        assert run.folder.parent == tmp_path
        WAYS[way](run)
        all_end(processes)
        nothing_stays(run.folder)


def test_a_real_server_ends_with_its_run(tmp_path: Path) -> None:
    with begun(tmp_path, "elasticsearch_url") as run:
        launcher = int((run.folder / "plain-server/pid").read_text())
        processes = [os.pidfd_open(pid) for pid in (launcher, *children(launcher))]
        os.kill(run.worker, signal.SIGKILL)
        all_end(processes)
        nothing_stays(run.folder)
        with pytest.raises(OSError, match="refused"):
            request(run.urls[0])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_started_by_hand_ends_with_its_command(
    tmp_path: Path, fake: dict[str, str], number: signal.Signals
) -> None:
    command = [sys.executable, "-m", "tests.support.elasticsearch"]
    with subprocess.Popen(command, cwd=PROJECT, env=environment(**fake), stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout
        health = request(f"{running.stdout.readline().strip()}/_cluster/health")
        (folder,) = tmp_path.glob("cachesync-tests-*")
        processes = [os.pidfd_open(pid) for pid in health["pids"]]
        running.send_signal(number)
        all_end(processes)
        nothing_stays(folder)
        assert running.wait(60) == (-9 if number == signal.SIGKILL else 0)


def test_a_container_ends_with_its_command(tmp_path: Path, fake: dict[str, str]) -> None:
    """Where no server can be fetched, an image is started; Docker is a program that notes what it is asked for."""
    log = tmp_path / "docker.log"
    for name, text in {"docker": f'echo "$@" >>{log}', "mvn": "exit 1"}.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    script = """
        from tests.support import elasticsearch
        elasticsearch._answers = lambda *_: True
        with elasticsearch.server() as url:
            print(url)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=PROJECT,
        env=environment(**fake | {"CACHESYNC_TEST_ELASTICSEARCH_VERSION": "not-there"}),
        capture_output=True,
        text=True,
        check=True,
    )
    name = f"cachesync-tests-{done.stdout.strip().rpartition(':')[2]}"
    asked = log.read_text().splitlines()
    assert f" --name {name} " in asked[-2]
    assert asked[-1] == f"kill {name}"


_INTERRUPTS: Final = """
    import os, signal, subprocess

    def test_what_it_starts_can_be_interrupted():
        os.kill(os.getpid(), signal.SIGINT)
        with subprocess.Popen(["sleep", "30"]) as started:
            started.send_signal(signal.SIGINT)
            assert started.wait() == -signal.SIGINT
"""


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_run_that_ignores_interrupts_starts_programs_that_do_not(tmp_path: Path, workers: str) -> None:
    """As in a background job of a shell without job control."""
    (tmp_path / "test_that.py").write_text(textwrap.dedent(_INTERRUPTS))
    options = ["-p", "tests.conftest", "-c", "pyproject.toml", "-n", workers, str(tmp_path / "test_that.py")]
    script = 'trap "" INT; exec "$@"'
    done = subprocess.run(
        ["sh", "-c", script, "sh", sys.executable, "-m", "pytest", *options],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


_SURROUNDINGS: Final = {"SIGINT", "openpty", "on_terminal", "REAL_PAGES", "VERSION_ORDER"}
"""Names by which tests reach for a terminal, an interrupt or the folder beside the checkout."""


def test_what_depends_on_the_surroundings_is_marked() -> None:
    """`.ci/run` tries the marked ones in other surroundings too."""
    lacking = [
        f"{file.name}: {name}"
        for file in sorted((PROJECT / "tests").rglob("test_*.py"))
        if not re.search(r"^pytestmark = \[?\s*pytest\.mark\.surroundings", file.read_text(), re.MULTILINE)
        for name in _lacking(ast.parse(file.read_text()))
    ]
    assert not lacking


def _lacking(tree: ast.Module) -> list[str]:
    """Return the tests of a module that reach for the surroundings, also through its other functions, and lack a mark."""
    functions = {each.name: each for each in tree.body if isinstance(each, ast.FunctionDef)}
    reaching: set[str] = set()
    while more := {name for name, each in functions.items() if _names(each) & (_SURROUNDINGS | reaching)} - reaching:
        reaching |= more
    marks = {"pytest.mark.surroundings", "needs_real_pages", "needs_version_order"}
    marked = {name for name, each in functions.items() if marks & set(map(ast.unparse, each.decorator_list))}
    return sorted(name for name in reaching - marked if name.startswith("test_"))


def _names(tree: ast.AST) -> set[str]:
    """Return every name and attribute in a piece of code."""
    named = {each.id for each in ast.walk(tree) if isinstance(each, ast.Name)}
    return named | {each.attr for each in ast.walk(tree) if isinstance(each, ast.Attribute)}


def all_end(processes: list[int]) -> None:
    """Wait until processes have ended; we are given file descriptors of them."""
    for each in processes:
        ended, _, _ = select.select([each], [], [], 60)
        assert ended, "a server goes on without its run"
        os.close(each)


def nothing_stays(folder: Path) -> None:
    """Wait until what belonged to a run is removed."""

    def left() -> list[Path]:
        return [*folder.parent.glob(f"{folder.name}*"), *filter(Path.exists, [memory(folder)])]

    until(lambda: not left(), lambda: f"these to be removed: {left()}")

"""What nobody has thought of: it is one line of the log, wherever it happens, and the service goes on if it can."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.pages import entry, page, put
from tests.support.sandbox import Sandbox
from tests.support.service import PATIENCE, Service, children, until

DEFECT = "internal error: this is a bug in cachesync, please report it"

_PLANT = """
import sys

def plant(owner, name, times=1):
    real, left = getattr(owner, name), [times]

    def faulty(*arguments, **named):
        if left[0]:
            left[0] -= 1
            raise ValueError("planted")
        return real(*arguments, **named)

    setattr(owner, name, faulty)

if sys.orig_argv[-1] in ("run", "sync"):
    {}
"""


def planted(folder: Path, *lines: str) -> dict[str, str]:
    """The environment in which Python does this before it runs cachesync."""
    (folder / "sitecustomize.py").write_text(_PLANT.format("\n    ".join(lines)))
    return {"PYTHONPATH": f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}


def only_defect(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """The line that tells of the defect; all that was written has the form of the log."""
    assert all("log.level" in line for line in lines), lines
    (line,) = [line for line in lines if "planted" in str(line.get("error.stack_trace"))]
    return line


@pytest.mark.parametrize(
    "fault",
    [
        ("from cachesync.index.embedded import EmbeddedIndex", "plant(EmbeddedIndex, 'writer')"),
        ("from cachesync.index.embedded import EmbeddedIndex", "plant(EmbeddedIndex, 'notes')"),
        ("from cachesync.service.scheduler import Scheduler", "plant(Scheduler, '_due')"),
        ("from cachesync.service.session import Resources", "plant(Resources, 'mark_dirty')"),
        ("from cachesync.service.session import Resources", "plant(Resources, 'publish_watching')"),
        ("from cachesync.watch import watcher", "plant(watcher, '_start')"),
    ],
    ids=lambda fault: fault[1],
)
def test_a_service_goes_on(embedded: Sandbox, fault: tuple[str, str]) -> None:
    put(embedded.root, page(entry("h1")))
    with Service(embedded, **planted(embedded.folder, *fault)) as service:
        until(lambda: service.said(DEFECT), "the defect")
        service.caught_up()
        put(embedded.root, page(entry("h2")))
        service.converges()
        assert only_defect(service.lines)["message"] == DEFECT
        service.kill()


@pytest.mark.parametrize(
    "fault",
    [
        ("from cachesync.service.supervisor import Supervisor", "plant(Supervisor, 'tend')"),
        ("from cachesync.service.supervisor import Supervisor", "plant(Supervisor, 'start')"),
        ("from cachesync.watch.watcher import Watcher", "plant(Watcher, 'start')"),
        ("from cachesync.sync import full_sync", "plant(full_sync, 'sync')"),
    ],
    ids=lambda fault: fault[1],
)
def test_what_cannot_go_on_ends_with_its_code(embedded: Sandbox, fault: tuple[str, str]) -> None:
    command = "sync" if "full_sync" in fault[0] else "run"
    environment = {**os.environ, "CACHESYNC_HTTP__PORT": "0", "CACHESYNC_LOG__FORMAT": "console"}
    done = subprocess.run(
        embedded.command(command),
        env={**environment, **planted(embedded.folder, *fault)},
        cwd=embedded.folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 3
    assert done.stderr.count(DEFECT) == 1
    assert done.stderr.count("ValueError: planted") == 1
    assert not [line for line in done.stderr.splitlines() if line.startswith(("Traceback", "Exception", "ValueError"))]


def test_an_answer_that_fails_is_one_line_too(embedded: Sandbox) -> None:
    fault = "from cachesync.service import state", "plant(state, '_waiting_for')"
    with Service(embedded, **planted(embedded.folder, *fault)) as service:
        until(lambda: service.get("/readyz")[0] == 200, "the service to be ready")
        assert service.get("/api/status")[0] == 500
        assert service.get("/api/status")[0] == 200
        until(lambda: service.said(DEFECT), "the defect, which is logged once the answer was sent")
        assert only_defect(service.lines)["message"] == DEFECT
        service.kill()


def test_what_fails_in_the_loop_of_the_web_server_has_the_form_of_the_log(embedded: Sandbox) -> None:
    fault = "from cachesync.web.connection import HttpConnection", "plant(HttpConnection, 'data_received')"
    with Service(embedded, **planted(embedded.folder, *fault)) as service:
        with contextlib.suppress(OSError):
            service.get("/healthz")
        assert service.get("/healthz")[0] == 200
        assert only_defect(service.lines)["log.logger"] == "asyncio"
        service.kill()


def test_nothing_keeps_the_process_once_it_has_stopped(embedded: Sandbox) -> None:
    """Neither what libraries do at the end nor the interpreter's own."""
    at_the_end = "import atexit, time", f"atexit.register(time.sleep, {2 * PATIENCE:.0f})"
    with Service(embedded, **planted(embedded.folder, *at_the_end)) as service:
        service.caught_up()
        assert service.stop() == 0
        assert service.lines[-1]["message"] == "stopped"


_LEAVE = """
import ctypes, os, sys
if os.getpid() != 1:
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: who has lost his parent is ours, as if we were 1
os.mkfifo("end")
for generation in "child", "orphan":
    if os.fork() == 0:
        if generation == "orphan" or os.fork() == 0:
            os.closerange(0, 3)
            open("end").read()
        os._exit(7)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Leaves two children to what it becomes, one of them by way of a parent that has ended; they end when told to."""


def zombies(pid: int) -> list[str]:
    stats = [each.read_text() for each in Path("/proc").glob("[0-9]*/stat") if each.exists()]
    parts = [stat.rpartition(")")[2].split() for stat in stats]
    return [state for state, parent, *_ in parts if parent == str(pid) and state == "Z"]


@pytest.mark.parametrize("as_first", [False, True])
def test_orphans_are_no_zombies_for_long(embedded: Sandbox, as_first: bool) -> None:
    if as_first and os.geteuid() != 0:
        pytest.skip("only root can be the first process of a namespace of its own")
    first = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"] if as_first else []
    with Service(embedded, *first, sys.executable, "-c", _LEAVE) as service:
        service.caught_up()
        pid = children(service.pid)[0] if as_first else service.pid
        assert len(children(pid)) == 3, "two that were left to it, and its watcher"
        (embedded.folder / "end").write_text("")
        until(lambda: len(children(pid)) == 1, "both to be reaped")
        watcher = children(pid)[0]
        os.kill(watcher, 9)
        until(lambda: [each for each in children(pid) if each != watcher], "another watcher")
        until(lambda: "signal 9" in str(service.said("pages are not watched")), "how the watcher ended")
        until(lambda: not zombies(pid), "the watcher to be reaped")
        if as_first:
            os.kill(pid, 15)
            until(lambda: service.said("stopped"), "its end")
            service.kill()

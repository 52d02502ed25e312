"""Commands that are killed at one change of the world's state, which a number names.

A *step* is something that a command asks of the world: a request to Elasticsearch, or a system call that changes a file
of an embedded index. A command that is cut at step N is killed (SIGKILL) before that step happens and after all those
before it. Steps go one after the other, so "after step N" is "before step N + 1".
"""

import contextlib
import itertools
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from multiprocessing.reduction import recv_handle
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from tests.hostile import calls, forked
from tests.support.proxy import Answer, Cut, Proxy, Request
from tests.support.sandbox import Sandbox

_SECONDS: Final = 60.0
"""How long a command may take."""


class Done(NamedTuple):
    """What came of a command."""

    code: int
    """Its exit code; that of a signal is negative."""
    steps: list[str]
    """The steps that it came to; if it was killed, it was at the last."""
    printed: str

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL


class Killer(Protocol):
    """Runs commands, and kills them at a step."""

    def run(self, *arguments: str, at: int | None = None) -> Done:
        """Run a command, and kill it when it comes to step ``at``; the first one is 1."""

    def deliver(self) -> None:
        """Let the last step that a command was killed at happen now: a request is on its way though its sender is dead."""


class Requests:
    """Steps are requests to Elasticsearch, those that only read among them."""

    def __init__(self, sandbox: Sandbox, proxy: Proxy) -> None:
        self._sandbox = sandbox
        self._proxy = proxy
        self._one_by_one = threading.Lock()
        self._process: ForkServerProcess | None = None
        self._at: int | None = None
        self._steps: list[str] = []
        self._killed = False
        self._lost: Request | None = None
        proxy.deed = self._deed

    def run(self, *arguments: str, at: int | None = None) -> Done:
        with _program(self._sandbox, arguments) as process:
            self._process, self._at, self._steps, self._killed = process, at, [], False
            try:
                process.start()
                return _ended(process, self._sandbox, self._steps, time.monotonic() + _SECONDS)
            finally:
                with self._one_by_one:  # a request that is being answered needs it until then
                    self._process = None

    def deliver(self) -> None:
        assert self._lost
        self._proxy.send(self._lost)

    def _deed(self, request: Request) -> Answer | None:
        with self._one_by_one:
            if self._process is None:
                return None
            self._steps.append(f"{request.method} {request.path.replace(self._sandbox.name, 'NAME')}")
            if len(self._steps) == self._at:
                self._process.kill()
                self._killed, self._lost = True, request
            if self._killed:
                raise Cut
            return self._proxy.send(request)


def is_reading(request: str) -> bool:
    """Tell whether a request leaves the index as it is."""
    method, _, path = request.partition(" ")
    last = path.partition("?")[0].rpartition("/")[2]
    return method == "GET" or last in ("_search", "_mget", "_pit", "_has_privileges")


class Calls:
    """Steps are the system calls that change files of an embedded index, of all threads."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def run(self, *arguments: str, at: int | None = None) -> Done:
        ours, its = _FORKING.Pipe()
        with ours, its, _program(self._sandbox, arguments, its) as process:
            process.start()
            its.close()  # or nobody would hear that the process has ended
            deadline = time.monotonic() + _SECONDS
            listener = _listener(self._sandbox, ours, deadline)
            try:
                assert process.pid
                numbers = itertools.count(1)
                is_last = lambda _call: next(numbers) == at  # noqa: E731  it is used once
                steps = [*calls.until(process.pid, listener, self._sandbox.index, is_last, deadline)]
            finally:
                os.close(listener)
            return _ended(process, self._sandbox, steps, deadline)

    def deliver(self) -> None:
        raise AssertionError("a system call ends with its process")


class Victim(Protocol):
    """A service that is killed at a step of what it does from some moment on."""

    steps: list[str]
    """What it has done since that moment, changes alone."""

    def kill_at(self, number: int | None) -> None:
        """Count steps from now on, and kill it before that one."""

    @property
    def is_dead(self) -> bool:
        """It was killed."""

    def end(self) -> None:
        """Kill it, if it still runs."""


class VictimOfRequests:
    """Its steps are the requests by which it changes something in Elasticsearch."""

    def __init__(self, sandbox: Sandbox, proxy: Proxy) -> None:
        """``sandbox`` is its own, on the proxy."""
        self.steps: list[str] = []
        self._proxy = proxy
        self._at: int | None = None
        self._counts = self._dead = False
        self._one_by_one = threading.Lock()
        proxy.deed = self._deed
        self._running = _program(sandbox, ["run"])
        self._process = self._running.__enter__()
        self._process.start()

    def kill_at(self, number: int | None) -> None:
        with self._one_by_one:
            self.steps.clear()
            self._at, self._counts = number, True

    @property
    def is_dead(self) -> bool:
        return self._process.exitcode is not None

    def end(self) -> None:
        self._running.__exit__(None, None, None)

    def _deed(self, request: Request) -> Answer | None:
        with self._one_by_one:
            step = f"{request.method} {request.path}"
            if self._counts and not is_reading(step) and not self._dead:
                self.steps.append(f"{step} {request.body[:200]!r}")
                if len(self.steps) == self._at:
                    self._process.kill()
                    self._dead = True
            if self._dead:
                raise Cut
            return self._proxy.send(request)


class VictimOfCalls:
    """Its steps are the system calls by which it changes files of an embedded index."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.steps: list[str] = []
        self._at: int | None = None
        self._counts = False
        ours, its = _FORKING.Pipe()
        self._running = _program(sandbox, ["run"], its)
        self._process = self._running.__enter__()
        self._process.start()
        its.close()
        self._listener = _listener(sandbox, ours, time.monotonic() + _SECONDS)
        ours.close()
        self._thread = threading.Thread(target=self._follow, args=(sandbox.index,), daemon=True)
        self._thread.start()

    def kill_at(self, number: int | None) -> None:
        self.steps.clear()
        self._at, self._counts = number, True

    @property
    def is_dead(self) -> bool:
        return self._process.exitcode is not None

    def end(self) -> None:
        self._running.__exit__(None, None, None)
        self._thread.join(_SECONDS)
        os.close(self._listener)

    def _follow(self, folder: Path) -> None:
        assert self._process.pid
        for _ in calls.until(self._process.pid, self._listener, folder, self._is_last):
            pass

    def _is_last(self, call: str) -> bool:
        if not self._counts:
            return False
        self.steps.append(call)
        return len(self.steps) == self._at


def _listener(sandbox: Sandbox, ours: Connection, deadline: float) -> int:
    """Wait until a process has said where its calls are answered."""
    sent = ours.poll(max(0, deadline - time.monotonic()))
    assert sent, f"no handle for its calls after {_SECONDS:g} s. It printed: {_read(sandbox)!r}"
    try:
        return recv_handle(ours)
    except (EOFError, RuntimeError, ConnectionError) as error:
        reason = f"it ended before it sent the handle for its calls. It printed: {_read(sandbox)!r}"
        raise AssertionError(reason) from error


_FORKING: Final = multiprocessing.get_context("forkserver")
_FORKING.set_forkserver_preload(forked.LOADED)


@contextlib.contextmanager
def _program(
    sandbox: Sandbox, arguments: Sequence[str], listener: Connection | None = None
) -> Iterator[ForkServerProcess]:
    """Prepare the program, which is ended with the block at the latest."""
    _printed(sandbox).unlink(missing_ok=True)
    told = ["-c", str(sandbox.config), *arguments]
    process = _FORKING.Process(target=forked.command, args=(told, sandbox.folder, _printed(sandbox), listener))
    try:
        yield process
    finally:
        if process.pid:
            process.kill()
            process.join()
        process.close()


def _printed(sandbox: Sandbox) -> Path:
    return sandbox.folder / "printed"


def _read(sandbox: Sandbox) -> str:
    file = _printed(sandbox)
    return file.read_text(errors="replace") if file.exists() else ""


def _ended(process: ForkServerProcess, sandbox: Sandbox, steps: list[str], deadline: float) -> Done:
    process.join(max(0, deadline - time.monotonic()))
    assert process.exitcode is not None, (
        f"still running after {_SECONDS:g} s and step {len(steps)}, {steps[-1:]}. It printed: {_read(sandbox)!r}"
    )
    printed = _read(sandbox)
    assert "Traceback" not in printed, printed
    return Done(process.exitcode, steps, printed)

""".ci/run tries the project where there is nothing but it, and what depends on its surroundings where there is more."""

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.checkout import PROJECT
from tests.support.service import until

pytestmark = [
    pytest.mark.surroundings,
    pytest.mark.skipif(not (PROJECT / ".ci/run").exists(), reason="a package has no .ci"),
    *(
        pytest.mark.skipif(not shutil.which(program), reason=f"there is no {program}")
        for program in ("git", "script", "setsid")
    ),
]

_MAKE: Final = """\
#!{python}
import json, os, signal, sys

def has_terminal():
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        return any(map(os.isatty, range(3)))
    return True

arguments = sys.argv[1:]
folder = arguments[arguments.index("-C") + 1] if "-C" in arguments else os.getcwd()
seen = {
    "arguments": [each for each in arguments if each not in ("-C", folder)],
    "pid": os.getpid(),
    "folder": folder,
    "is a clone": os.path.exists(folder + "/.git") and os.path.exists(folder + "/Makefile"),
    "beside it": os.listdir(os.path.dirname(folder)),
    "at home": os.listdir(os.environ["HOME"]),
    "for others": os.stat(os.path.dirname(os.path.dirname(folder))).st_mode & 0o5 == 0o5,
    "terminal": has_terminal(),
    "ignores interrupts": signal.getsignal(signal.SIGINT) == signal.SIG_IGN,
    "needs": sorted(name for name in os.environ if name.startswith("CACHESYNC_TEST_NEEDS_")),
}
with open("{log}", "a") as log:
    log.write(json.dumps(seen) + "\\n")
if "waits" in os.environ:
    signal.pause()
sys.exit(os.environ.get("fails") in seen["arguments"])
"""
"""Notes where it is called, instead of making anything."""


class Script:
    """A clone with the script in it, a folder beside it, and a ``make`` that notes how it is called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._log = folder / "log"
        self.temporary = folder / "tmp"
        checkout = folder / "work/cachesync"
        for each in (
            checkout / ".ci",
            folder / "work/shared",
            folder / "home/something",
            folder / "bin",
            self.temporary,
        ):
            each.mkdir(parents=True)
        for name in (".ci/run", "Makefile"):
            shutil.copy(PROJECT / name, checkout / name)
        for name in ("make", "chromium", "mvn", "promtool", "systemd-analyze", "nginx", "caddy"):
            program = folder / "bin" / name
            program.write_text(_MAKE.replace("{python}", sys.executable).replace("{log}", str(self._log)))
            program.chmod(0o755)
        commit = ["-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--quiet", "-m", "all"]
        for command in (["init", "--quiet"], ["add", "."], commit):
            subprocess.run(["git", *command], cwd=checkout, check=True)
        self.checkout = checkout

    @contextlib.contextmanager
    def running(self, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
        """Start it, whatever signals are ignored where the tests were started from; it doesn't outlive the block."""
        environment = {
            **os.environ,
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(self.temporary),
            **variables,
        }
        command: list[str | Path] = ["env", "--default-signal", self.checkout / ".ci/run"]
        with subprocess.Popen(command, cwd=self.folder, env=environment, start_new_session=True) as process:
            try:
                yield process
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def seen(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._log.read_text().splitlines()] if self._log.exists() else []


@pytest.fixture
def script(tmp_path: Path) -> Script:
    return Script(tmp_path)


def test_everything_is_made_and_the_tests_run_alone_first(script: Script) -> None:
    with script.running() as running:
        assert running.wait(60) == 0
    seen = script.seen()
    assert [each["arguments"] for each in seen] == [
        ["lint"],
        ["test", "TESTS="],
        ["test", "TESTS=-m surroundings"],
        ["test-es8"],
        ["package"],
    ]
    needed = [f"CACHESYNC_TEST_NEEDS_{each}" for each in ("BROWSER", "ELASTICSEARCH", "PROXIES")]
    assert [each["needs"] for each in seen] == [needed] * len(seen)
    alone, around = seen[1:3]
    assert (alone["is a clone"], alone["beside it"], alone["at home"]) == (True, ["cachesync"], [])
    assert alone["for others"], "tests let other users run the program"
    assert (alone["terminal"], alone["ignores interrupts"]) == (False, True)
    assert (around["folder"], sorted(around["beside it"])) == (str(script.checkout), ["cachesync", "shared"])
    assert (around["terminal"], around["ignores interrupts"]) == (True, False)
    assert not list(script.temporary.iterdir())


@pytest.mark.parametrize("target", ["lint", "TESTS=", "TESTS=-m surroundings", "test-es8", "package"])
def test_what_fails_ends_it(script: Script, target: str) -> None:
    with script.running(fails=target) as running:
        assert running.wait(60) != 0
    assert target in script.seen()[-1]["arguments"]
    assert not list(script.temporary.iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_tests_that_run_alone_end_with_it(script: Script, number: signal.Signals) -> None:
    """They ignore interrupts, and a signal for its process group doesn't reach them."""
    make = script.folder / "bin/make"
    make.write_text(make.read_text().replace('"waits" in os.environ', '"TESTS=" in arguments'))
    with script.running() as running:
        until(lambda: len(script.seen()) == 2, "the tests to begin")
        alone = os.pidfd_open(script.seen()[1]["pid"])
        os.killpg(running.pid, number)
        assert running.wait(60) != 0
        with contextlib.closing(os.fdopen(alone)):
            assert select.select([alone], [], [], 60)[0], "the tests go on"
    until(lambda: not list(script.temporary.iterdir()), "its folders to be removed")

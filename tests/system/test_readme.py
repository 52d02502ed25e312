"""The README says what is so."""

import contextlib
import fcntl
import os
import pty
import re
import shlex
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import click
import pytest

from cachesync.cli import cachesync
from tests.support.checkout import PROJECT, Checkout
from tests.support.commands import commands_of
from tests.support.sandbox import Sandbox
from tests.support.service import children

README = (PROJECT / "README.md").read_text()
VARIES = re.compile(
    r"\d\d:\d\d:\d\d|(?<=url=)\S+|(?<=· )http\S+|(?<=seconds=)[\d.]+|(?<=folders=)\d+|(?<=_)(updated|added|deleted)=\d+"
)
"""What a log line says that is another each time: times, places, and what was changed by chance."""


def blocks(after: str) -> list[str]:
    return [block.strip("\n") for block in README.split(after)[1].split("```")[1::2]]


def example_pages(root: Path) -> None:
    subprocess.run([sys.executable, "-m", "examples.pages", root], check=True, cwd=PROJECT, capture_output=True)


@pytest.mark.surroundings
def test_its_first_example_prints_what_it_shows(embedded: Sandbox) -> None:
    """On a terminal, until Ctrl-C; the pages change by chance, so what lines say of that is left out."""
    example_pages(embedded.root)
    program = [sys.executable, "-m", "examples.live", str(embedded.root), *embedded.command("run")]
    assert "-m examples.live $(EXAMPLE) $(BIN)/cachesync run" in (PROJECT / "Makefile").read_text()
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 150, 0, 0))
    environment = {**os.environ, "CACHESYNC_HTTP__PORT": "0", "CACHESYNC_LOG__FORMAT": "console", "TERM": "xterm"}
    running = subprocess.Popen(program, cwd=PROJECT, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    printed = ""
    deadline = time.monotonic() + 60
    while "pass=partial" not in printed or "in sync" not in printed.rpartition("pass=partial")[2]:
        assert time.monotonic() < deadline, printed
        printed += os.read(ours, 65_536).decode()
    for pid in (running.pid, *children(running.pid)):  # as Ctrl-C reaches all of them
        os.kill(pid, signal.SIGINT)
    with contextlib.suppress(OSError):
        while more := os.read(ours, 65_536):
            printed += more.decode()
    os.close(ours)
    assert running.wait(60) == 0
    lines = [same(line) for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", printed).replace("\r", "\n").splitlines()]
    for shown in blocks("`make run` prints")[0].splitlines():
        assert same(shown) in lines, printed
    assert "Traceback" not in printed


def same(line: str) -> str:
    """A line without what is another each time."""
    line = VARIES.sub("…", line.strip())
    line = re.sub(r"(\b(pages|specs)_… )+", "… ", line)
    return re.sub(r"[\d,]+ (pages|specs)", r"… \1", line)


def test_its_search_prints_what_it_shows(sandbox: Sandbox) -> None:
    example_pages(sandbox.root)
    sandbox.run("sync")
    command, _, shown = blocks("in another terminal:")[0].partition("\n")
    arguments = shlex.split(command.removeprefix("$ .venv/bin/cachesync "))
    done = sandbox.run(*arguments)
    assert (done.stderr + done.stdout).strip("\n") == shown


def test_its_second_example_finds_something(tmp_path: Path) -> None:
    """In a checkout, as it stands there, but for the installation."""
    checkout = Checkout(tmp_path)
    checkout.fill("var/pages")
    install, script = blocks("## Use it")[0].split("\n", 1)
    assert install == "pip install ."
    printed = checkout.run(script).stdout
    assert "\nspecs  2,229 added" in printed
    assert int(re.findall(r"^(\d+) specs found", printed, re.MULTILINE)[0]) > 1


def test_every_command_and_every_make_target_is_there() -> None:
    rows = re.findall(r"^\| `cachesync ([a-z ]*[a-z])", README, re.MULTILINE)
    groups = {name: each for name, each in commands_of(cachesync).items() if isinstance(each, click.Group)}
    names = {name for name in commands_of(cachesync) if name not in groups}
    names |= {f"{name} {each}" for name, group in groups.items() for each in group.commands}
    assert set(rows) == names
    targets = re.findall(r"^(\w+):.*## ", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"\bmake (\w+) {2,}#|`make (\w+)`", README)) <= {(name, "") for name in targets} | {
        ("", name) for name in targets
    }

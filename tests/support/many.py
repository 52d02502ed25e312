"""Many runs of the program for little: each is forked from one process that has loaded it already."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

_SECONDS: Final = 60
"""So long may one run take."""

_RUN: Final = """
import json, os, signal, sys
import urllib3
from cachesync import cli
from cachesync.commands import diff, search, show, status
from cachesync.index import elastic, embedded
from cachesync.remote import server

seconds = int(sys.argv[1])
for line in sys.stdin:
    names = [os.memfd_create(name) for name in ("stdout", "stderr")]
    child = os.fork()
    if not child:
        signal.alarm(seconds)
        for number, file in enumerate(names, start=1):
            os.dup2(file, number)
        sys.argv[:] = ["cachesync", *map(os.fsdecode, map(bytes.fromhex, json.loads(line)))]
        code = cli.run()
        sys.stdout.flush()
        os._exit(code)
    _, status, used = os.wait4(child, 0)
    told = [os.pread(file, os.fstat(file).st_size, 0).decode(errors="backslashreplace") for file in names]
    print(json.dumps([os.waitstatus_to_exitcode(status), *told, used.ru_maxrss * 1024]), flush=True)
    for file in names:
        os.close(file)
"""


class Ran(NamedTuple):
    """How one run has ended."""

    code: int
    stdout: str
    stderr: str
    memory: int = 0
    """So many bytes it had at most, those of the process that it was forked from among them."""


def run_each(
    commands: Sequence[Sequence[str | bytes]], folder: Path, environment: Mapping[str, str] | None = None
) -> list[Ran]:
    """Run commands one after the other; whatever comes of them, it is no traceback.

    Args:
        commands: the arguments of each.
        folder: where they run.
        environment: all that they have of one, but for where programs are.
    """
    lines = [
        json.dumps([(each if isinstance(each, bytes) else each.encode()).hex() for each in one]) for one in commands
    ]
    done = subprocess.run(
        [sys.executable, "-c", _RUN, str(_SECONDS)],
        input="".join(f"{line}\n" for line in lines),
        capture_output=True,
        text=True,
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", **(environment or {})},
        check=False,
        timeout=_SECONDS * 10,
    )
    ran = [Ran(*json.loads(line)) for line in done.stdout.splitlines()]
    assert len(ran) == len(commands), done.stderr
    for command, each in zip(commands, ran, strict=True):
        assert "Traceback" not in each.stderr, (command, each)
    return ran

"""The program, in a process that is forked from one that has loaded it already: without its half a second of loading."""

import os
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from multiprocessing.reduction import send_handle
from pathlib import Path

from cachesync import cli
from tests.hostile import calls

LOADED = ["cachesync.cli", "cachesync.index.elastic", "cachesync.index.embedded", "tests.hostile.forked"]


def command(arguments: Sequence[str], folder: Path, printed: Path, listener: Connection | None) -> None:
    """Be that command. ``printed`` takes what it prints; ``listener``, if any, where its calls are answered."""
    os.chdir(folder)
    output = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    sys.argv[:] = ["cachesync", *arguments]
    if listener:
        with listener:
            send_handle(listener, calls.listen(), os.getppid())
    sys.exit(cli.run())

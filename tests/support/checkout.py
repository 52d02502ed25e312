"""A copy of this checkout, in which commands are tried as the documents have them."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.sandbox import PROGRAM

PROJECT = Path(__file__).parents[2]
_LEFT_OUT = shutil.ignore_patterns(".*", "var", "build", "dist", "__pycache__", "*.egg-info")


class Checkout:
    """The copy, and a shell in it that finds ``cachesync``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "checkout"
        shutil.copytree(PROJECT, self.folder, ignore=_LEFT_OUT)
        self._programs = folder / "bin"
        self._programs.mkdir()
        program = self._programs / "cachesync"
        program.write_text(f'#!/bin/sh\nexec {shlex.join(PROGRAM)} "$@"\n')
        program.chmod(0o755)

    def fill(self, root: str) -> None:
        """Put the example pages into a folder."""
        command = [sys.executable, "-m", "examples.pages", str(self.folder / root)]
        subprocess.run(command, check=True, cwd=PROJECT, capture_output=True)

    def run(self, script: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        """Run lines of shell; what fails ends them."""
        environment = {**os.environ, "PATH": f"{self._programs}:{os.environ['PATH']}"}
        done = subprocess.run(
            ["sh", "-euc", script],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=environment,
            check=False,
            timeout=120,
        )
        assert done.returncode == expect, (done.stdout, done.stderr)
        return done

"""What Compose itself thinks of a compose file: its own library, built once where Go is there."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

VERSION: Final = "v2.10.1"
"""Of compose-go, as it is in Compose 5.0.2."""

_MODULE: Final = "github.com/compose-spec/compose-go/v2"
_SOURCE: Final = Path(__file__).with_suffix(".go")


class NoComposeError(Exception):
    """It can't be had here; the text says why."""


def loader() -> Path:
    """Return a program that loads the compose files named to it, built once for all runs on this machine.

    Raises:
        NoComposeError: there is no Go, or its modules can't be fetched.
    """
    digest = hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:8]
    program = Path(tempfile.gettempdir()) / f"cachesync-compose-{VERSION}-{digest}-{os.geteuid()}"
    with program.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if program.is_file() and program.stat().st_uid == os.geteuid():
            return program
        if not shutil.which("go"):
            raise NoComposeError("building Compose's loader needs go, and there is none")
        with tempfile.TemporaryDirectory(dir=program.parent) as folder:
            shutil.copy(_SOURCE, folder)
            _go(folder, "mod", "init", "loader").check_returncode()
            fetched = _go(folder, "get", f"{_MODULE}@{VERSION}")
            if fetched.returncode:
                raise NoComposeError(f"go could not fetch compose-go {VERSION}: {fetched.stderr[-300:]}")
            built = _go(folder, "build", "-mod=mod", "-o", "loader")
            assert built.returncode == 0, built.stderr
            (Path(folder) / "loader").rename(program)
    return program


def refusal(file: Path, environment: dict[str, str]) -> str:
    """Return why a compose file isn't accepted with these variables; nothing where it is."""
    done = subprocess.run(
        [loader(), file], cwd=file.parent, env=environment, check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode in (0, 1), done.stderr
    return done.stderr.strip() if done.returncode else ""


def _go(folder: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["go", *arguments], cwd=folder, check=False, capture_output=True, text=True)

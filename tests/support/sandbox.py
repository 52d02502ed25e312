"""cachesync as its users run it: a program, a configuration, folders, and perhaps a server."""

import contextlib
import json
import os
import pty
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import elasticsearch

PROGRAM = [sys.executable, "-m", "cachesync"]
BLINDFOLD = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
"""Run by root, a program could read what nobody may; without these rights it is like another user's."""


@contextlib.contextmanager
def unreadable(path: Path) -> Iterator[None]:
    """Let nobody at a file or folder meanwhile, root neither where the program is blindfolded."""
    mode = path.stat().st_mode
    path.chmod(0)
    try:
        yield
    finally:
        path.chmod(mode)


class Sandbox:
    """A root for pages, an index, and the program."""

    def __init__(self, folder: Path, url: str = "embedded:index", name: str = "spack-specs") -> None:
        self.folder = folder
        self.root = folder / "pages"
        self.root.mkdir()
        (self.root / "_cache").mkdir()
        self.index = folder / "index"
        self.url = url
        self.name = name
        self.config = folder / "cachesync.yml"
        self.before: tuple[str, ...] = ()
        self.configure()

    def configure(self, **index: Any) -> None:
        """Write the configuration, with more keys of ``index`` if wanted."""
        keys = {"url": self.url, "name": self.name, **index}
        self.config.write_text(json.dumps({"pages": {"root": str(self.root)}, "index": keys}))

    @property
    def is_embedded(self) -> bool:
        return self.url.startswith("embedded:")

    def command(self, *arguments: str | Path) -> list[str]:
        return [*self.before, *PROGRAM, "-c", str(self.config), *map(str, arguments)]

    def blindfold(self) -> None:
        """From now on the program may read no more than the modes of files say, also where we are root."""
        if os.geteuid() == 0:
            if not shutil.which("setpriv"):
                pytest.skip("there is no setpriv, and root may read everything")
            self.before = BLINDFOLD

    def on_terminal(self, *arguments: str | Path, stdout: bool = False) -> tuple[str, str]:
        """Run a command with stderr on a terminal; return what it prints to stdout and what the terminal was sent.

        ``stdout``: that is on the terminal, too.
        """
        ours, theirs = pty.openpty()
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "60"}
        with tempfile.TemporaryFile() as out:
            running = subprocess.Popen(
                self.command(*arguments),
                stdout=theirs if stdout else out,
                stderr=theirs,
                env=environment,
                cwd=self.folder,
            )
            os.close(theirs)
            shown = b""
            with contextlib.suppress(OSError):  # how a terminal's end is told
                while more := os.read(ours, 65_536):
                    shown += more
            os.close(ours)
            running.wait(120)
            out.seek(0)
            return out.read().decode(), shown.decode()

    def run(
        self, *arguments: str | Path, expect: int | None = 0, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command; whatever comes of it, it is no traceback."""
        done = subprocess.run(
            self.command(*arguments),
            capture_output=True,
            text=True,
            env={**os.environ, **environment},
            cwd=self.folder,
            check=False,
            timeout=120,
        )
        assert "Traceback" not in done.stderr, done.stderr
        if expect is not None:
            assert done.returncode == expect, (done.returncode, done.stdout, done.stderr)
        return done

    def json(self, *arguments: str | Path, expect: int = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", expect=expect).stdout)

    def documents(self) -> dict[str, dict[str, Any]]:
        """Everything that is in the index, by id."""
        found = self.json("search", "--limit", "1000000")
        assert found["total"] == len(found["hits"])
        return {hit.pop("_id"): {name: hit[name] for name in hit if name != "install"} for hit in found["hits"]}

    def rendered(self) -> dict[str, dict[str, Any]]:
        """The documents of the pages on disk, by id."""
        lines = self.run("render", self.root).stdout.splitlines()
        return {each["_id"]: each["_source"] for each in map(json.loads, lines)}

    def state(self) -> Any:
        """What changes with every write to the index: of its files, or in the server's own count of writes."""
        if not self.is_embedded:
            stats = self.ask("/_stats/indexing")["indices"]
            writes = {name: each["primaries"]["indexing"] for name, each in stats.items()}
            counted = {name: (each["index_total"], each["delete_total"]) for name, each in writes.items()}
            return counted, self.ask("/_alias")
        found = {}
        for file in [self.index, *self.index.rglob("*")]:
            status = file.lstat()
            found[str(file)] = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        return found

    def has_index(self) -> bool:
        """Whether there is anything at all in the index's place."""
        return self.index.exists() if self.is_embedded else bool(self.ask("/_alias"))

    def ask(self, path: str, method: str = "GET", body: Any = None) -> Any:
        """Ask the server directly about all that is called like the index, hidden or not."""
        more = "&" if "?" in path else "?"
        return elasticsearch.request(f"{self.url}/{self.name}*{path}{more}expand_wildcards=all", method, body)

    def ask_alias(self, path: str, body: Any = None) -> Any:
        """Ask the server as its users do, through the public alias."""
        return elasticsearch.request(f"{self.url}/{self.name}{path}", "GET" if body is None else "POST", body)

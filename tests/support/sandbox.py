"""cachesync as its users run it: a program, a configuration, folders."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PROGRAM = [sys.executable, "-m", "cachesync"]


class Sandbox:
    """A root for pages, an index beside it, and the program."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "pages"
        self.root.mkdir()
        (self.root / "_cache").mkdir()
        self.index = folder / "index"
        self.config = folder / "cachesync.yml"
        self.config.write_text("pages: {root: pages}\nindex: {url: 'embedded:index'}\n")

    def command(self, *arguments: str | Path) -> list[str]:
        return [*PROGRAM, "-c", str(self.config), *map(str, arguments)]

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
        return {hit.pop("_id"): hit for hit in found["hits"]}

    def rendered(self) -> dict[str, dict[str, Any]]:
        """The documents of the pages on disk, by id."""
        lines = self.run("render", self.root).stdout.splitlines()
        return {each["_id"]: each["_source"] for each in map(json.loads, lines)}

"""Plant each of :data:`.defects.DEFECTS` in a copy of this checkout, and see that its tests notice.

    python -m tests.hostile.mutants             # all of them
    python -m tests.hostile.mutants lease 429   # those whose names contain one of these words

First the same tests must pass in a copy without a defect. The exit code is 1 if they don't, or if a defect survives.
"""

import argparse
import contextlib
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

from tests.hostile.defects import DEFECTS, Defect
from tests.support import elasticsearch

PROJECT: Final = Path(__file__).resolve().parents[2]
_SOURCE: Final = "src/cachesync"
_CORES: Final = 2
_PATIENCE: Final = 600.0
_TAIL: Final = 3_000
_FAILED: Final = 1
"""How pytest ends when tests fail, and only then; what it can't collect or find ends otherwise."""

_WHERE: Final = "import cachesync.watch; print(cachesync.watch.__file__)"


class CannotTellError(Exception):
    """What was run says nothing about a defect; the text says why."""


class Verdict(NamedTuple):
    """What came of one defect."""

    defect: Defect
    caught_by: str | None
    """The test that failed; None: it survives."""
    seconds: float


def planted(defect: Defect, source: str) -> str:
    """Return the source with the defect in it.

    Raises:
        CannotTellError: its place isn't there, or isn't the only one.
    """
    places = source.count(defect.old)
    if places != 1:
        raise CannotTellError(f"{defect.file} has {places} places for {defect.name!r}: expected 1")
    return source.replace(defect.old, defect.new)


class Copy:
    """A copy of the checkout as it is now, committed or not."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self._environment = {
            **os.environ,
            elasticsearch.URL_VARIABLE: url,
            "PYTHONPATH": os.pathsep.join((str(folder / "src"), str(folder))),
        }
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=PROJECT,
            check=True,
            capture_output=True,
            text=True,
        )
        for name in filter(None, listed.stdout.split("\0")):
            if (PROJECT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(PROJECT / name, folder / name)
        # An installed cachesync, this checkout perhaps, must not take the copy's place; in the watcher's process neither.
        found = subprocess.run(
            [sys.executable, "-P", "-c", _WHERE], cwd="/", env=self._environment, check=True, capture_output=True
        )
        if Path(found.stdout.decode().strip()) != folder / _SOURCE / "watch/__init__.py":
            raise CannotTellError(f"not the copy's source would be tested but {found.stdout.decode()}")

    @contextlib.contextmanager
    def with_defect(self, defect: Defect) -> Iterator[None]:
        """Have the defect planted for as long as the block lasts."""
        file = self.folder / _SOURCE / defect.file
        source, status = file.read_text(), file.stat()
        mutated = planted(defect, source)
        file.write_text(mutated)
        # Compiled code is told from its source by whole seconds and the size. The defect's must never pass for another's.
        os.utime(file, (status.st_mtime, status.st_mtime + 1_000 * (1 + DEFECTS.index(defect))))
        try:
            yield
        finally:
            file.write_text(source)
            os.utime(file, (status.st_atime, status.st_mtime))

    def test(self, tests: Sequence[str], *options: str) -> tuple[int, str]:
        """Run tests and return pytest's exit code and what it printed."""
        command = [sys.executable, "-m", "pytest", "-q", "-rfEs", "-p", "no:cacheprovider", "--tb=line", *options]
        try:
            done = subprocess.run(
                [*command, *(f"tests/{test}" for test in tests)],
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=_PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise CannotTellError(f"{tests[0]}, …: no end after {_PATIENCE:g} s") from error
        return done.returncode, done.stdout


def check(copy: Copy, defects: Sequence[Defect]) -> float:
    """Make sure that all the tests pass without a defect, and return the seconds that it took.

    Raises:
        CannotTellError: they don't, or some were skipped.
    """
    start = time.monotonic()
    tests = dict.fromkeys(test for defect in defects for test in defect.tests)
    code, said = copy.test(list(tests), "-n", str(_CORES))
    skipped = re.search(r"\d+ skipped", said)
    if code or skipped:
        raise CannotTellError(f"without a defect the tests don't all pass:\n{said[-_TAIL:]}")
    return time.monotonic() - start


def tried(copy: Copy, defect: Defect) -> Verdict:
    """Plant a defect and run its tests."""
    start = time.monotonic()
    with copy.with_defect(defect):
        code, said = copy.test(defect.tests, "-x")
    if code not in (0, _FAILED):
        raise CannotTellError(f"{defect.name}: pytest ended with {code}:\n{said[-_TAIL:]}")
    failed = re.search(r"^(?:FAILED|ERROR) tests/(.+?)(?: - .*)?$", said, re.MULTILINE)
    return Verdict(defect, failed[1] if failed and code else None, time.monotonic() - start)


def _told(verdict: Verdict) -> str:
    outcome = verdict.caught_by or "SURVIVES"
    return f"| {verdict.defect.breaks} | {verdict.defect.name} | {outcome} | {verdict.seconds:.1f} |"


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description="Plant defects one by one, and see that the tests notice each.")
    parser.add_argument("words", nargs="*", help="only defects whose names contain one of these")
    words = parser.parse_args().words
    defects = [each for each in DEFECTS if not words or any(word in each.name for word in words)]
    start = time.monotonic()
    with (
        elasticsearch.server() as url,
        tempfile.TemporaryDirectory(prefix="cachesync-mutants-") as folder,
        ThreadPoolExecutor(_CORES) as threads,
    ):
        copies: queue.SimpleQueue[Copy] = queue.SimpleQueue()
        try:
            ours = [Copy(Path(folder) / str(number), url) for number in range(_CORES)]
            print(f"without a defect: all pass, {check(ours[0], defects):.0f} s\n", flush=True)
            for copy in ours:
                copies.put(copy)

            def one(defect: Defect) -> Verdict:
                copy = copies.get()
                try:
                    return tried(copy, defect)
                finally:
                    copies.put(copy)

            print("| promise | defect | caught by | s |\n|---|---|---|---|", flush=True)
            verdicts = []
            for verdict in threads.map(one, defects):
                verdicts.append(verdict)
                print(_told(verdict), flush=True)
        except CannotTellError as error:
            print(error)
            return 1
    survivors = [verdict for verdict in verdicts if not verdict.caught_by]
    print(f"\n{len(verdicts) - len(survivors)} of {len(verdicts)} caught in {time.monotonic() - start:.0f} s")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())

"""Run the service for minutes under load and faults, and see that nothing grows.

    python -m tests.hostile.soak --minutes 20                        # both engines, one after the other
    python -m tests.hostile.soak --minutes 5 --engine embedded --json

A round is some seconds of load, in which pages change all the time and something goes wrong, and then rest: the load
ends, the index must equal the pages, and what the service has at rest is measured. What is measured, after a warm-up
of a quarter of the time, of the service and its watcher together:

==================  ====================================================================================================
memory              VmRSS, under load and at rest. 8 % of the median may be added: what was done last still shows in what
                    an allocator keeps, and moves it by 5 %. It takes some minutes of all that may go wrong until it is
                    level: below ten the verdict means little.
threads             At rest: under load they come and go, which would hide one that stays. None may be added.
descriptors         At rest. None may be added, but with a server two: its client keeps connections by chance. What goes
                    wrong does so five times in 20 minutes or more, so what loses one each time is seen.
lag                 ``lag_seconds`` under load, and how long it takes until a save is found by a search. Two seconds more
                    are allowed: the cores are shared with the load, the server and whatever else runs here.
==================  ====================================================================================================

Threads and descriptors are counted: a single one that stays is seen, if it came in the first three quarters of the time
after the warm-up. Of the others, what rises by more than is allowed and by more than noise grows; it is flat only if
rise and noise together are no more than what is allowed; else nobody can tell, and the soak must be longer. See
:mod:`tests.hostile.slopes`. So flat means that no more than what is allowed was added, but for one case in twenty: in
20 minutes, 15 of them after the warm-up, less than 32 % of memory an hour, in two hours less than 6 %. What a soak rules
out is often less, and is in its table ("at most").

The exit code is 1 where something grows, nobody can tell, or the index doesn't become equal to the pages.
"""

import argparse
import contextlib
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, Final, NamedTuple

from cachesync.errors import CachesyncError
from cachesync.search.query import Term
from cachesync.search.request import Request
from examples import pages
from tests.hostile.slopes import FLAT, UNKNOWN, Sample, Trend, step, trend
from tests.hostile.vandal import InElasticsearch
from tests.hostile.wire import FAULTS, Weather
from tests.support import elasticsearch
from tests.support.sandbox import Sandbox
from tests.support.service import Service, children, index_of, until

TAGS, PACKAGES = 20, 100

_LOAD_SECONDS: Final = 20.0
_REST_SECONDS: Final = 120.0
"""How long it may take at most until the index equals the pages once it is quiet."""

_SAMPLE_SECONDS: Final = 2.0
_EDITS_A_SECOND: Final = 25
_BROKEN: Final = 0.03
"""How many of the saves leave a page that can't be used, until it is saved again."""

_SETTINGS: Final = {
    "CACHESYNC_WATCH__RESCAN_INTERVAL": "30s",
    "CACHESYNC_SCHEDULE__REINDEX": "*/2 * * * *",
}
_COUNTED: Final = ("threads", "descriptors")
_ALLOWED_MEMORY: Final = 0.08
"""As a share of the median."""

_ALLOWED_SECONDS: Final = 2.0
_ALLOWED_CONNECTIONS: Final = 2.0


class Measured(NamedTuple):
    """What a process and its children have."""

    megabytes: float
    descriptors: int
    threads: int


def measured(pid: int) -> Measured:
    """Look at a process and its children."""
    total = Measured(0, 0, 0)
    for each in [pid, *children(pid)]:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, KeyError):  # it ended just now
            lines = Path(f"/proc/{each}/status").read_text().splitlines()
            told = {name: value for name, _, value in (line.partition(":") for line in lines)}
            memory, threads = int(told["VmRSS"].split()[0]) / 1024, int(told["Threads"])
            files = len(os.listdir(f"/proc/{each}/fd"))
            total = Measured(total.megabytes + memory, total.descriptors + files, total.threads + threads)
    return total


class Tree:
    """Pages that change, though never to fewer specs, so that the guard holds nothing back."""

    def __init__(self, root: Path, random_: random.Random) -> None:
        self.saves = 0
        self._root = root
        self._random = random_
        self._specs: dict[str, int] = {}
        self._broken: set[str] = set()
        for path, _ in pages.tree(TAGS, PACKAGES):
            self._specs[path] = pages.spec_count(random_)
            self.save(path)

    def save(self, path: str, *, broken: bool = False) -> None:
        """Give a page other specs, as many as it had."""
        _, tag, package, _ = path.split("/")
        shape = pages.shape_of(tag)
        specs = [pages.spec(self._random, shape, package) for _ in range(self._specs[path])]
        self.write(path, b"---\nhalf" if broken else pages.page(package, tag, specs, shape))
        (self._broken.add if broken else self._broken.discard)(path)

    def write(self, path: str, data: bytes) -> None:
        """Save a page as editors do."""
        file = self._root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_name(".fresh")
        fresh.write_bytes(data)
        fresh.replace(file)
        self.saves += 1

    def save_any(self) -> None:
        """Save one page or another; now and then it is broken."""
        self.save(self._random.choice(list(self._specs)), broken=self._random.random() < _BROKEN)

    def save_all(self) -> None:
        """Save every page."""
        for path in self._specs:
            self.save(path)

    def mend(self) -> None:
        """Save those again that are broken."""
        for path in sorted(self._broken):
            self.save(path)

    @contextlib.contextmanager
    def without_a_tag(self) -> Iterator[None]:
        """Take a tag's folder away for as long as the block lasts, in which nobody else may save a page of it."""
        tag = self._root / "_cache" / self._random.choice(pages.tags(TAGS)[1:])  # the first has the canary
        away = self._root / "away"
        tag.rename(away)
        try:
            yield
        finally:
            away.rename(tag)


class Soak:
    """One run of the service with one engine."""

    def __init__(self, sandbox: Sandbox, server: str | None, seed: int) -> None:
        """``server`` is the Elasticsearch that ``sandbox`` reaches by a proxy; None with an embedded index."""
        self._sandbox = sandbox
        self._random = random.Random(seed)
        self.tree = Tree(sandbox.root, self._random)
        self.weather = Weather()
        self.done: Counter[str] = Counter()
        """How often what went wrong."""
        self._index = index_of(sandbox)
        """Seen past the proxy."""
        self._proxy = self.weather.before(server) if server else None
        self._vandal = InElasticsearch(server, sandbox.name) if server else None
        ways = [self.reload, self.freeze, self.reindex, self.kill_watcher]
        ways += [self.storm, self.outage, self.hinder, self.harm] if server else [self.lose_the_generation]
        self._ways = itertools.cycle(ways)
        self.samples: dict[str, list[Sample]] = {
            name: [] for name in ("memory", "memory at rest", "descriptors", "threads", "lag", "found after")
        }
        self._began = time.monotonic()
        self._resting = threading.Event()
        self.service: Service

    def run(self, seconds: float) -> None:
        """Do rounds for so long."""
        with contextlib.ExitStack() as stack:
            if self._proxy:
                stack.enter_context(self._proxy.running())
                self._sandbox.url = self._proxy.url
                self._sandbox.configure()
            self.service = stack.enter_context(Service(self._sandbox, **_SETTINGS))
            self.service.caught_up()
            self.service.converges(_REST_SECONDS)
            self._began = time.monotonic()
            while time.monotonic() - self._began < seconds:
                self._load()
                self._rest()

    def trends(self) -> dict[str, tuple[Trend, float]]:
        """Return the trend of everything that was measured, and how much it may rise."""
        found = {name: (step if name in _COUNTED else trend)(samples) for name, samples in self.samples.items()}
        allowed = {
            "memory": _ALLOWED_MEMORY * found["memory"].median,
            "memory at rest": _ALLOWED_MEMORY * found["memory at rest"].median,
            "threads": 0.0,
            "descriptors": _ALLOWED_CONNECTIONS if self._proxy else 0.0,
            "lag": _ALLOWED_SECONDS,
            "found after": _ALLOWED_SECONDS,
        }
        return {name: (each, allowed[name]) for name, each in found.items()}

    def _note(self, name: str, value: float) -> None:
        self.samples[name].append((time.monotonic() - self._began, value))

    # --- a round ------------------------------------------------------------------------------------------------------

    def _load(self) -> None:
        self._resting.clear()
        deeds = [self._edit, self._ask, self._sample, self._watch_a_canary, self._go_wrong]
        with ThreadPoolExecutor(len(deeds)) as threads:
            doing = [threads.submit(deed) for deed in deeds]
            wait(doing, _LOAD_SECONDS, FIRST_EXCEPTION)
            self._resting.set()
        for each in doing:
            each.result()

    def _rest(self) -> None:
        self.weather.calm()
        if self._proxy:
            self._proxy.requests.clear()
        self.tree.mend()
        self.service.converges(_REST_SECONDS)
        until(self._is_idle, "rest")
        until(self._is_still, "descriptors and threads to stay as they are")
        found = measured(self.service.pid)
        self._note("memory at rest", found.megabytes)
        self._note("descriptors", found.descriptors)
        self._note("threads", found.threads)
        told = f"{time.monotonic() - self._began:6.0f} s: {found.megabytes:.0f} MB at rest"
        print(f"{told}, {found.descriptors} descriptors, {found.threads} threads", file=sys.stderr, flush=True)

    def _is_idle(self) -> bool:
        status = self.service.status()
        return bool(status["in_sync"] and status["watcher"]["watching"] and status["reindexing"] is None)

    def _is_still(self) -> bool:
        before = measured(self.service.pid)
        time.sleep(0.5)
        return measured(self.service.pid)[1:] == before[1:]

    def _edit(self) -> None:
        began = time.monotonic()
        burst, removal = (began + share * _LOAD_SECONDS for share in (0.3, 0.6))
        while not self._resting.wait(1 / _EDITS_A_SECOND):
            self.tree.save_any()
            if time.monotonic() >= burst:
                self.tree.save_all()
                burst = time.monotonic() + _LOAD_SECONDS
            if time.monotonic() >= removal:
                with self.tree.without_a_tag():
                    self._resting.wait(3)
                removal = time.monotonic() + _LOAD_SECONDS

    def _ask(self) -> None:
        for path in itertools.cycle(("/metrics", "/readyz", "/api/status", "/healthz", "/openapi.json")):
            if self._resting.wait(0.2):
                return
            with contextlib.suppress(OSError):
                self.service.get(path)
                self.done["asked"] += 1

    def _sample(self) -> None:
        while not self._resting.wait(_SAMPLE_SECONDS):
            self._note("memory", measured(self.service.pid).megabytes)
            with contextlib.suppress(OSError):
                self._note("lag", self.service.status()["lag_seconds"])

    def _watch_a_canary(self) -> None:
        index = self._index
        for number in itertools.count():
            hash = f"{len(self.samples['found after'])}x{number}".rjust(32, "c")
            spec = {**pages.spec(self._random, "G"), "hash": hash}
            self.tree.write("_cache/develop/canary/specs.md", pages.page("canary", "develop", [spec]))
            saved = time.monotonic()
            while not self._resting.wait(0.1):
                with contextlib.suppress(CachesyncError):
                    if index.reader().search(Request(Term("hash", hash), limit=0)).total:
                        self._note("found after", time.monotonic() - saved)
                        break
            if self._resting.wait(1):
                return

    def _go_wrong(self) -> None:
        """Let the next thing go wrong."""
        if self._resting.wait(_LOAD_SECONDS / 8):
            return
        way = next(self._ways)
        self.done[way.__name__.replace("_", " ")] += 1
        with contextlib.suppress(urllib.error.URLError):
            way()

    # --- what goes wrong ----------------------------------------------------------------------------------------------

    def reload(self) -> None:
        """Let the service read its configuration again."""
        self.service.send(signal.SIGHUP)

    def freeze(self) -> None:
        """Stop the service for some seconds, as a machine that swaps does."""
        self.service.send(signal.SIGSTOP)
        self._resting.wait(3)
        self.service.send(signal.SIGCONT)

    def reindex(self) -> None:
        """Ask for a reindex, as an operator does."""
        command = self._sandbox.command("reindex")
        subprocess.run(command, cwd=self._sandbox.folder, capture_output=True, timeout=_REST_SECONDS, check=False)

    def kill_watcher(self) -> None:
        """End the process that watches the pages."""
        for child in children(self.service.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)

    def storm(self) -> None:
        """Let every third request to the server meet a fault."""
        self.weather.storm(list(FAULTS), 0.3, self._random.randrange(1_000_000))
        self._resting.wait(8)
        self.weather.calm()

    def outage(self) -> None:
        """Let no request through."""
        self.weather.storm(["reset", "refused"], 1.0, self._random.randrange(1_000_000))
        self._resting.wait(6)
        self.weather.calm()

    def hinder(self) -> None:
        """Let nobody write to the index for a while."""
        assert self._vandal
        self._vandal.hinder("write")
        self._resting.wait(5)
        self._vandal.restore()

    def harm(self) -> None:
        """Delete the index, all of it or in part."""
        assert self._vandal
        self._vandal.harm(self._random.choice(["specs deleted", "ledger deleted", "all deleted", "alias removed"]))

    def lose_the_generation(self) -> None:
        """Delete the live generation of an embedded index."""
        folder = self._sandbox.index / self._sandbox.name
        with contextlib.suppress(OSError):
            shutil.rmtree(folder / os.readlink(folder / "live"))


_UNITS: Final = {"memory": "MB", "memory at rest": "MB", "lag": "s", "found after": "s"}


def soaked(engine: str, minutes: float, seed: int) -> dict[str, Any]:
    """Run one soak and return what came of it."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(elasticsearch.server()) if engine == "elasticsearch" else None
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cachesync-soak-")))
        name = f"test-{folder.name.lower().replace('_', '-')}"
        if server:
            stack.callback(elasticsearch.remove, server, name)
        soak = Soak(Sandbox(folder, server or "embedded:index", name), server, seed)
        trouble = None
        try:
            soak.run(60 * minutes)
        except AssertionError as error:
            trouble = str(error)
        try:
            trends = soak.trends()
        except ValueError as error:
            trends, trouble = {}, trouble or f"too short: {error}"
        rows = [
            {
                "what": what,
                "unit": _UNITS.get(what, ""),
                "median": each.median,
                "slope": each.slope,
                "bound": each.bound,
                "rise": each.rise,
                "noise": each.noise,
                "allowed": allowed,
                "verdict": each.verdict(allowed),
            }
            for what, (each, allowed) in trends.items()
        ]
        done = {"saves": soak.tree.saves, "rests": len(soak.samples["threads"]), **soak.done}
        found = {"engine": engine, "minutes": minutes, "seed": seed, "rows": rows, "done": done, "trouble": trouble}
        return {**found, "samples": soak.samples}


def _told(found: dict[str, Any]) -> Iterator[str]:
    yield f"{found['engine']}, {found['minutes']:g} minutes, seed {found['seed']}"
    yield "  " + ", ".join(f"{name} {number:,}" for name, number in found["done"].items())
    yield f"  {'':20}{'median':>10}{'an hour':>10}{'at most':>10}{'rise':>10}{'noise':>10}{'allowed':>10}"
    for row in found["rows"]:
        numbers = "".join(f"{row[name]:10.2f}" for name in ("median", "slope", "bound", "rise", "noise", "allowed"))
        yield f"  {row['what'] + ' ' + row['unit']:20}{numbers}  {row['verdict']}"
    if any(row["verdict"] == UNKNOWN for row in found["rows"]):
        yield "  Where there is more noise than may be added, a longer soak can tell: noise doesn't grow, and leaks do."
    if found["trouble"]:
        yield f"  in vain: {found['trouble']}"


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description="Run the service under load and faults, and see that nothing grows.")
    parser.add_argument("--minutes", type=float, default=20, help="for each engine")
    parser.add_argument("--engine", choices=["embedded", "elasticsearch", "both"], default="both")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print a JSON object a line")
    arguments = parser.parse_args()
    engines = ["embedded", "elasticsearch"] if arguments.engine == "both" else [arguments.engine]
    good = True
    for engine in engines:
        found = soaked(engine, arguments.minutes, arguments.seed)
        good = good and not found["trouble"] and not any(row["verdict"] != FLAT for row in found["rows"])
        print(json.dumps(found) if arguments.json else "\n".join(_told(found)), flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

"""The service over a large tree: how soon a save is in the index, and what idling and mass changes cost.

The phases follow one another in one run of ``cachesync run``:

start: from its start with an empty index until it is in sync, and its memory.
saves: from a page's rename until a real-time GET finds its document, measured outside of the service.
idle: CPU of service and watcher while nothing happens, and separately that of the rescans in that time.
storm: every page is rewritten as fast as the disk allows; then saves again, and whether the service is idle afterwards.
"""

import contextlib
import http.client
import json
import os
import statistics
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

from cachesync.index.engines import open_index
from cachesync.index.server import IndexServer, Layout

DEBOUNCE: Final = 0.3
RESCAN: Final = 300.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_SAMPLE_SECONDS: Final = 10.0
NAME: Final = "bench-service"
_PAGE: Final = """---
title: "bench"
categories: [package, develop]
spec_details: [{{"hash": "{hash}", "versions": ["1.0"], "compiler": "gcc@11.4.0", "os": "ubuntu22.04", \
"platform": "linux", "target": "x86_64_v3", "variants": [], "stacks": ["root"], "size": "-"}}]
---"""


class Running:
    """A service that runs over ``root``."""

    def __init__(self, root: Path, url: str, prefix: tuple[str, ...] = ()) -> None:
        environment = {
            "CACHESYNC_CONFIG": os.devnull,
            "CACHESYNC_PAGES__ROOT": str(root),
            "CACHESYNC_INDEX__URL": url,
            "CACHESYNC_INDEX__NAME": NAME,
            "CACHESYNC_HTTP__PORT": "0",
            "CACHESYNC_LOG__FORMAT": "json",
            "CACHESYNC_WATCH__DEBOUNCE": str(DEBOUNCE),
            "CACHESYNC_WATCH__RESCAN_INTERVAL": str(RESCAN),
        }
        self.root = root
        self._url: str | None = None
        self._process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "cachesync", "run"],
            env={**os.environ, **environment},
            stderr=subprocess.PIPE,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self._process.stderr or ():
            event = json.loads(line)
            self._url = self._url or event.get("cachesync.url")

    def status(self) -> dict[str, Any]:
        """Return ``/api/status``; empty while the service doesn't answer."""
        try:
            with urllib.request.urlopen(f"{self._url}/api/status", timeout=60) as answer:  # noqa: S310  the URL is our own
                found: dict[str, Any] = json.loads(answer.read())
                return found
        except (ValueError, OSError, urllib.error.URLError):
            return {}

    def until_in_sync(self) -> float:
        """Wait until the index is in sync and the watcher runs, and return how many seconds that took."""
        start = time.perf_counter()
        while not ((status := self.status()).get("in_sync") and (status["watcher"] or {}).get("watching")):
            if self._process.poll() is not None:
                sys.exit("the service has ended")
            time.sleep(0.2)
        return time.perf_counter() - start

    def own_memory_mb(self) -> float:
        """Return the memory of the service alone, without mapped files such as those of an embedded index."""
        return _memory(self._process.pid, "RssAnon")

    @property
    def url(self) -> str:
        """The URL of the service, once it is listening."""
        return self._url or ""

    def cpu(self) -> float:
        """Return the CPU seconds of the service and its watcher."""
        return sum(_cpu(pid) for pid in self._pids())

    def peak_mb(self) -> list[float]:
        """Return the peak memory of each of its processes: the service first, then its watcher."""
        return [_memory(pid, "VmHWM") for pid in self._pids()]

    def memory_mb(self) -> list[float]:
        """Return the current memory of each of its processes, in the same order."""
        return [_memory(pid, "VmRSS") for pid in self._pids()]

    def stop(self) -> None:
        """Stop the service."""
        self._process.terminate()
        self._process.wait()

    def _pids(self) -> list[int]:
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        threads = Path(f"/proc/{self._process.pid}/task").glob("*/children")
        found = {int(pid) for each in (children, *threads) for pid in each.read_text().split()}
        return [self._process.pid, *sorted(found)]


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _memory(pid: int, kind: str) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split(f"{kind}:")[1].split()[0]) / 1024


def measure(
    root: Path, url: str, folder: Path, *, saves: int, idle: float, prefix: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Measure one service over the pages below ``root``, rewriting them."""
    found: dict[str, Any] = {}
    with _lookup(url, folder) as is_indexed:
        service = Running(root, url, prefix)
        try:
            found["start_s"] = service.until_in_sync()
            found["start_peak_mb"] = service.peak_mb()
            found["new_page_s"] = _saves(root, is_indexed, saves, "new")
            found["save_s"] = _saves(root, is_indexed, saves, "save")
            if idle:
                found |= _idle(service, idle)
            start = time.perf_counter()
            cpu = service.cpu()
            found["storm_pages"] = _storm(root)
            found["storm_written_s"] = time.perf_counter() - start
            service.until_in_sync()
            found["storm_in_sync_s"] = time.perf_counter() - start
            found["storm_cpu_s"] = service.cpu() - cpu
            found["after_storm_save_s"] = _saves(root, is_indexed, 100, "after", at_once=True)
            service.until_in_sync()
            cpu = service.cpu()
            time.sleep(10)
            found["after_storm_idle_cpu"] = (service.cpu() - cpu) / 10
            found["peak_mb"] = service.peak_mb()
            status = service.status()
            found["watcher"], found["degraded"] = status["watcher"], status["degraded"]
        finally:
            service.stop()
    return found


def save(root: Path, package: str, word: str) -> str:
    """Save a page of one spec atomically, and return the spec's hash, which begins with ``word``."""
    hash = f"{word}{time.time_ns():x}".ljust(32, "x")
    file = root / "_cache/develop" / package / "specs.md"
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(".new")
    temporary.write_text(_PAGE.format(hash=hash))
    temporary.rename(file)
    return hash


def _saves(
    root: Path, is_indexed: Callable[[str], bool], count: int, word: str, *, at_once: bool = False
) -> dict[str, float]:
    """Save pages, each after the one before is indexed or all at once, and return how many seconds that took."""
    waiting: dict[str, float] = {}
    took = []
    for number in range(count):
        package = f"bench-{number}"
        hash = save(root, package, f"{word}{number:04}")
        waiting[f"develop/{package}/{hash}"] = time.perf_counter()
        if not at_once:
            took += _found(waiting, is_indexed)
    took += _found(waiting, is_indexed)
    took.sort()
    return {"median": statistics.median(took), "p90": took[len(took) * 9 // 10], "max": took[-1]}


def _found(waiting: dict[str, float], is_indexed: Callable[[str], bool]) -> list[float]:
    took: list[float] = []
    while waiting:
        indexed = [id for id in waiting if is_indexed(id)]
        took += [time.perf_counter() - waiting.pop(id) for id in indexed]
        time.sleep(0.002)
    return took


def _idle(service: Running, seconds: float) -> dict[str, Any]:
    """Measure the CPU of an idle service, and separately that of each rescan."""
    time.sleep(_SAMPLE_SECONDS)
    quiet: list[float] = []
    rescans: list[float] = []
    last = service.status()["last_pass"]["started"]
    cpu = total = service.cpu()
    for _ in range(round(seconds / _SAMPLE_SECONDS)):
        time.sleep(_SAMPLE_SECONDS)
        before, cpu = cpu, service.cpu()
        started = service.status()["last_pass"]["started"]
        (quiet if started == last else rescans).append(cpu - before)
        last = started
    share = statistics.fmean(quiet) / _SAMPLE_SECONDS
    return {
        "idle_s": seconds,
        "idle_cpu_s": service.cpu() - total,
        "idle_share_of_a_core": share,
        "rescan_cpu_s": [each - share * _SAMPLE_SECONDS for each in rescans],
    }


def _storm(root: Path) -> int:
    """Rewrite every page as fast as the disk allows, so that all documents change."""
    pages = [str(file) for file in root.glob("_cache/*/*/specs.md")]
    script = (
        "import os, re, sys, time\n"
        'size = b\'"size": "%d"\' % (time.time_ns() // 1_000_000)\n'
        "for path in sys.stdin.read().split('\\n'):\n"
        "    data = open(path, 'rb').read()\n"
        '    new = re.sub(rb\'"size": "[^"]*"\', size, data)\n'
        "    open(path + '.new', 'wb').write(new)\n"
        "    os.rename(path + '.new', path)\n"
    )
    subprocess.run([sys.executable, "-c", script], input="\n".join(pages), text=True, check=True)
    return len(pages)


@contextlib.contextmanager
def _lookup(url: str, folder: Path) -> Iterator[Callable[[str], bool]]:
    """Yield a function that returns whether the index has a document."""
    if url.startswith("http"):
        address = urlsplit(url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port)

        def ask(id: str) -> bool:
            connection.request("GET", f"/{NAME}/_doc/{quote(id, safe='')}?_source=false")
            answer = connection.getresponse()
            answer.read()
            return answer.status == 200

        yield ask
        connection.close()
        return
    index = open_index(IndexServer((url,)), NAME, Layout(), lambda path: folder / path)
    yield lambda wanted: index.reader().get(wanted) is not None

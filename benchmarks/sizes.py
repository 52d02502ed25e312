"""How large a machine has to be: disk, memory and time by the size of the corpus, with both engines.

The steps follow one another, over pages that don't change:

sync: ``cachesync sync`` into an empty index.
reindex: ``cachesync reindex``, which keeps that generation for a rollback.
run: ``cachesync run``, to which commands send a sync with nothing to do and, after some rest, a reindex. That is when
it needs the most, and when there are as many generations as ever.
"""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from benchmarks import measuring, service
from tests.support import elasticsearch

_CALM_SECONDS: Final = 20.0
"""How long an idle service takes to return all the memory that it will return."""

_BLOCK: Final = 512
"""The unit of ``st_blocks``."""

_MB: Final = 1e6


def measure(root: Path, url: str) -> dict[str, Any]:
    """Measure one engine over the pages below ``root``, into an index that doesn't exist yet."""
    index = {"url": url, "name": service.NAME}
    disk = _disk(url)
    found: dict[str, Any] = {"engine": "embedded" if url.startswith("embedded") else "elasticsearch"}
    for command, size in (("sync", "index_mb"), ("reindex", "two_indices_mb")):
        cost, report = measuring.cachesync(command, root, **index)
        figures = {"specs": report["specs"]["added"], "s": cost.wall, "cpu_s": cost.cpu, "peak_mb": report["peak_mb"]}
        found |= {f"{command}_{name}": figure for name, figure in figures.items()}
        _settle(url)
        found[size] = disk()
    running = service.Running(root, url)
    try:
        return found | _of_service(running, root, index)
    finally:
        running.stop()


def of_pages(root: Path) -> dict[str, Any]:
    """Return the size of the pages themselves, and how many folders must be watched."""
    files = list(root.glob("_cache/*/*/specs.md"))
    folders = 1 + sum(1 for each in root.rglob("*/"))
    sizes = [file.stat() for file in files]
    return {
        "pages": len(files),
        "folders": folders,
        "pages_mb": sum(each.st_size for each in sizes) / _MB,
        "pages_disk_mb": sum(each.st_blocks for each in sizes) * _BLOCK / _MB,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Return the figures as a Markdown table: a column for each corpus and engine."""
    lines: dict[str, Callable[[dict[str, Any]], str]] = {
        "engine": lambda row: row["engine"],
        "tags": lambda row: f"{row['tags']:,}",
        "pages": lambda row: f"{row['pages']:,}",
        "specs": lambda row: f"{row['sync_specs']:,}",
        "total size of the pages": lambda row: f"{row['pages_mb']:,.0f} MB",
        "disk space of the pages": lambda row: f"{row['pages_disk_mb']:,.0f} MB",
        "folders (each needs an inotify watch)": lambda row: f"{row['folders']:,}",
        "index, one generation": lambda row: f"{row['index_mb']:,.0f} MB",
        "index bytes per spec": lambda row: f"{row['index_mb'] * _MB / row['sync_specs']:,.0f}",
        "with the previous generation": lambda row: f"{row['two_indices_mb']:,.0f} MB",
        "peak during the next reindex": lambda row: f"{row['index_peak_mb']:,.0f} MB",
        "`sync` into an empty index": lambda row: f"{row['sync_s']:,.0f} s",
        "CPU time of that sync": lambda row: f"{row['sync_cpu_s']:,.0f} s",
        "`reindex`": lambda row: f"{row['reindex_s']:,.0f} s",
        "CPU time of that reindex": lambda row: f"{row['reindex_cpu_s']:,.0f} s",
        "a rescan with nothing to do": lambda row: f"{row['rescan_s']:.1f} s",
        "peak memory of `sync`": lambda row: f"{row['sync_peak_mb']:,.0f} MB",
        "peak memory of `reindex`": lambda row: f"{row['reindex_peak_mb']:,.0f} MB",
        "memory of `run` at rest": lambda row: f"{row['run_mb'][0]:,.0f} MB",
        "peak until then": lambda row: f"{row['run_calm_peak_mb'][0]:,.0f} MB",
        "peak with a reindex in it": lambda row: f"{row['run_peak_mb'][0]:,.0f} MB",
        "peak memory of its watcher": lambda row: f"{row['run_peak_mb'][1]:,.0f} MB",
        "peak heap of the server": lambda row: f"{row['heap_peak_mb']:,.0f} MB" if row["heap_peak_mb"] else "",
        "its garbage collection during a reindex": lambda row: f"{row['gc_s']:.1f} s" if row["heap_peak_mb"] else "",
    }
    text = [[name, *(cell(row) for row in rows)] for name, cell in lines.items()]
    text.insert(1, ["---", *("---:" for _ in rows)])
    return "\n".join(f"| {' | '.join(line)} |" for line in text)


def _of_service(running: service.Running, root: Path, index: dict[str, str]) -> dict[str, Any]:
    """Send a service that is in sync a sync with nothing to do, leave it idle, and send it a reindex."""
    url = index["url"]
    found: dict[str, Any] = {"start_s": running.until_in_sync()}
    _, report = measuring.cachesync("sync", root, **index)
    assert not any(report["specs"].values())
    found["rescan_s"] = report["seconds"]
    time.sleep(_CALM_SECONDS)
    found |= {"run_mb": running.memory_mb(), "run_calm_peak_mb": running.peak_mb()}
    garbage = _garbage_seconds(url)
    with _largest(_disk(url)) as disk, _largest(lambda: _heap_mb(url)) as heap:
        _, report = measuring.cachesync("reindex", root, **index)
    return found | {
        "run_reindex_s": report["seconds"],
        "run_peak_mb": running.peak_mb(),
        "index_peak_mb": max(disk),
        "heap_peak_mb": max(heap),
        "gc_s": _garbage_seconds(url) - garbage,
    }


@contextlib.contextmanager
def _largest(measured: Callable[[], float]) -> Iterator[list[float]]:
    """Yield a list to which values are added repeatedly for as long as the block lasts."""
    values = [measured()]
    done = threading.Event()

    def sample() -> None:
        while not done.wait(0.3):
            values.append(measured())

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield values
    finally:
        done.set()
        thread.join()


def _disk(url: str) -> Callable[[], float]:
    """Return a function that measures how many megabytes the index takes on disk, with all its generations."""
    if url.startswith("http"):
        return lambda: sum(map(_size_mb, _folders(url)))
    return lambda: _size_mb(Path(url.removeprefix("embedded:")))


def _folders(url: str) -> list[Path]:
    """Return the folders of our indices on the server; its own statistics may be ten seconds old."""
    found = elasticsearch.request(f"{url}/_cat/indices/{service.NAME}*?format=json&h=uuid&expand_wildcards=all")
    nodes = elasticsearch.request(f"{url}/_nodes/stats/fs")["nodes"].values()
    paths = [Path(data["path"]) for node in nodes for data in node["fs"]["data"]]
    if not all(path.is_dir() for path in paths):
        sys.exit("sizes needs a server whose data are on this machine and readable")
    return [path / "indices" / each["uuid"] for path in paths for each in found]


def _size_mb(folder: Path) -> float:
    blocks = 0
    for path, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(FileNotFoundError):  # a merge or a promotion has just removed it
                blocks += Path(path, name).lstat().st_blocks
    return blocks * _BLOCK / _MB


def _settle(url: str) -> None:
    """Make the server flush its translog, as it does by itself after some minutes, and wait for its merges."""
    if not url.startswith("http"):
        return
    ours = f"{url}/{service.NAME}*"
    elasticsearch.request(f"{ours}/_flush?force=true&expand_wildcards=all", "POST")
    while elasticsearch.request(f"{ours}/_stats/merge?expand_wildcards=all")["_all"]["total"]["merges"]["current"]:
        time.sleep(1)


def _heap_mb(url: str) -> float:
    return sum(int(node["mem"]["heap_used_in_bytes"]) for node in _jvms(url)) / _MB


def _garbage_seconds(url: str) -> float:
    """Return how many seconds of garbage collection the server has had since its start."""
    collectors = [each for node in _jvms(url) for each in node["gc"]["collectors"].values()]
    return sum(int(each["collection_time_in_millis"]) for each in collectors) / 1000


def _jvms(url: str) -> list[dict[str, Any]]:
    if not url.startswith("http"):
        return []
    return [node["jvm"] for node in elasticsearch.request(f"{url}/_nodes/stats/jvm")["nodes"].values()]

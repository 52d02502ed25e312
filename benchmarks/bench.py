"""Measure, in one run on one machine, cachesync beside the least that could do the same.

Page: from the bytes of a page with 4,663 specs to the bytes of its documents, beside msgspec's bare decode of its
``spec_details``.
Sync: ``cachesync sync`` of a generated tree into an empty embedded index, beside tantivy fed with the same documents,
ready.
Again: a second ``sync`` with nothing to do.

    python -m benchmarks.bench [--tags N] [--packages N] [--rounds N] [--json FILE]
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import tantivy

from cachesync.documents import document_id, render
from cachesync.index.base import Put
from cachesync.index.embedded import generation, schema
from cachesync.pages.page import Page, parse
from cachesync.pages.spec import Spec
from examples.pages import BIGGEST_PAGE, big_page, write_tree

PATH = "_cache/develop/py-torch/specs.md"


class Cost(NamedTuple):
    """What one run took."""

    wall: float
    cpu: float


def page_cost(rounds: int) -> dict[str, Any]:
    """Time a page against the decoding of its specs, in turn, best of each: the machine only ever adds."""
    data = big_page()
    details = data.split(b"spec_details: ")[1].rsplit(b"\n", 1)[0]
    typed, plain = msgspec.json.Decoder(list[Spec]), msgspec.json.Decoder()
    work: dict[str, Callable[[], object]] = {
        "whole": lambda: _documents(data),
        "decode_typed": lambda: typed.decode(details),
        "decode_plain": lambda: plain.decode(details),
    }
    best = dict.fromkeys(work, float("inf"))
    for _ in range(rounds):
        for name, function in work.items():
            start = time.perf_counter()
            function()
            best[name] = min(best[name], time.perf_counter() - start)
    return {
        "specs": BIGGEST_PAGE,
        "bytes": len(data),
        **{f"{name}_us_per_spec": seconds / BIGGEST_PAGE * 1e6 for name, seconds in best.items()},
        "ratio_to_typed": best["whole"] / best["decode_typed"],
        "ratio_to_plain": best["whole"] / best["decode_plain"],
    }


def _documents(data: bytes) -> list[Any]:
    page = parse(PATH, data)
    assert isinstance(page, Page)
    rendered = render(page)
    assert isinstance(rendered, list)
    return rendered


def ready_documents(root: Path) -> list[str]:
    """Render a tree into what tantivy takes."""
    ready = []
    for file in sorted(root.rglob("specs.md")):
        path = file.relative_to(root).as_posix()
        page = parse(path, file.read_bytes())
        assert isinstance(page, Page)
        rendered = render(page)
        assert isinstance(rendered, list)
        puts = [Put(document_id(path, key), source, fresh=True) for key, source in rendered]
        words = msgspec.json.encode(page.package).decode()
        ready += [schema.spec_json(put, words) for put in puts]
    return ready


def bare_tantivy(ready: list[str], folder: Path) -> Cost:
    """Feed ready documents to tantivy, with the engine's schema, threads, memory and size of a commit."""
    index = tantivy.Index(schema.schema(), str(folder))
    schema.register_words(index)
    start, cpu = time.perf_counter(), time.process_time()
    writer = index.writer(generation.HEAP_BYTES, generation.THREADS)
    size = 0
    for document in ready:
        writer.add_json(document)
        size += len(document)
        if size >= generation.COMMIT_BYTES:
            writer.commit()
            size = 0
    writer.commit()
    writer.wait_merging_threads()
    return Cost(time.perf_counter() - start, time.process_time() - cpu)


# A child's ru_maxrss starts with that of the process that forked it, so it tells of itself.
_SYNC_AND_TELL_PEAK = """
import sys
from cachesync.cli import run
sys.argv = ["cachesync", "sync", "--json"]
code = run()
sys.stderr.write(open("/proc/self/status").read())
sys.exit(code)
"""


def sync(root: Path, index: Path) -> tuple[Cost, dict[str, Any]]:
    """Run ``cachesync sync`` as a whole process."""
    environment = {**os.environ, "CACHESYNC_PAGES__ROOT": str(root), "CACHESYNC_INDEX__URL": f"embedded:{index}"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    command = [sys.executable, "-c", _SYNC_AND_TELL_PEAK]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    report: dict[str, Any] = json.loads(done.stdout)
    report["peak_mb"] = int(done.stderr.rsplit("VmHWM:", 1)[1].split()[0]) / 1024
    return Cost(wall, cpu), report


def sync_cost(tags: int, packages: int, rounds: int, folder: Path) -> dict[str, Any]:
    """Alternate ``sync`` and the bare index, after a warm-up of each, and take medians."""
    root = folder / "pages"
    pages = write_tree(root, tags, packages)
    ready = ready_documents(root)
    bare, whole, again = [], [], []
    peak = 0.0
    for number in range(rounds + 1):
        index, other = folder / f"index{number}", folder / f"bare{number}"
        other.mkdir()
        results = bare_tantivy(ready, other), sync(root, index), sync(root, index)
        assert results[1][1]["specs"]["added"] == len(ready)
        assert results[2][1]["specs"]["added"] == 0
        peak = max(peak, results[1][1]["peak_mb"])
        if number:  # the first is the warm-up
            bare.append(results[0])
            whole.append(results[1][0])
            again.append(results[2][0])
    ratios = [one.wall / other.wall for one, other in zip(bare, whole, strict=True)]
    return {
        "pages": pages,
        "specs": len(ready),
        "sync_docs_per_s": len(ready) / statistics.median(cost.wall for cost in whole),
        "sync_cpu_us_per_doc": statistics.median(cost.cpu for cost in whole) / len(ready) * 1e6,
        "tantivy_docs_per_s": len(ready) / statistics.median(cost.wall for cost in bare),
        "tantivy_cpu_us_per_doc": statistics.median(cost.cpu for cost in bare) / len(ready) * 1e6,
        "sync_to_tantivy": statistics.median(ratios),
        "again_s": statistics.median(cost.wall for cost in again),
        "again_cpu_s": statistics.median(cost.cpu for cost in again),
        "sync_peak_mb": peak,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure cachesync beside the least that could do the same.")
    parser.add_argument("--tags", type=int, default=28, help="28 tags of 1,200 packages are 230,000 specs")
    parser.add_argument("--packages", type=int, default=1200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    arguments = parser.parse_args()
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores")
    page = page_cost(rounds=15)
    print(
        f"page   {page['specs']:,} specs: {page['whole_us_per_spec']:.2f} µs a spec, "
        f"{page['ratio_to_typed']:.2f} x msgspec's typed decode, {page['ratio_to_plain']:.2f} x its plain decode",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        tree = sync_cost(arguments.tags, arguments.packages, arguments.rounds, Path(folder))
    print(
        f"sync   {tree['specs']:,} specs of {tree['pages']:,} pages: {tree['sync_docs_per_s']:,.0f} docs/s, "
        f"{tree['sync_cpu_us_per_doc']:.0f} µs CPU a doc, peak {tree['sync_peak_mb']:.0f} MB\n"
        f"index  ready documents into tantivy: {tree['tantivy_docs_per_s']:,.0f} docs/s, "
        f"{tree['tantivy_cpu_us_per_doc']:.0f} µs CPU a doc\n"
        f"ratio  sync reaches {tree['sync_to_tantivy']:.2f} of the bare index\n"
        f"again  a sync with nothing to do: {tree['again_s']:.2f} s, {tree['again_cpu_s']:.2f} s CPU"
    )
    if arguments.json:
        arguments.json.write_text(json.dumps({"page": page, "sync": tree}, indent=2) + "\n")


if __name__ == "__main__":
    main()

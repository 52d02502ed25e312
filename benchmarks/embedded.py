"""The embedded engine: ``cachesync sync`` into an empty index and again, compared with bare tantivy."""

import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import tantivy

from benchmarks import ready
from benchmarks.measuring import Cost, cachesync, now
from cachesync.index.embedded import generation, schema
from cachesync.index.generation import PageChange


def measure(root: Path, rounds: int, folder: Path) -> dict[str, Any]:
    """Alternate ``sync`` and the bare index, after a warm-up of each, and take medians."""
    changes = ready.changes(root)
    pages, documents = len(changes), _tantivy_documents(changes)
    del changes
    bare, whole, again = [], [], []
    peak = 0.0
    for number in range(rounds + 1):
        index, other = f"embedded:{folder}/index{number}", folder / f"bare{number}"
        other.mkdir()
        results = (
            _bare_tantivy(documents, other),
            cachesync("sync", root, url=index),
            cachesync("sync", root, url=index),
        )
        assert results[1][1]["specs"]["added"] == len(documents)
        assert results[2][1]["specs"]["added"] == 0
        peak = max(peak, results[1][1]["peak_mb"])
        if number:  # the first is the warm-up
            bare.append(results[0])
            whole.append(results[1][0])
            again.append(results[2][0])
    ratios = [one.wall / other.wall for one, other in zip(bare, whole, strict=True)]
    return {
        "pages": pages,
        "specs": len(documents),
        "sync_docs_per_s": len(documents) / statistics.median(cost.wall for cost in whole),
        "sync_cpu_us_per_doc": statistics.median(cost.cpu for cost in whole) / len(documents) * 1e6,
        "tantivy_docs_per_s": len(documents) / statistics.median(cost.wall for cost in bare),
        "tantivy_cpu_us_per_doc": statistics.median(cost.cpu for cost in bare) / len(documents) * 1e6,
        "sync_to_tantivy": statistics.median(ratios),
        "again_s": statistics.median(cost.wall for cost in again),
        "again_cpu_s": statistics.median(cost.cpu for cost in again),
        "sync_peak_mb": peak,
    }


def _tantivy_documents(changes: Iterable[PageChange]) -> list[str]:
    """Return the documents as JSON for tantivy."""
    documents: list[str] = []
    for change in changes:
        documents += map(schema.spec_json, change.puts)
    return documents


def _bare_tantivy(documents: list[str], folder: Path) -> Cost:
    """Add prepared documents to tantivy with the engine's schema, threads, memory and commit size."""
    index = tantivy.Index(schema.schema(), str(folder))
    schema.register_analyzers(index)
    start = now()
    writer = index.writer(generation.HEAP_BYTES, generation.THREADS)
    size = 0
    for document in documents:
        writer.add_json(document)
        size += len(document)
        if size >= generation.COMMIT_BYTES:
            writer.commit()
            size = 0
    writer.commit()
    writer.wait_merging_threads()
    return now().since(start)

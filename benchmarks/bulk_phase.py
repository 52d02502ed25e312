"""How fast the engine writes a new generation; reading, parsing and rendering pages are not part of the time.

It runs as a separate process, so that nothing else affects its times or its memory:

    python -m benchmarks.bulk_phase URL NAME ROOT
"""

import gc
import json
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks import ready
from benchmarks.measuring import now
from cachesync.index.elastic import ElasticIndex
from cachesync.index.elastic.generation import ElasticGeneration
from cachesync.index.generation import PageChange
from cachesync.index.server import IndexServer, Layout


def load(url: str, name: str, changes: list[PageChange]) -> dict[str, Any]:
    """Write prepared changes into a new generation, discard it, and return the figures."""
    with ElasticIndex(IndexServer((url,)), name, Layout()).writer(5) as writer:
        generation = writer.build()
        assert isinstance(generation, ElasticGeneration)
        try:
            figures = _write(generation, changes)
            specs, pages = generation.size()
        finally:
            writer.discard(generation)
    return {**figures, "specs": specs, "pages": pages}


def _write(generation: ElasticGeneration, changes: list[PageChange]) -> dict[str, float]:
    """Time from the first change to the last acknowledgement; the refresh at the end of ``write`` is timed apart."""
    times = []
    refresh = generation.refresh

    def timed_refresh() -> None:
        times.append(now())
        refresh()
        times.append(now())

    gc.collect()
    gc.freeze()  # a reindex never has all changes in memory, where each garbage collection would visit them
    with patch.object(generation, "refresh", timed_refresh):
        start = now()
        refused = [each for written in generation.write(changes) for each in written.refused]
    assert not refused
    acknowledged, refreshed = times
    cost = acknowledged.since(start)
    return {"wall": cost.wall, "cpu": cost.cpu, "refresh": refreshed.since(acknowledged).wall}


def main() -> None:
    """Prepare the changes of a tree, and load them."""
    url, name, root = sys.argv[1:]
    print(json.dumps(load(url, name, ready.changes(Path(root)))))


if __name__ == "__main__":
    main()

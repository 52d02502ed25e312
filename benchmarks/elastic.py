"""The Elasticsearch engine: ``cachesync reindex`` into a real server, compared with the most that the server can take.

There are three loads of the same tree, each into an empty index on the same server:

limit: prepared documents over plain HTTP, see :mod:`.limit`.
bulk: the engine's writing alone, see :mod:`.bulk_phase`.
reindex: the whole command as a process, from its start to its end, including reading the pages, the final scan, the
refresh and the promotion.

Their ratios are computed for each round, and the order of the loads rotates from round to round, so that other
activity on the machine and the warmth of the server affect all of them alike. Finally the usual approach loads a part
of the tree once, see :mod:`.usual`.
"""

import contextlib
import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from benchmarks import limit, measuring, ready
from examples.pages import shape_of
from tests.support import elasticsearch

_WARM_UP_LOADS: Final = 2
"""Loads before the first round, which doesn't count either: the server's JVM takes long to compile what it needs.

With the default tree that is 1.1 million specs. With a small one the server stays cold, and the figures mean little.
"""

_USUAL_TAGS: Final = 2
"""How many tags the usual approach loads; it is slow."""

_REST_SECONDS: Final = 1.2
"""The server updates its own CPU time once a second."""


class _Load(msgspec.Struct, omit_defaults=True):
    """The figures of one load."""

    wall: float
    cpu: float
    """Of the client."""
    refresh: float = 0.0
    """Seconds of the refresh, if ``wall`` doesn't include it."""
    server_cpu: float = 0.0
    peak_mb: float = 0.0
    phases: dict[str, float] = {}
    """Seconds by phase; ``rest`` is the program's start and exit."""


class _Tree(NamedTuple):
    """What to load, and where."""

    url: str
    root: Path
    specs: int
    pages: int


def measure(url: str, root: Path, rounds: int) -> dict[str, Any]:
    """Alternate the three loads, after warm-ups, and take medians; then measure the usual approach."""
    url = url.rstrip("/")
    changes = ready.changes(root)
    tree = _Tree(url, root, sum(len(each.puts) for each in changes), len(changes))
    requests = limit.requests(changes)
    del changes
    loads: dict[str, Callable[[str], _Load]] = {
        "limit": lambda name: _limit(tree, name, requests),
        "bulk": lambda name: _bulk(tree, name),
        "reindex": lambda name: _reindex(tree, name),
    }
    return _figures(tree, _alternated(url, loads, rounds), _usual(tree))


def _alternated(url: str, loads: dict[str, Callable[[str], _Load]], rounds: int) -> dict[str, list[_Load]]:
    """Warm the server up, and run all loads round by round."""
    taken: dict[str, list[_Load]] = {name: [] for name in loads}
    for _ in range(_WARM_UP_LOADS):
        _measured(url, loads["limit"])
    for number in range(rounds + 1):
        for name in _rotated(list(loads), number):
            done = _measured(url, loads[name])
            if number:  # the first is a warm-up too
                taken[name].append(done)
    return taken


def _rotated(names: list[str], number: int) -> list[str]:
    """Rotate the list, so that each round begins with another load."""
    first = number % len(names)
    return names[first:] + names[:first]


# --- loads ------------------------------------------------------------------------------------------------------------


def _limit(tree: _Tree, name: str, requests: list[limit.Request]) -> _Load:
    cost, refresh = limit.load(tree.url, name, requests)
    return _Load(*cost, refresh)


def _bulk(tree: _Tree, name: str) -> _Load:
    _, found = measuring.module("benchmarks.bulk_phase", tree.url, name, str(tree.root))
    assert (found["specs"], found["pages"]) == (tree.specs, tree.pages)
    return _Load(found["wall"], found["cpu"], found["refresh"])


def _reindex(tree: _Tree, name: str) -> _Load:
    cost, report = measuring.cachesync("reindex", tree.root, url=tree.url, name=name)
    assert not report["problems"]
    assert report["specs"]["added"] == elasticsearch.request(f"{tree.url}/{name}/_count")["count"] == tree.specs
    assert report["pages"]["added"] == elasticsearch.request(f"{tree.url}/{name}-pages/_count")["count"] == tree.pages
    phases = report["phases"]
    return _Load(*cost, peak_mb=report["peak_mb"], phases={**phases, "rest": cost.wall - sum(phases.values())})


def _usual(tree: _Tree) -> dict[str, Any]:
    """Load tags whose pages have ``spec_details``; the usual approach can't read others."""
    folders = sorted(each.name for each in (tree.root / "_cache").iterdir())
    tags = [tag for tag in folders if shape_of(tag) != "C"][:_USUAL_TAGS]
    counts = []

    def load(name: str) -> _Load:
        cost, found = measuring.module("benchmarks.usual", tree.url, name, str(tree.root), *tags)
        assert elasticsearch.request(f"{tree.url}/{name}/_count")["count"] == found["specs"]
        counts.append(found["specs"])
        return _Load(*cost)

    done = _measured(tree.url, load)
    return {"tags": tags, "specs": counts[0], **_summary([done], counts[0])}


def _measured(url: str, load: Callable[[str], _Load]) -> _Load:
    """Load into an index with a unique name, remove it, and add the server's CPU time."""
    with _name(url) as name:
        time.sleep(_REST_SECONDS)
        start, before = time.monotonic(), _server_cpu(url)
        done = load(name)
        time.sleep(max(0.0, start + _REST_SECONDS - time.monotonic()))
        done.server_cpu = _server_cpu(url) - before
        return done


@contextlib.contextmanager
def _name(url: str) -> Iterator[str]:
    """Yield a unique name, and remove its indices afterwards."""
    name = f"bench-{uuid.uuid4().hex[:12]}"
    try:
        yield name
    finally:
        elasticsearch.remove(url, name)


def _server_cpu(url: str) -> float:
    """Return the server's total CPU seconds, as it reports them."""
    nodes = elasticsearch.request(f"{url}/_nodes/stats/process")["nodes"].values()
    return float(sum(node["process"]["cpu"]["total_in_millis"] for node in nodes) / 1000)


# --- figures ----------------------------------------------------------------------------------------------------------


def _figures(tree: _Tree, taken: dict[str, list[_Load]], usual: dict[str, Any]) -> dict[str, Any]:
    """Summarize the loads, and add those of each round."""
    summed = {name: _summary(loads, tree.specs) for name, loads in taken.items()}
    bulk_to_limit = _ratios(taken["limit"], taken["bulk"])
    reindex_to_limit = _ratios(taken["limit"], taken["reindex"])
    return {
        "version": elasticsearch.request(f"{tree.url}/_cat/nodes?h=version&format=json")[0]["version"],
        "specs": tree.specs,
        "pages": tree.pages,
        **summed,
        "usual": usual,
        "bulk_to_limit": statistics.median(bulk_to_limit),
        "reindex_to_limit": statistics.median(reindex_to_limit),
        "reindex_to_usual": summed["reindex"]["docs_per_s"] / usual["docs_per_s"],
        "rounds": {
            "bulk_to_limit": bulk_to_limit,
            "reindex_to_limit": reindex_to_limit,
            **{name: msgspec.to_builtins(loads) for name, loads in taken.items()},
        },
    }


def _ratios(limits: list[_Load], loads: list[_Load]) -> list[float]:
    """Return the speed of each round's load as a share of the limit's."""
    return [one.wall / other.wall for one, other in zip(limits, loads, strict=True)]


def _summary(loads: list[_Load], specs: int) -> dict[str, Any]:
    """Return medians per spec document, and the highest peak of memory."""
    found: dict[str, Any] = {
        "docs_per_s": specs / statistics.median(load.wall for load in loads),
        "cpu_us_per_doc": statistics.median(load.cpu for load in loads) / specs * 1e6,
        "server_cpu_us_per_doc": statistics.median(load.server_cpu for load in loads) / specs * 1e6,
    }
    if any(load.refresh for load in loads):
        found["refresh_s"] = statistics.median(load.refresh for load in loads)
    if any(load.phases for load in loads):
        found["peak_mb"] = max(load.peak_mb for load in loads)
        found["phases"] = {name: statistics.median(load.phases[name] for load in loads) for name in loads[0].phases}
    return found

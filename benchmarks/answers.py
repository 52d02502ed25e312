"""How long complete answers take, and how much of that is the engine's time.

One process asks a fixed mix of fifty questions, each with six facets, of about a million specs; it keeps its connection
and the names of packages. Each question is asked several times, alternating with what it is compared to, and the
fastest of each counts, since the machine is noisy.

With Elasticsearch, ``engine`` is the same search body, sent over a persistent connection, with its response read and
decoded. With the embedded engine, it is the time of the search within the answer.
"""

import http.client
import json
import statistics
import time
import urllib.parse
from pathlib import Path
from typing import Any, Final

from benchmarks import measuring
from cachesync.index.elastic import query_dsl
from cachesync.index.engines import open_index
from cachesync.index.generation import Reader
from cachesync.index.server import IndexServer, Layout
from cachesync.search.aliases import load_aliases
from cachesync.search.answer import ask
from cachesync.search.install import MIRROR_URL
from cachesync.search.question import Question
from cachesync.search.request import LATEST, Facet, Filter, Found, Request, SortKey
from cachesync.search.targets import parse_machine
from cachesync.search.vocabulary import Vocabulary

NAME: Final = "answers"

_FACETS: Final = tuple(map(Facet, ("tag", "stacks", "os", "target", "compiler_name", "version")))
_SLOW_MS: Final = 20.0
"""Ratios are only reported for slower searches; for faster ones they would only show fixed overheads."""


def _typed(*texts: str, **more: Any) -> tuple[Question, ...]:
    return tuple(Question(text, facets=_FACETS, **more) for text in texts)


QUESTIONS: Final = (
    *_typed("", "hdf5", "cmake", "mkl", "py", "lib", "numpy", "py torch", "superlu_dist", "openfoam", "cmkae", "foam"),
    *_typed("hdf5@1.14:", "hdf5@1.12:1.14+mpi", "cmake@3.27:", "python@3.11", "openmpi@=4.1.6", "@1.2:", distinct=True),
    *_typed("hdf5%gcc@11", "%gcc@12:", "%oneapi", "boost+mpi%gcc@:11", "%clang@16", "hdf5 +mpi ~cxx", distinct=True),
    *_typed("target=:zen3", "hdf5 target=x86_64_v3:", "zlib os=ubuntu22.04", "arch=linux-rhel8-zen4", "stacks=e4s"),
    *_typed("+cuda", "build_system=cmake", "~shared", "cuda_arch=80", "languages=c++", "/abc"),
    *_typed("cmake gcc 12 ubuntu22.04", "hdf5 e4s", "zen4", "e4s-oneapi trilinos", "1.14.5", "gcc hdf5", distinct=True),
    *_typed("", "hdf5 +mpi", tag=LATEST),
    *_typed("hdf5", "", machine=parse_machine("linux-ubuntu22.04-zen3")),
    *_typed("", "python", filters=(Filter("os", ("ubuntu22.04",)), Filter("target", ("x86_64_v3", "zen4")))),
    *_typed("py", order=(SortKey("version_key", descending=True),), limit=100),
    *_typed("", order=(SortKey("size", descending=True),)),
    *_typed("develop", mode="text"),
)
"""Questions whose answers range from one binary to all of them."""


def measure(root: Path, url: str, folder: Path, rounds: int) -> dict[str, Any]:
    """Fill an index from the pages below ``root``, and measure all questions."""
    cost, _ = measuring.cachesync("sync", root, url=url, name=NAME)
    index = open_index(IndexServer((url,)), NAME, Layout(), folder.joinpath)
    reader = index.reader()
    engine = _Engine(reader) if url.startswith("embedded") else _Elastic(reader, url)
    vocabulary = Vocabulary(reader, load_aliases())
    rows = [_measured(each, engine, vocabulary, rounds) for each in QUESTIONS]
    times = [row["ms"] for row in rows]
    slow = [row["ms"] / row["engine_ms"] for row in rows if row["engine_ms"] > _SLOW_MS]
    return {
        "specs": reader.size()[0],
        "sync_s": cost.wall,
        "median_ms": statistics.median(times),
        "worst_ms": max(times),
        "worst_ratio": max(slow, default=1.0),
        "median_ratio": statistics.median(slow) if slow else 1.0,
        "questions": rows,
    }


def table(found: dict[str, Any]) -> str:
    """Format the figures as a table."""
    lines = [f"{'question':<44} {'specs':>9} {'answer':>9} {'engine':>9} {'ratio':>6} {'asked':>6}"]
    lines += [
        f"{row['question']:<44} {row['total']:>9,} {row['ms']:>6.1f} ms {row['engine_ms']:>6.1f} ms "
        f"{row['ms'] / row['engine_ms']:>6.2f} {row['calls']:>6}"
        for row in sorted(found["questions"], key=lambda each: each["ms"])
    ]
    lines.append(
        f"median {found['median_ms']:.1f} ms, worst {found['worst_ms']:.1f} ms; where the engine takes more than "
        f"{_SLOW_MS:.0f} ms, the answer takes {found['median_ratio']:.2f} of that (median), "
        f"{found['worst_ratio']:.2f} (worst)"
    )
    return "\n".join(lines)


class _Engine:
    """A reader that records its calls."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.calls = 0
        self.requests: list[Request] = []
        self.seconds: list[float] = []

    def __getattr__(self, name: str) -> Any:
        self.calls += name == "count"
        return getattr(self.reader, name)

    def search(self, request: Request) -> Found:
        self.calls += 1
        start = time.perf_counter()
        found = self.reader.search(request)
        self.seconds.append(time.perf_counter() - start)
        self.requests.append(request)
        return found

    def main_request(self) -> int:
        """Return the position of the search with facets."""
        return next(position for position, each in enumerate(self.requests) if each.facets)

    def alone(self) -> float:
        """Return how many seconds the engine itself takes for that search."""
        return self.seconds[self.main_request()]


class _Elastic(_Engine):
    """Times the same body sent directly."""

    def __init__(self, reader: Reader, url: str) -> None:
        super().__init__(reader)
        self._connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc)

    def alone(self) -> float:
        request = self.requests[self.main_request()]
        body = json.dumps({**query_dsl.body(request), "size": request.limit}).encode()
        start = time.perf_counter()
        headers = {"Content-Type": "application/json"}
        self._connection.request("POST", f"/{NAME}/_search", body, headers)
        json.loads(self._connection.getresponse().read())
        return time.perf_counter() - start


def _measured(question: Question, engine: _Engine, vocabulary: Vocabulary, rounds: int) -> dict[str, Any]:
    best = alone = float("inf")
    total = calls = 0
    for _ in range(rounds):
        engine.calls, engine.requests, engine.seconds = 0, [], []
        start = time.perf_counter()
        answer = ask(question, engine, vocabulary, MIRROR_URL)
        best = min(best, time.perf_counter() - start)
        total, calls = answer.found.total, engine.calls
        alone = min(alone, engine.alone())
    return {"question": _named(question), "total": total, "ms": best * 1e3, "engine_ms": alone * 1e3, "calls": calls}


def _named(question: Question) -> str:
    more = [
        *(["--tag latest"] if question.tag else []),
        *(["--arch"] if question.machine else []),
        *(f"--filter {each.field}" for each in question.filters),
        *(f"--sort {each.field}" for each in question.order),
        *(["--distinct"] if question.distinct else []),
    ]
    return " ".join([question.text or '""', *more])[:44]

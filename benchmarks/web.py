"""The web page and the API under load: how many clients they serve, and how much that slows down the sync.

quiet: pages are saved one after the other without any searches, and the web page is fetched with its static files.
storm: many clients search without a pause, each over its own connection, from a separate process on the same cores;
meanwhile as many pages are saved.
export: all specs are fetched as NDJSON; the service's additional memory is measured, without mapped files.

    python -m benchmarks.web [--tags N] [--packages N] [--clients N] [--seconds N] [--pages FOLDER] [--only ENGINE]
                             [--json FILE] [--need-elasticsearch]
"""

import argparse
import contextlib
import gzip
import http.client
import json
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from benchmarks.service import NAME, Running, save
from examples.pages import write_tree
from tests.support import elasticsearch

SAVES: Final = 100
_FACETS: Final = [("facet", field) for field in ("package", "os", "target", "compiler", "stacks", "tag")]
_TEXTS: Final = (
    *(
        "",
        "hdf5",
        "hdf5@1.14: +mpi",
        "py-",
        "cmake gcc",
        "mkl",
        "hdff5",
        "zlib target=:zen3",
        "%gcc@12:",
        "openmpi zen4",
    ),
    *("python@3.11", "e4s trilinos", "+cuda", "build_system=cmake", "pytorch", "superlu_dist", "tag=develop netcdf"),
)
_NARROWED: Final = ((), (("os", "ubuntu22.04"),), (("target", "x86_64_v3"), ("target", "zen4")), (("tag", "latest"),))
_ENOUGH: Final = 10_000_000


def main() -> None:
    """Measure and print the figures."""
    arguments = _arguments()
    if arguments.as_clients:
        print(json.dumps(_clients(arguments.as_clients, arguments.clients, arguments.seconds)))
        return
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = arguments.pages or Path(folder) / "pages"
        if not arguments.pages:
            write_tree(root, arguments.tags, arguments.packages)
        if arguments.only != "elasticsearch":
            found["embedded"] = _measured(root, f"embedded:{folder}/index", arguments)
            _print("embedded", found["embedded"])
        if arguments.only != "embedded":
            try:
                with elasticsearch.server() as url:
                    found["elasticsearch"] = _measured(root, url, arguments)
                    elasticsearch.remove(url, NAME)
                _print("elasticsearch", found["elasticsearch"])
            except elasticsearch.NoServerError as reason:
                if arguments.need_elasticsearch:
                    sys.exit(str(reason))
                print(f"elasticsearch skipped: {' '.join(str(reason).split())}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.web")
    parser.add_argument("--tags", type=int, default=28)
    parser.add_argument("--packages", type=int, default=1_200)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--pages", type=Path, help="an existing tree, to which pages are added")
    parser.add_argument("--only", choices=("embedded", "elasticsearch"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--need-elasticsearch", action="store_true")
    parser.add_argument("--as-clients", metavar="URL", help=argparse.SUPPRESS)
    return parser.parse_args()


def _measured(root: Path, url: str, arguments: argparse.Namespace) -> dict[str, Any]:
    service = Running(root, url)
    try:
        service.until_in_sync()
        found: dict[str, Any] = {"specs": service.status()["specs"]}
        _clients(service.url, 1, 3.0)  # loads what the service loads lazily
        found["page"] = _page(service.url)
        with _saves(root, service, arguments.seconds) as quiet:
            time.sleep(arguments.seconds)
        found["quiet_acknowledged_s"] = quiet
        with _saves(root, service, arguments.seconds) as busy:
            command = [sys.executable, "-m", "benchmarks.web", "--as-clients", service.url]
            options = ["--clients", str(arguments.clients), "--seconds", str(arguments.seconds)]
            done = subprocess.run([*command, *options], check=True, capture_output=True, text=True)
        found["storm"] = json.loads(done.stdout)
        found["storm_acknowledged_s"] = busy
        found["ratio_acknowledged"] = busy["mean"] / quiet["mean"]
        found["export"] = _export(service)
    finally:
        service.stop()
    return found


@contextlib.contextmanager
def _saves(root: Path, service: Running, seconds: float) -> Iterator[dict[str, float]]:
    """Save pages for some seconds; the yielded figures are filled in afterwards."""
    figures: dict[str, float] = {}
    before = _acknowledged(service)
    thread = threading.Thread(target=_save_all, args=(root, seconds), daemon=True)
    thread.start()
    yield figures
    thread.join()
    service.until_in_sync()
    after = _acknowledged(service)
    count = after["count"] - before["count"]
    figures |= {"pages": count, "mean": (after["sum"] - before["sum"]) / count}


def _save_all(root: Path, seconds: float) -> None:
    for number in range(SAVES):
        save(root, f"bench-{number}", f"web{number:03}")
        time.sleep(0.9 * seconds / SAVES)


def _acknowledged(service: Running) -> dict[str, float]:
    text = _get(service.url, "/metrics")[1].decode()
    found = re.findall(r"^cachesync_acknowledged_seconds_(sum|count) (\S+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in found}


def _get(url: str, path: str, headers: dict[str, str] | None = None) -> tuple[float, bytes]:
    """Return the seconds until the first byte of a response, and its body without decompressing it."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
    begun = time.perf_counter()
    connection.request("GET", path, headers=headers or {})
    answer = connection.getresponse()
    first = time.perf_counter() - begun
    body = answer.read()
    connection.close()
    return first, body


def _page(url: str) -> dict[str, float]:
    """Fetch the page as browsers do, with its static files."""
    compressed = {"Accept-Encoding": "gzip"}
    paths = [f"/?{urlencode({'q': text})}" for text in _TEXTS for _ in range(3)]
    firsts = [_get(url, path, compressed)[0] for path in paths]
    html = _get(url, paths[3], compressed)[1]
    parts = set(re.findall(rb'(?:src|href)="([^"]+\.(?:js|css|svg))"', gzip.decompress(html)))
    sizes = [len(_get(url, part.decode(), compressed)[1]) for part in parts]
    return {
        "first_byte_median_ms": statistics.median(firsts) * 1_000,
        "first_byte_max_ms": max(firsts) * 1_000,
        "kb": (len(html) + sum(sizes)) / 1_000,
    }


def _clients(url: str, clients: int, seconds: float) -> dict[str, Any]:
    """Search without a pause, and return statuses and times."""
    statuses: Counter[str] = Counter()
    took: list[float] = []
    end = time.perf_counter() + seconds
    threads = [threading.Thread(target=_search, args=(url, seed, end, statuses, took)) for seed in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took.sort()
    return {
        "statuses": dict(statuses),
        "per_second": len(took) / seconds,
        "median_ms": statistics.median(took) * 1_000 if took else None,
        "p99_ms": took[len(took) * 99 // 100] * 1_000 if took else None,
        "max_ms": took[-1] * 1_000 if took else None,
    }


def _search(url: str, seed: int, end: float, statuses: Counter[str], took: list[float]) -> None:
    random_ = random.Random(seed)
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
    while time.perf_counter() < end:
        pairs = [("q", random_.choice(_TEXTS)), ("distinct", "true"), *_FACETS, *random_.choice(_NARROWED)]
        begun = time.perf_counter()
        try:
            connection.request("GET", f"/api/search?{urlencode(pairs)}")
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            statuses[type(error).__name__] += 1
            connection.close()
            continue
        retry = answer.headers.get("Retry-After")
        statuses[f"{answer.status}" if answer.status != 503 or retry else "503 without Retry-After"] += 1
        if answer.status == 200:
            took.append(time.perf_counter() - begun)


def _export(service: Running) -> dict[str, float]:
    """Export everything, and measure the service's memory meanwhile."""
    before = most = service.own_memory_mb()
    address = urlsplit(service.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=120)
    begun = time.perf_counter()
    connection.request("GET", "/api/search?format=ndjson")
    answer = connection.getresponse()
    lines = size = 0
    while part := answer.read(1 << 20):
        lines += part.count(b"\n")
        if size // _ENOUGH != (size + len(part)) // _ENOUGH:
            most = max(most, service.own_memory_mb())
        size += len(part)
    seconds = time.perf_counter() - begun
    connection.close()
    return {"specs": lines, "mb": size / 1e6, "seconds": seconds, "more_memory_mb": most - before}


def _print(engine: str, found: dict[str, Any]) -> None:
    page, storm, export = found["page"], found["storm"], found["export"]
    quiet, busy = found["quiet_acknowledged_s"], found["storm_acknowledged_s"]
    print(f"{engine}, {found['specs']:,} specs")
    print(
        f"  page     first byte {page['first_byte_median_ms']:.0f} ms (at most {page['first_byte_max_ms']:.0f}), ",
        end="",
    )
    print(f"{page['kb']:.1f} KB with its parts")
    print(
        f"  storm    {storm['statuses']}, {storm['per_second']:.0f} a second, median {storm['median_ms']:.0f} ms, ",
        end="",
    )
    print(f"p99 {storm['p99_ms']:.0f} ms, at most {storm['max_ms']:.0f} ms")
    print(f"  saves    {quiet['mean']:.3f} s while nobody searches, {busy['mean']:.3f} s meanwhile: ", end="")
    print(f"{found['ratio_acknowledged']:.2f} times")
    print(f"  export   {export['specs']:,} specs, {export['mb']:,.0f} MB in {export['seconds']:.0f} s, ", end="")
    print(f"{export['more_memory_mb']:.0f} MB more memory", flush=True)


if __name__ == "__main__":
    main()

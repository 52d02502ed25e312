"""Compare cachesync, in one run on one machine, with the least work that gives the same result.

page: from the bytes of a page to the bytes of its documents, see :mod:`.page`.
embedded: ``cachesync sync`` of a generated tree into an embedded index, see :mod:`.embedded`.
elastic: ``cachesync reindex`` of that tree into a real Elasticsearch, see :mod:`.elastic`. It is skipped if there is
no server.
service: ``cachesync run`` over such a tree, with both engines, see :mod:`.service`.
sizes: disk, memory and time for several corpora, see :mod:`.sizes`. It takes long, so it only runs with ``--only``.

    python -m benchmarks.bench [--only PART] [--tags N] [--packages N] [--rounds N] [--idle SECONDS] [--json FILE]
                               [--sizes N …] [--need-elasticsearch]
"""

import argparse
import contextlib
import json
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from benchmarks import elastic, embedded, limit, page, service, sizes
from examples.pages import write_tree
from tests.support import elasticsearch

_USUAL_PARTS: Final = ("page", "embedded", "elastic", "service")
_PARTS: Final = (*_USUAL_PARTS, "sizes")


def main() -> None:
    """Measure the chosen parts and print the figures."""
    arguments = _arguments()
    parts = arguments.only or _USUAL_PARTS
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores", flush=True)
    figures: dict[str, Any] = {}
    if "page" in parts:
        figures["page"] = page.measure()
        _print_page(figures["page"])
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "pages"
        if {"embedded", "elastic", "service"} & set(parts):
            write_tree(root, arguments.tags, arguments.packages)
        if "embedded" in parts:
            figures["embedded"] = embedded.measure(root, arguments.rounds, Path(folder))
            _print_embedded(figures["embedded"])
        if "elastic" in parts:
            try:
                with elasticsearch.server() as url:
                    figures["elastic"] = elastic.measure(url, root, arguments.rounds)
                _print_elastic(figures["elastic"])
            except elasticsearch.NoServerError as reason:
                print(f"elastic  skipped: {' '.join(str(reason).split())}", flush=True)
        if "service" in parts:  # last, since it changes the pages
            place = f"embedded:{folder}/service"
            figures["service"] = {"embedded": _service(root, place, Path(folder), arguments.idle)}
            with contextlib.suppress(elasticsearch.NoServerError), elasticsearch.server() as url:
                figures["service"]["elasticsearch"] = _service(root, url, Path(folder), arguments.idle)
                elasticsearch.remove(url, service.NAME)
    if "sizes" in parts:
        figures["sizes"] = _sizes(arguments.sizes, arguments.packages)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
    if arguments.need_elasticsearch and "elastic" not in figures:
        sys.exit("elastic could not be measured, though --need-elasticsearch was given")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare cachesync with the least work that gives the same result.")
    parser.add_argument("--only", action="append", choices=_PARTS, help="measure this part; may be repeated")
    parser.add_argument("--tags", type=int, default=28, help="28 tags of 1,200 packages are 240,000 specs")
    parser.add_argument("--packages", type=int, default=1200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--idle", type=float, default=60, help="how many seconds the service is left idle")
    parser.add_argument("--sizes", type=int, nargs="+", default=[3, 30, 120], help="how many tags each corpus has")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--need-elasticsearch", action="store_true", help="fail if there is no server")
    return parser.parse_args()


def _service(root: Path, url: str, folder: Path, idle: float) -> dict[str, Any]:
    """Measure the service with one engine, and print the figures."""
    found = service.measure(root, url, folder, saves=30, idle=idle)
    engine = "embedded" if url.startswith("embedded") else "elastic"
    debounce = service.DEBOUNCE
    rescans = ", ".join(f"{each:.2f} s" for each in found.get("rescan_cpu_s", ())) or "none"
    print(
        f"service  {engine}, {found['storm_pages']:,} pages: in sync after {found['start_s']:.1f} s, "
        f"peak {found['peak_mb'][0]:.0f} MB and {found['peak_mb'][1]:.0f} MB of the watcher\n"
        f"save     acknowledged {(found['save_s']['median'] - debounce) * 1000:.0f} ms after the debounce (median), "
        f"{(found['save_s']['p90'] - debounce) * 1000:.0f} ms (p90); "
        f"a new page {(found['new_page_s']['median'] - debounce) * 1000:.0f} ms\n"
        f"idle     {found.get('idle_share_of_a_core', 0):.3%} of a core, CPU of a rescan: {rescans}\n"
        f"storm    all pages rewritten in {found['storm_written_s']:.1f} s, in sync "
        f"{found['storm_in_sync_s'] - found['storm_written_s']:.1f} s later; 100 saves at once after that: "
        f"{found['after_storm_save_s']['median']:.2f} s (median), {found['after_storm_save_s']['max']:.2f} s (last)",
        flush=True,
    )
    return found


def _sizes(corpora: list[int], packages: int) -> list[dict[str, Any]]:
    """Measure each corpus with both engines, and print the figures as one table."""
    rows = []
    for tags in corpora:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "pages"
            write_tree(root, tags, packages)
            corpus = {"tags": tags, **sizes.of_pages(root)}
            rows.append(corpus | sizes.measure(root, f"embedded:{folder}/index"))
            with contextlib.suppress(elasticsearch.NoServerError), elasticsearch.server() as url:
                rows.append(corpus | sizes.measure(root, url))
                elasticsearch.remove(url, service.NAME)
        print(sizes.table([row for row in rows if row["tags"] == tags]), flush=True)
    if len(corpora) > 1:
        print(sizes.table(rows), flush=True)
    return rows


def _print_page(found: dict[str, Any]) -> None:
    print(
        f"page   {found['specs']:,} specs: {found['whole_us_per_spec']:.2f} µs a spec, "
        f"{found['ratio_to_typed']:.2f} x msgspec's typed decode, {found['ratio_to_plain']:.2f} x its plain decode",
        flush=True,
    )


def _print_embedded(found: dict[str, Any]) -> None:
    print(
        f"sync   {found['specs']:,} specs of {found['pages']:,} pages: {found['sync_docs_per_s']:,.0f} docs/s, "
        f"{found['sync_cpu_us_per_doc']:.0f} µs CPU a doc, peak {found['sync_peak_mb']:.0f} MB\n"
        f"index  ready documents into tantivy: {found['tantivy_docs_per_s']:,.0f} docs/s, "
        f"{found['tantivy_cpu_us_per_doc']:.0f} µs CPU a doc\n"
        f"ratio  sync reaches {found['sync_to_tantivy']:.2f} of the bare index\n"
        f"again  a sync with nothing to do: {found['again_s']:.2f} s, {found['again_cpu_s']:.2f} s CPU",
        flush=True,
    )


def _print_elastic(found: dict[str, Any]) -> None:
    ready, bulk, whole, usual = (found[load] for load in ("limit", "bulk", "reindex", "usual"))
    tags = " and ".join(usual["tags"])
    phases = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in whole["phases"].items())
    print(
        f"Elasticsearch {found['version']}, {found['specs']:,} specs of {found['pages']:,} pages\n"
        f"limit    ready documents over {limit.CONNECTIONS} connections: {_speed(ready)}, "
        f"then {ready['refresh_s']:.2f} s of refresh\n"
        f"bulk     the engine's writing alone: {_speed(bulk)}, then {bulk['refresh_s']:.2f} s of refresh\n"
        f"reindex  the whole command: {_speed(whole)}, peak {whole['peak_mb']:.0f} MB\n"
        f"         of which {phases}\n"
        f"usual    PyYAML and parallel_bulk, {usual['specs']:,} specs of {tags}: {_speed(usual)}\n"
        f"ratio    the engine's writing reaches {found['bulk_to_limit']:.2f} of the limit, "
        f"the whole command {found['reindex_to_limit']:.2f}\n"
        f"ratio    the whole command is {found['reindex_to_usual']:.1f} x as fast as the usual",
        flush=True,
    )


def _speed(load: dict[str, Any]) -> str:
    return (
        f"{load['docs_per_s']:,.0f} docs/s, {load['cpu_us_per_doc']:.1f} µs CPU a doc "
        f"(the server's: {load['server_cpu_us_per_doc']:.0f} µs)"
    )


if __name__ == "__main__":
    main()

"""Measure, in one run on one machine, cachesync beside the least that could do the same.

page: from the bytes of a page to the bytes of its documents, see :mod:`.page`.
embedded: ``cachesync sync`` of a generated tree into an embedded index, see :mod:`.embedded`.

    python -m benchmarks.bench [--only PART] [--tags N] [--packages N] [--rounds N] [--json FILE]
"""

import argparse
import json
import os
import platform
import tempfile
from pathlib import Path
from typing import Any, Final

from benchmarks import embedded, page
from examples.pages import write_tree

_PARTS: Final = ("page", "embedded")


def main() -> None:
    """Measure and print."""
    arguments = _arguments()
    parts = arguments.only or _PARTS
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores")
    figures: dict[str, Any] = {}
    if "page" in parts:
        figures["page"] = page.measure()
        _print_page(figures["page"])
    if "embedded" in parts:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "pages"
            pages = write_tree(root, arguments.tags, arguments.packages)
            figures["embedded"] = {"pages": pages, **embedded.measure(root, arguments.rounds, Path(folder))}
            _print_embedded(figures["embedded"])
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure cachesync beside the least that could do the same.")
    parser.add_argument("--only", action="append", choices=_PARTS, help="measure this part; may be repeated")
    parser.add_argument("--tags", type=int, default=28, help="28 tags of 1,200 packages are 230,000 specs")
    parser.add_argument("--packages", type=int, default=1200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    return parser.parse_args()


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


if __name__ == "__main__":
    main()

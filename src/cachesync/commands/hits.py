"""Prints hits: as a table, as blocks, as lines, or in formats for programs."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import click

from cachesync.commands.output import print_json, uncontrolled
from cachesync.documents import SHORT_HASH
from cachesync.log import printable
from cachesync.search.csv_table import csv_hits, csv_rows
from cachesync.search.install import stacks_of
from cachesync.search.request import Hit
from cachesync.search.siblings import Common, common_variants, differing

COLUMNS: Final = ("package", "version", "compiler", "os", "target", "tag", "hash", "stacks", "variants")
"""The default columns of a table of hits."""

_GAP: Final = "  "


def print_table(hits: Sequence[Hit], columns: Sequence[str]) -> bool:
    """Print a table and return True, or print nothing and return False if the table is too wide for the terminal.

    On a terminal, hashes and lists of tags are shortened, and only variants that differ are shown.
    """
    is_short = sys.stdout.isatty()
    common = common_variants(hits)
    rows = [[_cell(hit, each, common) if is_short else _whole_cell(hit, each) for each in columns] for hit in hits]
    shown = [
        number for number, column in enumerate(columns) if column != "variants" or any(row[number] for row in rows)
    ]
    lines = list(aligned([columns[number] for number in shown], [[row[number] for number in shown] for row in rows]))
    if is_short and max(map(len, lines)) > _terminal_width():
        return False
    _print_lines(lines)
    return True


def _terminal_width() -> int:
    from shutil import get_terminal_size  # noqa: PLC0415  shutil imports archive libraries, which are slow to load

    return get_terminal_size().columns


def aligned(names: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> Iterator[str]:
    """Yield the lines of a table, beginning with its header; columns named in ``right`` are right-aligned."""
    cells = [[printable(cell) for cell in row] for row in (names, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        padded = (
            cell.rjust(width) if name in right else cell.ljust(width)
            for name, cell, width in zip(names, row, widths, strict=True)
        )
        yield _GAP.join(padded).rstrip()


def _print_lines(lines: Sequence[str]) -> None:
    """Print the lines of a table, with a bold header on terminals."""
    for number, line in enumerate(lines):
        click.echo(line if number else click.style(line, bold=True))


def print_counts(field: str, counts: Iterable[tuple[str, int]]) -> None:
    """Print the values of a facet."""
    _print_lines(list(aligned((field, "specs"), [(value, f"{count:,}") for value, count in counts], right=("specs",))))


def print_blocks(hits: Sequence[Hit]) -> None:
    """Print a block for each hit, with all of its fields."""
    for number, hit in enumerate(hits):
        if number:
            click.echo()
        for line in block(hit):
            click.echo(line)


def block(hit: Hit) -> Iterator[str]:
    """Yield the lines of a hit's block."""
    yield printable(f"{hit['package']}@{hit['version']}" + (f" /{hit['hash']}" if "hash" in hit else ""))
    fields = {
        "compiler": hit.get("compiler"),
        "runs on": _architecture(hit),
        "variants": " ".join(hit["variants"]),
        "tags": " ".join(hit.get("tags") or [hit.get("tag", "")]),
        "stacks": " ".join(stacks_of(hit)),
        "size": f"{hit['size']:,} bytes" if "size" in hit else None,
        "page": hit["page"],
    }
    for name, value in fields.items():
        if value:
            yield printable(f"  {name:9} {value}")
    if install := hit.get("install"):
        yield "  install"
        yield from (printable(f"    {command}") for command in install["commands"])


def _architecture(hit: Hit) -> str:
    architecture = "-".join(hit[name] for name in ("platform", "os", "target") if name in hit)
    return f"{architecture} ({hit['runs']})" if "runs" in hit else architecture


def _cell(hit: Hit, column: str, common: Common) -> str:
    match column:
        case "hash" | "binary":
            return str(hit.get(column, ""))[:SHORT_HASH]
        case "tag" if "tags" in hit:
            first, *others = hit["tags"] or [""]
            return f"{first} +{len(others)}" if others else first
        case "variants":
            return " ".join(differing(hit, common))
    return _whole_cell(hit, column)


def _whole_cell(hit: Hit, column: str) -> str:
    match column:
        case "tag" if "tags" in hit:
            return " ".join(hit["tags"])
        case "stacks":
            return " ".join(stacks_of(hit))
    value = hit.get(column, "")
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def print_lines(hits: Iterable[Hit], form: str) -> None:
    """Print a line for each hit: the spec with the hash, only the hash (if the hit has one), or the hit as JSON."""
    for hit in hits:
        hash = f"/{hit['hash']}" if "hash" in hit else None  # in Spack's notation
        if form == "ndjson":
            print_json(hit)
        elif form == "oneline":
            click.echo(printable(f"{hit['spec']} {hash}" if hash else hit["spec"]))
        elif hash:
            click.echo(printable(hash))


def print_csv(hits: Iterable[Hit], columns: Sequence[str]) -> None:
    """Print hits as CSV that is safe in spreadsheets: no cell reads as a formula. Rows are printed as hits arrive."""
    click.echo(csv_rows([columns]), nl=False)
    for hit in hits:
        click.echo(uncontrolled(csv_hits([hit], columns)), nl=False)

"""``cachesync search``: ask the index."""

import time
from collections.abc import Iterator
from itertools import chain

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cachesync.commands.output import plural, print_json
from cachesync.commands.wiring import Wiring
from cachesync.errors import IndexUnusableError
from cachesync.log import printable
from cachesync.search import text
from cachesync.search.request import DEFAULT_LIMIT, Answer, Hit, parse_facet, parse_filters, parse_order

_COLUMNS = ("package", "version", "compiler", "os", "target", "tag", "hash", "stacks")
_WHOLE = ("package", "version", "hash")
_WHOLE_WIDTH = 24
_HASH_SHOWN = 7
_CELL = 80
_STACKS_SHOWN = 2
_UNLIMITED_WIDTH = 10_000


class _Search(click.Command):
    """Spack spells a variant that is off also like an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Say how such a one is asked for, where there is no such option."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if error.option_name.startswith("--"):
                raise
            message = f"{error.message.rstrip('.')}. A variant that is off is written ~NAME, or -NAME after --."
            raise click.NoSuchOption(error.option_name, message, error.possibilities, ctx) from None


@click.command(cls=_Search)
@click.argument("query", nargs=-1)
@click.option("--text", is_flag=True, expose_value=False, help="QUERY is free text, as it is by default.")
@click.option(
    "--filter",
    "filters",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Only documents with this value; repeat for others.",
)
@click.option(
    "--facet", "facets", multiple=True, metavar="FIELD[:N]", help="Count the N most frequent values of a field."
)
@click.option(
    "--sort",
    "sort_keys",
    multiple=True,
    metavar="FIELD[:desc]",
    help="Sort by a field instead of by how well the name matches; repeat to order what is equal by another field.",
)
@click.option(
    "--limit", type=click.IntRange(min=0), default=DEFAULT_LIMIT, show_default=True, help="How many hits to print."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def search(
    wiring: Wiring,
    query: tuple[str, ...],
    filters: tuple[str, ...],
    facets: tuple[str, ...],
    sort_keys: tuple[str, ...],
    limit: int,
    as_json: bool,
) -> int:
    """Find binaries. Without a QUERY everything is found; no hit is no error.

    Words may be typed in part: mkl finds intel-oneapi-mkl. +mpi, ~mpi and key=value are variants.
    What begins with a dash comes after --, so hdf5 -- -mpi is hdf5 ~mpi.
    Values of one filtered field are alternatives, fields combine; a facet isn't narrowed by filters of its own field.

    Fields: package, tag, tag_date, version, version_key, compiler, compiler_name, compiler_version,
    compiler_version_key, hash, digest, os, platform, target, stacks, variants, size, page.
    """
    start = time.perf_counter()
    request = text.search(" ".join(query))._replace(
        filters=parse_filters(filters), facets=tuple(parse_facet(facet) for facet in facets), limit=limit
    )
    if sort_keys:
        request = request._replace(ranks=(), order=tuple(chain.from_iterable(map(parse_order, sort_keys))))
    try:
        answer = wiring.reader().search(request)
    except IndexUnusableError:  # perhaps another generation took its place just then
        answer = wiring.reader().search(request)
    if as_json:
        print_json(_json(answer, round((time.perf_counter() - start) * 1000, 3)))
    else:
        _print(answer)
    return 0


def _json(answer: Answer, took_ms: float) -> dict[str, object]:
    facets = {
        field: [{"value": each.value, "count": each.documents} for each in counts]
        for field, counts in answer.facets.items()
    }
    found: dict[str, object] = {"total": answer.total, "hits": answer.hits, "facets": facets, "took_ms": took_ms}
    return {**found, "approximate_facets": answer.approximate} if answer.approximate else found


def _print(answer: Answer) -> None:
    console = Console(width=None if Console().is_terminal else _UNLIMITED_WIDTH)
    for number, table in enumerate(_tables(answer)):
        if number:
            click.echo()
        _show(console, table)
    shown = f", the first {len(answer.hits):,} shown" if 0 < len(answer.hits) < answer.total else ""
    click.echo(f"{plural(answer.total, 'spec')} found{shown}")


def _tables(answer: Answer) -> Iterator[Table]:
    """Lay out the hits, if there are any, and then each facet."""
    if answer.hits:
        yield _table(_COLUMNS, [[_cell(hit, column) for column in _COLUMNS] for hit in answer.hits], keep=_WHOLE)
    for field, counts in answer.facets.items():
        yield _table((field, "specs"), [[value, f"{documents:,}"] for value, documents in counts], keep=(field,))


def _show(console: Console, table: Table) -> None:
    """Print a table without blanks at the ends of its lines."""
    with console.capture() as capture:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))


def _table(columns: tuple[str, ...], rows: list[list[str]], keep: tuple[str, ...]) -> Table:
    """Lay out rows; where a terminal is too narrow, the columns in ``keep`` stay whole and others are cut."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        longest = max((len(row[number]) for row in rows), default=0)
        least = max(len(column), min(longest, _WHOLE_WIDTH)) if column in keep else None
        table.add_column(column, no_wrap=True, min_width=least, justify="right" if column == "specs" else "left")
    for row in rows:
        table.add_row(*(Text(printable(cell)[:_CELL]) for cell in row))
    return table


def _cell(hit: Hit, column: str) -> str:
    value = hit.get(column, "")
    if column == "hash":
        return str(value)[:_HASH_SHOWN]
    if column == "stacks":  # "root" is the tag's mirror as a whole, on nearly every spec
        stacks = [stack for stack in value if stack != "root"]
        more = f" +{len(stacks) - _STACKS_SHOWN}" if len(stacks) > _STACKS_SHOWN else ""
        return " ".join(stacks[:_STACKS_SHOWN]) + more
    return str(value)

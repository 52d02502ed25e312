"""``cachesync search``: find binaries."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final

import click

from cachesync.commands import completion, hits
from cachesync.commands.components import Components
from cachesync.commands.options import filters_option, server_at, server_option
from cachesync.commands.output import plural, print_json
from cachesync.errors import UsageError
from cachesync.log import printable
from cachesync.search import targets
from cachesync.search.answer import as_object
from cachesync.search.csv_table import COLUMNS
from cachesync.search.interpretation import Mode
from cachesync.search.question import Question
from cachesync.search.request import (
    BINARIES,
    DEFAULT_LIMIT,
    FILTERABLE,
    LATEST,
    Hit,
    check_text,
    parse_facet,
    parse_filters,
    parse_order,
    without_latest,
)

_FORMATS: Final = ("table", "long", "oneline", "hash", "csv", "ndjson", "json")
_FOR_PROGRAMS: Final = frozenset({"csv", "ndjson", "json"})
_LINE_BY_LINE: Final = frozenset({"csv", "ndjson", "oneline", "hash"})
"""Formats that print each hit independently of the others."""

Found = Mapping[str, Any]
"""An answer as a JSON object. For formats that print line by line, the hits may be an iterator."""


class _Search(click.Command):
    """A command whose query may contain variants like ``-mpi``, which look like options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Treat an argument that begins with a dash but isn't an option as part of the query if it follows a word."""
        return super().parse_args(ctx, _separate(args, _options(self)))


def _options(command: click.Command) -> dict[str, bool]:
    """Return whether each option takes a value."""
    options = [each for each in command.params if isinstance(each, click.Option)]
    found = {name: not each.is_flag for each in options for name in (*each.opts, *each.secondary_opts)}
    return {**found, "-h": False, "--help": False}


def _separate(args: Sequence[str], options: dict[str, bool]) -> list[str]:
    """Reorder arguments: options first, then ``--`` and the words of the query."""
    known: list[str] = []
    words: list[str] = []
    rest = iter(args)
    for argument in rest:
        name = argument.partition("=")[0]
        if argument == "--":
            words += rest
        elif name in options:
            known.append(argument)
            if options[name] and argument == name:
                known += [value for value in [next(rest, None)] if value is not None]
        elif argument.startswith("-") and (not words or _is_nearly_one(name, options)):
            known.append(argument)  # click reports that there is no such option
        else:
            words.append(argument)
    return [*known, "--", *words]


def _is_nearly_one(name: str, options: Iterable[str]) -> bool:
    """Whether a word looks like a misspelt option. Words of a Spack spec may begin with a dash, but seldom with two."""
    if not name.startswith("--"):
        return False
    from difflib import get_close_matches  # noqa: PLC0415  few queries have such words

    long = [each for each in options if each.startswith("--")]
    return bool(get_close_matches(name, long, cutoff=0.75))


_HELP: Final = f"""Find binaries. Without QUERY, list all of them. Finding none is not an error.

QUERY is a Spack spec, plain words, or both: hdf5@1.14:+mpi%gcc@11, openmpi zen4, mkl. Several filters of one field
match any of their values; filters of different fields must all match. A facet ignores filters of its own field.

Fields: {", ".join(FILTERABLE)}.
"""


@click.command(cls=_Search, short_help="Find binaries.", help=_HELP)
@click.argument("query", nargs=-1, shell_complete=completion.query)
@click.option("--spec", "mode", flag_value="spec", help="Read QUERY strictly as a Spack spec.")
@click.option("--text", "mode", flag_value="text", help="Read QUERY as words.")
@filters_option
@click.option(
    "--tag",
    metavar=f"TAG|{LATEST}",
    help=f"Only specs of this tag; {LATEST} is the newest tag with a date.",
    shell_complete=completion.tags_or_latest,
)
@click.option("--arch", metavar="MACHINE", help="Only specs that run on MACHINE, as printed by `spack arch`.")
@click.option("--here", is_flag=True, help="Only specs that run on this machine.")
@click.option(
    "--facet",
    "facets",
    multiple=True,
    metavar="FIELD[:N]",
    help="Count the N most frequent values of FIELD; may be repeated.",
    shell_complete=completion.fields(numbers=False),
)
@click.option(
    "--sort",
    "sort_keys",
    multiple=True,
    metavar="FIELD[:desc]",
    shell_complete=completion.order,
    help="Sort by FIELD instead of relevance; may be repeated to break ties.",
)
@click.option(
    "--limit", type=click.IntRange(min=0), default=DEFAULT_LIMIT, show_default=True, help="Maximum number of hits."
)
@click.option(
    "--distinct/--no-distinct",
    default=None,
    help="Show each binary once, with all its tags. Default: yes, but not with csv, ndjson and json.",
)
@click.option("--format", "form", type=click.Choice(_FORMATS), default="table", show_default=True, help="The format.")
@click.option(
    "--columns", metavar="FIELD,…", help="The columns of a table or of csv.", shell_complete=completion.columns(COLUMNS)
)
@click.option("--json", "form", flag_value="json", help="Print one JSON object; same as --format json.")
@server_option
@click.pass_obj
def search(
    components: Components,
    query: tuple[str, ...],
    mode: Mode | None,
    filters: tuple[str, ...],
    tag: str | None,
    arch: str | None,
    here: bool,
    facets: tuple[str, ...],
    sort_keys: tuple[str, ...],
    limit: int,
    distinct: bool | None,
    form: str,
    columns: str | None,
    server: str | None,
) -> int:
    """Find binaries."""
    shown = _columns(columns)
    narrowing, latest = without_latest(parse_filters([*_filters_of(tag), *filters]))
    question = Question(
        text=" ".join(query),
        mode=mode or "auto",
        filters=narrowing,
        tag=latest,
        machine=_machine(arch, here=here),
        facets=tuple(parse_facet(facet) for facet in facets),
        order=tuple(chain.from_iterable(map(parse_order, sort_keys))),
        limit=limit,
        distinct=form not in _FOR_PROGRAMS if distinct is None else distinct,
    )
    if server is None:
        found: Found = as_object(components.ask(question))
    else:
        found = server_at(server).search(question, as_they_come=form in _LINE_BY_LINE)
    if form == "json":
        print_json(found)
        return 0
    for note in found["query"]["notes"]:
        click.echo(printable(f"note: {note}"), err=True)
    _print_hits(found, question, form, shown)
    return 0


def _columns(text: str | None) -> tuple[str, ...] | None:
    """Parse a list of columns."""
    columns = tuple(column.strip() for column in text.split(",")) if text is not None else None
    for column in columns or ():
        if column not in COLUMNS:
            raise UsageError(f"--columns {text:.80}: no column {column!r:.80}; expected some of {', '.join(COLUMNS)}")
    return columns


def _filters_of(tag: str | None) -> Sequence[str]:
    """Return a tag as a filter."""
    if tag is None:
        return ()
    check_text("--tag", tag)
    if not tag:
        raise UsageError(f"--tag: expected a tag, or {LATEST}")
    return (f"tag={tag}",)


def _machine(arch: str | None, *, here: bool) -> targets.Machine | None:
    if here and arch is not None:
        raise UsageError("--here and --arch: expected only one of them")
    if here:
        return targets.this_machine()
    if arch is None:
        return None
    check_text("--arch", arch)
    return targets.parse_machine(arch)


def _print_hits(found: Found, question: Question, form: str, columns: tuple[str, ...] | None) -> None:
    if form in _LINE_BY_LINE:
        number = 0

        def counted() -> Iterator[Hit]:
            nonlocal number
            for number, hit in enumerate(found["hits"], 1):  # noqa: B007  the caller uses the last number
                yield hit

        if form == "csv":
            hits.print_csv(counted(), columns or COLUMNS)
        else:
            hits.print_lines(counted(), form)
        if number < (total := _all(found, question)):
            click.echo(f"note: only {number:,} of {total:,} hits are printed; see --limit.", err=True)
        return
    if form == "long":
        hits.print_blocks(found["hits"])
    elif found["hits"]:
        _print_readably(found["hits"], columns, question.machine)
    _print_rest(found, question)


def _print_readably(found: Sequence[Hit], columns: tuple[str, ...] | None, machine: targets.Machine | None) -> None:
    """Print hits as a table, or as blocks if there is only one hit or the table is too wide."""
    usual = (*hits.COLUMNS, "runs") if machine else hits.COLUMNS
    is_alone = columns is None and len(found) == 1
    if is_alone or not hits.print_table(found, columns or usual):
        hits.print_blocks(found)
    elif sys.stdout.isatty() and any("hash" in hit for hit in found):
        click.echo("`cachesync show /HASH` shows one in full, and how to install it")


def _print_rest(found: Found, question: Question) -> None:
    """Print facets, near misses if nothing was found, and the totals."""
    for number, (field, counts) in enumerate(found["facets"].items()):
        if number or found["hits"]:
            click.echo()
        hits.print_counts(field, [(each["value"], each["count"]) for each in counts])
    for near in found.get("near", []):
        without = near.get("without")
        change = f"if {without} is left out" if without else f"if the package is {near.get('package')} instead"
        click.echo(printable(f"{plural(near['total'], 'spec')} {change}"))
    click.echo(_summary(found, question))


def _summary(found: Found, question: Question) -> str:
    number, total, binaries = len(found["hits"]), found["total"], found["binaries"]
    first = f", the first {f'{number:,} ' if number > 1 else ''}shown" if 0 < number < _all(found, question) else ""
    about = "about " if BINARIES in found.get("approximate", ()) else ""
    distinct = "" if binaries in (None, total) else f", {about}{binaries:,} {'binary' if binaries == 1 else 'binaries'}"
    return f"{plural(total, 'spec')} found{distinct}{first}"


def _all(found: Found, question: Question) -> int:
    """Return how many hits there are without --limit."""
    number: int = found["total"] if found["binaries"] is None or not question.distinct else found["binaries"]
    return number

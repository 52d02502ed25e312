"""``cachesync verify``: does every document say what its page says?"""

from collections.abc import Iterator
from typing import Final

import click

from cachesync.commands import writer
from cachesync.commands.components import Components
from cachesync.commands.outcomes import require_all_done
from cachesync.commands.output import plural, print_json, progress
from cachesync.log import printable
from cachesync.pages.page import by_page
from cachesync.sync.scan import by_path
from cachesync.sync.verify import Verdict
from cachesync.sync.verify import verify as compare

_SHOWN: Final = 20

_BATCH_BYTES: Final = 10_000
"""How long the paths may be that one request to the service names: some proxies take no more than 20 kB at once."""


@click.command(short_help="Compare index and pages document by document.")
@click.option("--repair", is_flag=True, help="Then write the documents that differ anew.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def verify(components: Components, repair: bool, as_json: bool) -> int:
    """Compare index and pages document by document, without believing what the index says of itself.

    Names the pages that differ, and of the first of their documents what is wrong with each: it is missing, extra, or
    different in the fields that are named.

    Exit codes: 0 they are equal, 1 they differ (also if --repair has mended that: run it again to see), 3 no index,
    4 repairing would lose too much.
    """
    with progress("verify") as show:
        verdict = compare(components.source, components.reader(fresh=True), show)
    steady = True
    if repair and verdict.differing:
        with progress("repair") as show:
            for suspects in _batches(verdict.differing):
                report = writer.sync(components, show, suspects=suspects)
                require_all_done(report, components, "sync")
                steady &= not report.again
    if as_json:
        print_json({**verdict.to_json(), "repaired": repair and bool(verdict.differing) and steady})
    else:
        _print(verdict)
        if verdict.differing:
            click.echo(_outcome(verdict, steady) if repair else "to repair: cachesync verify --repair")
    return 1 if verdict.differing or verdict.problems else 0


def _print(verdict: Verdict) -> None:
    for page in verdict.differing[:_SHOWN]:
        click.echo(f"differs  {printable(page)}")
        for each in verdict.documents:
            if each.page == page:
                click.echo(f"  {each.kind:10}{printable(': '.join(filter(None, (each.id, ', '.join(each.fields)))))}")
    if len(verdict.differing) > _SHOWN:
        click.echo(f"… and {len(verdict.differing) - _SHOWN:,} more")
    for problem in by_page(verdict.problems):
        click.echo(printable(str(problem)), err=True)
    for warning in by_path(verdict.warnings):
        click.echo(printable(str(warning)), err=True)
    click.echo(
        f"{plural(verdict.specs, 'spec')} of {plural(verdict.pages, 'page')}: {verdict.missing:,} missing, "
        f"{verdict.extra:,} extra, {verdict.different:,} different; {plural(verdict.ledger, 'wrong record')}"
    )


def _batches(pages: list[str]) -> Iterator[list[str]]:
    """Cut a list of pages into parts that fit into a request."""
    batch: list[str] = []
    size = 0
    for page in pages:
        if batch and size + len(page.encode()) > _BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(page)
        size += len(page.encode())
    if batch:
        yield batch


def _outcome(verdict: Verdict, steady: bool) -> str:
    if not steady:
        return "not all is repaired: pages kept changing while they were read; run it again"
    unusable = {problem.page for problem in verdict.problems}.intersection(verdict.differing)
    if not unusable:
        return "repaired"
    pages = plural(len(unusable), "page")
    return f"repaired, but for the documents of {pages} that can't be used: mending the page puts them right"

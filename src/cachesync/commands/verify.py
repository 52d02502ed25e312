"""``cachesync verify``: compare every document with its page."""

from collections.abc import Iterator
from typing import Final

import click

from cachesync.commands import writer
from cachesync.commands.components import Components
from cachesync.commands.output import plural, print_json, print_problems, progress
from cachesync.log import printable
from cachesync.pages.page import by_page
from cachesync.sync.scan import by_path
from cachesync.sync.verify import Verdict
from cachesync.sync.verify import verify as compare

_SHOWN: Final = 20

_BATCH_BYTES: Final = 10_000
"""The maximum total length of the paths in one request to the service: some proxies limit requests to 20 kB."""


@click.command(short_help="Compare the index with the pages, document by document.")
@click.option("--repair", is_flag=True, help="Rewrite the documents that differ.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def verify(components: Components, repair: bool, as_json: bool) -> int:
    """Compare the index with the pages, document by document, without trusting the index's own records.

    Lists the pages that differ and, for the first documents, whether they are missing, extra, or in which fields they
    differ.

    Exit codes: 0 they are equal, 1 they differed (even if --repair has fixed that: run it again to check), 3 no index,
    4 stopped because a repair would lose too many specs.
    """
    with progress("verify") as show:
        verdict = compare(components.source, components.reader(refresh=True), show)
    steady = True
    if repair and verdict.differing:
        with progress("repair") as show:
            for suspects in _batches(verdict.differing):
                report = writer.sync(components, show, suspects=suspects)
                writer.require_all_done(report, components, "sync")
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
    print_problems([*by_page(verdict.problems), *by_path(verdict.warnings)])
    click.echo(
        f"{plural(verdict.specs, 'spec')} of {plural(verdict.pages, 'page')}: {verdict.missing:,} missing, "
        f"{verdict.extra:,} extra, {verdict.different:,} different; {plural(verdict.ledger, 'wrong record')}"
    )


def _batches(pages: list[str]) -> Iterator[list[str]]:
    """Split a list of pages into parts that each fit into one request."""
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
        return "not everything was repaired: pages kept changing while they were read; run it again"
    unusable = {problem.page for problem in verdict.problems}.intersection(verdict.differing)
    if not unusable:
        return "repaired"
    pages = plural(len(unusable), "page")
    return f"repaired, except for the documents of {pages} with problems: fix the problems to repair them"

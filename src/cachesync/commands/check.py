"""``cachesync check``: are these pages good?"""

from pathlib import Path

import click
import msgspec

from cachesync.commands.output import plural, print_json, progress
from cachesync.commands.paths import named_pages
from cachesync.commands.wiring import Wiring
from cachesync.log import printable
from cachesync.pages.page import Problem


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(readable=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def check(wiring: Wiring, paths: tuple[Path, ...], as_json: bool) -> int:
    """Parse the pages at PATHS and index nothing. A folder stands for all pages in it.

    Prints a line for each problem: path:line: message. Exit codes: 0 all are good, 1 some are not.
    """
    pages = specs = 0
    problems: list[Problem] = []
    with progress("check") as show:
        for _, documents in named_pages(paths, wiring.source, show):
            pages += 1
            if isinstance(documents, Problem):
                problems.append(documents)
            else:
                specs += len(documents)
    if as_json:
        print_json({"pages": pages, "specs": specs, "problems": [msgspec.to_builtins(each) for each in problems]})
    else:
        for problem in problems:
            click.echo(printable(str(problem)))
        click.echo(f"{plural(pages, 'page')}, {plural(specs, 'spec')}, {plural(len(problems), 'problem')}", err=True)
    return 1 if problems else 0

"""``cachesync check``: check pages for problems."""

from pathlib import Path

import click
import msgspec

from cachesync.commands.components import Components
from cachesync.commands.output import plural, print_json, progress
from cachesync.commands.paths import named_pages
from cachesync.log import printable
from cachesync.pages.page import Problem
from cachesync.sync.scan import PathWarning


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(readable=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def check(components: Components, paths: tuple[Path, ...], as_json: bool) -> int:
    """Check the pages at PATHS for problems without indexing them. A folder stands for all pages in it.

    Prints a line for each problem: path:line: message. For a link that isn't followed it is path: warning: message.

    Exit codes: 0 all pages are good, 1 some are not.
    """
    pages = specs = 0
    problems: list[Problem] = []
    warnings: list[PathWarning] = []
    with progress("check") as show:
        for _, documents in named_pages(paths, components.source, show):
            if isinstance(documents, PathWarning):
                warnings.append(documents)
                continue
            pages += 1
            if isinstance(documents, Problem):
                problems.append(documents)
            else:
                specs += len(documents)
    if as_json:
        lists = {"problems": msgspec.to_builtins(problems), "warnings": msgspec.to_builtins(warnings)}
        print_json({"pages": pages, "specs": specs, **lists})
    else:
        for each in (*problems, *warnings):
            click.echo(printable(str(each)))
        counts = [plural(pages, "page"), plural(specs, "spec"), plural(len(problems), "problem")]
        click.echo(", ".join([*counts, *([plural(len(warnings), "warning")] if warnings else [])]), err=True)
    return 1 if problems else 0

"""``cachesync render``: print the documents of pages."""

import sys
from contextlib import nullcontext
from pathlib import Path

import click
import msgspec

from cachesync.commands.components import Components
from cachesync.commands.output import no_progress, print_problems, progress
from cachesync.commands.paths import named_pages
from cachesync.documents import document_id
from cachesync.pages.page import Problem
from cachesync.sync.scan import PathWarning


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(readable=False, path_type=Path))
@click.pass_obj
def render(components: Components, paths: tuple[Path, ...]) -> int:
    """Print the documents of the pages at PATHS as NDJSON.

    Each line is {"_id": …, "_source": {…}}. A folder stands for all pages in it.

    Problems go to stderr. Exit codes: 0 all pages were rendered, 1 some were not.
    """
    skipped: list[Problem | PathWarning] = []
    out = sys.stdout.buffer
    with nullcontext(no_progress) if sys.stdout.isatty() else progress("render") as show:
        for page, documents in named_pages(paths, components.source, show):
            if isinstance(documents, Problem | PathWarning):
                skipped.append(documents)
                continue
            for key, source in documents.items():
                id = msgspec.json.encode(document_id(page, key))
                out.write(b'{"_id":%b,"_source":%b}\n' % (id, source))
    print_problems(skipped)
    return 1 if any(isinstance(each, Problem) for each in skipped) else 0

"""``cachesync status``: how index and pages are."""

import time
from typing import Any

import click
import msgspec

from cachesync.commands.output import plural, print_json
from cachesync.commands.wiring import Wiring
from cachesync.pages.page import Problem
from cachesync.sync.plan import Plan, plan
from cachesync.sync.scan import scan


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def status(wiring: Wiring, as_json: bool) -> int:
    """Tell what the index holds, which pages are problems, and whether it equals the pages on disk now."""
    index = wiring.index
    reader = index.reader()
    specs, pages = reader.size()
    found_on_disk = scan(wiring.source.root, wiring.source.pattern)
    pending = plan(found_on_disk, reader.records(), reader.counts())
    last_synced = None
    problems = list(found_on_disk.problems)
    for record in reader.records():
        last_synced = max(last_synced or record.synced, record.synced)
        if record.problem:
            problems.append(Problem(record.page, record.problem, record.line))
    found: dict[str, Any] = {
        "engine": index.engine,
        "url": index.url,
        "generation": reader.generation,
        "specs": specs,
        "pages": pages,
        "problems": [msgspec.to_builtins(problem) for problem in problems],
        "in_sync": not (pending.read or pending.gone),
        "lag_seconds": _lag(pending),
        "last_synced": last_synced,
    }
    if as_json:
        print_json(found)
    else:
        _print(found, len(pending.read) + len(pending.gone), problems)
    return 0


def _lag(pending: Plan) -> float | None:
    """Return how long the oldest change has waited; None if there are only deletions, which leave no time behind."""
    changed = [each.entry.signature for each in pending.read if each.entry]
    if not changed:
        return None if pending.gone else 0.0
    oldest = min(max(signature.mtime_ns, signature.ctime_ns) for signature in changed)
    return max(0.0, round(time.time() - oldest / 1e9, 3))


def _print(found: dict[str, Any], pending: int, problems: list[Problem]) -> None:
    click.echo(f"index     {found['url']} ({found['generation']})")
    click.echo(f"holds     {plural(found['specs'], 'spec')} of {plural(found['pages'], 'page')}")
    click.echo(f"synced    {found['last_synced'] or 'never'}")
    click.echo("in sync   " + ("yes" if found["in_sync"] else f"no: {plural(pending, 'page')} to look at"))
    click.echo(f"problems  {len(problems)}")
    for problem in problems:
        click.echo(f"  {problem}")

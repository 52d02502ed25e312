"""``cachesync status``: show the state of the index and of the pages."""

import time
from datetime import datetime
from typing import Any

import click
import msgspec

from cachesync.commands.components import Components
from cachesync.commands.options import server_at, server_option
from cachesync.commands.output import plural, print_json
from cachesync.errors import CachesyncError
from cachesync.log import printable
from cachesync.pages.page import Problem, by_page
from cachesync.service.loss_guard import WITHHELD, Withheld
from cachesync.service.schedule import Schedule, noted
from cachesync.sync.guard import question
from cachesync.sync.plan import Todo, plan
from cachesync.sync.scan import PathWarning, by_path, scan


@click.command(short_help="Show what the index holds and whether it is up to date.")
@server_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def status(components: Components, server: str | None, as_json: bool) -> int:
    """Show what the index holds, which pages have problems, and whether it equals the pages on disk now.

    With --server, show what that server knows, without scanning pages: `cachesync run` reports everything, `cachesync
    serve` only what is public.
    """
    if server is not None:
        remote = server_at(server)
        response, known = remote.status()
        if as_json:
            print_json(response)
        else:
            values = msgspec.to_builtins(known, builtin_types=(datetime,))
            _print({**values, "server": remote.url}, _in_sync_at_server(known.in_sync, known.lag_seconds))
        return 0
    found, in_sync = _compare(components)
    if as_json:
        print_json(found)
    else:
        _print(found, in_sync)
    return 0


def _compare(components: Components) -> tuple[dict[str, Any], str]:
    """Return the state of the index and of the pages, and a phrase that says whether they are equal."""
    reader = components.reader()
    index_status = components.index.status()
    kept = index_status.kept
    specs, pages = reader.size()
    problems: list[Problem] = []
    warnings: list[PathWarning] = []
    last_written = None
    for record in reader.records():
        last_written = max(last_written or record.synced, record.synced)
        if record.problem:
            problems.append(Problem(record.page, record.problem, record.line))
    waiting: list[Todo] | None = None
    reason = None
    try:
        on_disk = scan(components.source)
    except CachesyncError as error:
        reason = str(error).splitlines()[0]
    else:
        pending = plan(on_disk, reader.records(), reader.counts())
        waiting = [todo for todo in [*pending.read, *pending.gone] if not todo.is_retry]
        problems += on_disk.problems
        warnings = by_path(on_disk.warnings)
        if on_disk.unread:
            reason = f"{plural(len(on_disk.unread), 'path')} can't be scanned"
    notes = components.index.notes()
    withheld = Withheld.decoded(notes.get(WITHHELD)) if index_status.service else Withheld()
    schedule = Schedule(components.config.schedule.reindex, components.config.schedule.timezone)
    last_reindex, next_reindex = noted(schedule, notes)
    found: dict[str, Any] = {
        "engine": components.index.engine,
        "url": components.index.url,
        "generation": reader.generation,
        "specs": specs,
        "pages": pages,
        "problems": [msgspec.to_builtins(problem) for problem in by_page(problems)],
        "warnings": [msgspec.to_builtins(warning) for warning in warnings],
        "in_sync": waiting == [] and not reason,
        "lag_seconds": None if waiting is None else _lag(waiting),
        "last_written": last_written,
        "holder": index_status.holder,
        "service": index_status.service,
        "held_deletes": {"pages": withheld.pages, "specs": withheld.specs},
        "last_reindex": last_reindex,
        "next_reindex": next_reindex,
        "held_after_rollback": index_status.pinned,
        "kept_generations": kept,
        "rollback": {"generation": kept[0], "made": components.index.made(kept[0])} if kept else None,
        "reindex_needed": reader.outdated,
    }
    return found, _in_sync(waiting, reason, found["lag_seconds"])


def _print(found: dict[str, Any], in_sync: str) -> None:
    """Print the state. A server's state may lack some keys and have additional ones."""
    lines = {
        "server": found.get("server"),
        "index": found["url"] and f"{found['url']} ({found['generation']})",
        "holds": f"{plural(found['specs'], 'spec')} of {plural(found['pages'], 'page')}",
        "written": found["last_written"] or "never",
        "in sync": in_sync,
        "not ready": found.get("reason"),
        "degraded": "; ".join(found.get("degraded", ())),
        "writer": _writer(**found),
        "reindex": _reindex(found["last_reindex"], found["next_reindex"]),
        "rollback": _rollback(found["rollback"]),
        "withheld": _withheld(**found["held_deletes"]),
        "pinned": found["held_after_rollback"] and "after a rollback; `cachesync reindex` unpins it",
        "outdated": found["reindex_needed"] and "made by another version; `cachesync reindex` brings it up to date",
        "problems": found["problems"] is not None and str(len(found["problems"])),
        "warnings": found["warnings"] and str(len(found["warnings"])),
    }
    for name, value in lines.items():
        if value:
            click.echo(printable(f"{name:10}{value}"))
    for each in found["problems"] or ():
        click.echo(f"  {printable(str(Problem(**each)))}")
    for each in found["warnings"]:
        click.echo(f"  {printable(str(PathWarning(**each)))}")


def _writer(holder: str | None, service: bool, **others: Any) -> str | None:
    """Describe the index's writer; return None if a server doesn't reveal it."""
    if holder:
        return f"{holder}{', a service' if service else ''}"
    return None if "server" in others else "none: no `cachesync run` keeps the index up to date"


def _reindex(last: datetime | None, upcoming: datetime | None) -> str | None:
    times = [f"{word} {moment:%Y-%m-%d %H:%M} UTC" for word, moment in (("last", last), ("next", upcoming)) if moment]
    return ", ".join(times) or None


def _rollback(rollback: dict[str, Any] | None) -> str | None:
    if rollback is None:
        return None
    made = rollback["made"]
    return f"would go back to {rollback['generation']}" + (f", made {made:%Y-%m-%d %H:%M} UTC" if made else "")


def _withheld(pages: int, specs: int) -> str | None:
    if not pages:
        return None
    what = f"deletes of {plural(pages, 'page')} with {plural(specs, 'spec')}"
    return f"{what}, too many at once. {question()}"


def _in_sync(waiting: list[Todo] | None, reason: str | None, lag: float | None) -> str:
    if reason:
        return f"unknown: {reason}"
    if not waiting:
        return "yes"
    oldest = "" if lag is None else f", for up to {plural(round(lag), 'second')}"
    return f"no: {plural(len(waiting), 'page')} waiting{oldest}, such as {printable(waiting[0].page)}"


def _in_sync_at_server(known: bool | None, lag: float | None) -> str:
    """Return a phrase that says whether a server's index equals the pages, according to the server."""
    if known is None:
        return "unknown"
    return "yes" if known else f"no, for up to {plural(round(lag), 'second')}" if lag else "no"


def _lag(waiting: list[Todo]) -> float | None:
    """Return how many seconds the oldest change has waited; None if all are deletions, whose times are unknown."""
    changed = [todo.entry.signature for todo in waiting if todo.entry]
    if not changed:
        return None if waiting else 0.0
    oldest = min(max(signature.mtime_ns, signature.ctime_ns) for signature in changed)
    return max(0.0, round(time.time() - oldest / 1e9, 3))

"""Prepare what a reindex of a tree writes, before any clock starts."""

from pathlib import Path
from typing import Final

from cachesync.config import PagesConfig
from cachesync.index.generation import PageChange
from cachesync.pages.pattern import Pattern
from cachesync.sync.apply import Apply
from cachesync.sync.guard import Guard
from cachesync.sync.plan import plan
from cachesync.sync.report import Report
from cachesync.sync.scan import Source, scan

_DEFAULTS: Final = PagesConfig()


def changes(root: Path) -> list[PageChange]:
    """Return the change of every page as in ``reindex``: parsed, rendered, with digests and its record."""
    source = Source(root, Pattern(_DEFAULTS.include, _DEFAULTS.exclude, _DEFAULTS.ignore), _DEFAULTS.max_bytes)
    report = Report()
    made = list(Apply(source, None, plan(scan(source), [], {}), Guard(1), report).changes())
    assert not report.problems
    return made

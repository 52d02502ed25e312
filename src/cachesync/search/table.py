"""Hits as a table for programs that work out what looks like a formula."""

import io
from collections.abc import Iterable, Sequence
from typing import Any, Final

from cachesync.documents import FIELDS
from cachesync.search.request import ID, Hit

COLUMNS: Final = (ID, *FIELDS, "tags", "runs")
"""All that a table can show of a hit."""

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a cell of a spreadsheet begins with that is to be worked out."""


def csv_rows(rows: Iterable[Sequence[Any]]) -> str:
    """Return rows of values as CSV. No cell is worked out as a formula, and lists stand in square brackets."""
    import csv  # noqa: PLC0415  a search that prints no such table does without

    output = io.StringIO()
    csv.writer(output).writerows([_cell(value) for value in row] for row in rows)
    return output.getvalue()


def csv_hits(hits: Iterable[Hit], columns: Sequence[str]) -> str:
    """Return a row of CSV for each hit."""
    return csv_rows([hit.get(column) for column in columns] for hit in hits)


def _cell(value: Any) -> str:
    text = f"[{' '.join(map(str, value))}]" if isinstance(value, list) else "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text

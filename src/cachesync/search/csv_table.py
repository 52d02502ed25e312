"""Write hits as CSV that is safe to open in spreadsheets, which would evaluate cells that look like formulas."""

import io
from collections.abc import Iterable, Sequence
from typing import Any, Final

from cachesync.documents import FIELDS
from cachesync.search.request import ID, Hit

COLUMNS: Final = (ID, *FIELDS, "tags", "runs")
"""All columns that a table of hits can have."""

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
"""The first characters of cells that spreadsheets evaluate."""


def csv_rows(rows: Iterable[Sequence[Any]]) -> str:
    """Return rows of values as CSV. Cells that look like formulas are quoted, and lists are in square brackets."""
    import csv  # noqa: PLC0415  most searches don't write CSV

    output = io.StringIO()
    csv.writer(output).writerows([_cell(value) for value in row] for row in rows)
    return output.getvalue()


def csv_hits(hits: Iterable[Hit], columns: Sequence[str]) -> str:
    """Return hits as CSV, with one row for each hit."""
    return csv_rows([hit.get(column) for column in columns] for hit in hits)


def _cell(value: Any) -> str:
    text = f"[{' '.join(map(str, value))}]" if isinstance(value, list) else "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text

"""A stand-in for dashboards in Kibana, where Kibana can't be run: drawn from the saved objects, by ``make pictures``.

Titles, places, columns, order and formats are what the saved objects say; what a panel shows is what its search finds
(:mod:`tests.support.lens`) in the documents of an index. Colours and letters are our own, and nothing can be clicked.
"""

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final

from docs.aggregations import Document, answer
from tests.support import lens

SavedObject = Mapping[str, Any]

_NOTE: Final = "A stand-in, drawn from the saved objects. Kibana looks different."

_STYLE: Final = """
  :root { color-scheme: light dark; --ground: #f6f8fa; --paper: #fff; --ink: #1d2433; --soft: #5a6478; --line: #dce1ea;
    --bar: #4f8a8b; --note: #fff3d3; }
  @media (prefers-color-scheme: dark) { :root { --ground: #10141c; --paper: #181d27; --ink: #e3e8f1; --soft: #9aa5b8;
    --line: #2d3442; --bar: #69b3b0; --note: #3a3014; } }
  * { box-sizing: border-box; margin: 0; }
  body { padding: 12px; background: var(--ground); color: var(--ink); font: 13px/1.4 "DejaVu Sans", sans-serif; }
  header { display: flex; flex-wrap: wrap; gap: 4px 16px; align-items: baseline; margin-bottom: 8px; }
  h1 { font-size: 18px; }
  .note { padding: 2px 8px; border-radius: 4px; background: var(--note); }
  .soft { color: var(--soft); }
  .controls { display: flex; flex-wrap: wrap; gap: 8px; margin-bottom: 8px; }
  .controls span { flex: 1 1 130px; padding: 5px 8px; border: 1px solid var(--line); border-radius: 4px;
    background: var(--paper); white-space: nowrap; }
  .controls b { margin-right: 10px; font-weight: 600; }
  .grid { display: grid; grid-template-columns: repeat(48, minmax(0, 1fr)); grid-auto-rows: 12px; gap: 8px; }
  .panel { display: flex; flex-direction: column; min-width: 0; padding: 8px; overflow: hidden;
    border: 1px solid var(--line); border-radius: 6px; background: var(--paper); }
  h2 { margin-bottom: 6px; font-size: 13px; }
  .metric { justify-content: space-between; }
  .metric b { align-self: end; font-size: 30px; line-height: 1; }
  table { width: 100%; border-collapse: collapse; font-size: 11.5px; }
  .rows { flex: 1; overflow: hidden; }
  th { color: var(--soft); font-weight: 600; text-align: left; }
  th, td { padding: 3px 6px; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: break-word; }
  td div { display: -webkit-box; overflow: hidden; -webkit-box-orient: vertical; -webkit-line-clamp: 3; }
  .number { text-align: right; white-space: nowrap; }
  .pages { padding-top: 6px; color: var(--soft); font-size: 11.5px; }
  .bars { display: grid; grid-template-columns: fit-content(45%) 1fr; gap: 2px 8px; flex: 1;
    align-content: space-evenly; font-size: 10.5px; line-height: 1.1; }
  .bars > span { overflow: hidden; text-align: right; text-overflow: ellipsis; white-space: nowrap; }
  .bars div { display: flex; align-items: center; gap: 4px; }
  .bars i { flex: none; height: 9px; background: var(--bar); }
  .timeline { position: relative; flex: 1; margin: 6px 0 18px 44px; border-bottom: 1px solid var(--line); }
  .timeline i { position: absolute; bottom: 0; background: var(--bar); }
  .timeline span { position: absolute; color: var(--soft); font-size: 10.5px; white-space: nowrap; }
  @media (max-width: 700px) { .grid { display: block; } .panel { margin-bottom: 8px; } }
"""


def html(dashboard: SavedObject, views: Mapping[str, SavedObject], documents: Iterable[Document]) -> str:
    """Return the page that shows a dashboard.

    Args:
        dashboard: it, as it is exported.
        views: the data views by their ids.
        documents: those behind the only data view that it has.
    """
    attributes = dashboard["attributes"]
    (view,) = {each["id"] for each in dashboard["references"]}
    formats = json.loads(views[view]["attributes"]["fieldFormatMap"])
    documents = list(documents)
    shown = []
    for saved in json.loads(attributes["panelsJSON"]):
        panel = lens.Panel(saved["embeddableConfig"]["attributes"])
        rows = panel.rows(answer(panel.request(), documents))
        shown.append(_placed(saved, _Drawing(panel, formats).html(rows)))
    chosen = sorted(json.loads(attributes["controlGroupInput"]["panelsJSON"]).values(), key=lambda each: each["order"])
    controls = (f"<span><b>{escape(each['explicitInput']['title'])}</b><i class=soft>Any</i></span>" for each in chosen)
    return f"""<!doctype html><html lang=en><meta charset=utf-8><title>{escape(attributes["title"])}</title>
        <style>{_STYLE}</style>
        <header><h1>{escape(attributes["title"])}</h1><p class=soft>{escape(attributes["description"])}</p>
        <p class=note>{_NOTE}</p></header>
        <div class=controls>{"".join(controls)}</div><main class=grid>{"".join(shown)}</main></html>"""


def _placed(saved: Mapping[str, Any], inside: str) -> str:
    """Return a panel at its place."""
    place, config = saved["gridData"], saved["embeddableConfig"]
    title = "" if config["hidePanelTitles"] else f"<h2>{escape(config['title'])}</h2>"
    area = f"{place['y'] + 1} / {place['x'] + 1} / span {place['h']} / span {place['w']}"
    kind = " metric" if config["hidePanelTitles"] else ""
    return f'<section class="panel{kind}" style="grid-area: {area}">{title}{inside}</section>'


class _Drawing:
    """Draws what a panel shows."""

    def __init__(self, panel: lens.Panel, formats: Mapping[str, Any]) -> None:
        """Draw a panel whose data view has these formats of fields."""
        self._panel = panel
        self._formats = formats
        self._columns: Mapping[str, Any] = {**panel.buckets, **panel.metrics}
        self._shown = panel.attributes["state"]["visualization"]

    def html(self, rows: Sequence[lens.Row]) -> str:
        """Return rows as the panel shows them."""
        match self._panel.attributes["visualizationType"]:
            case "lnsMetric":
                return self._metric(rows)
            case "lnsDatatable":
                return self._table(rows)
            case "lnsXY":
                return (self._bars if self._shown["preferredSeriesType"] == "bar_horizontal" else self._timeline)(rows)
        raise ValueError(f"{self._panel.attributes['visualizationType']} is no visualization that is known here")

    def _metric(self, rows: Sequence[lens.Row]) -> str:
        column = self._columns[self._shown["metricAccessor"]]
        (row,) = rows
        return f"<span>{escape(column['label'])}</span><b>{self._text(column, row[column['label']])}</b>"

    def _table(self, rows: Sequence[lens.Row]) -> str:
        columns = [self._columns[each["columnId"]] for each in self._shown["columns"] if not each.get("hidden")]
        if sorting := self._shown.get("sorting"):
            label = self._columns[sorting["columnId"]]["label"]
            rows = sorted(rows, key=lambda row: str(row[label]), reverse=sorting["direction"] == "desc")
        head = "".join(f"<th{_class(each)}>{escape(each['label'])}" for each in columns)
        size = self._shown["paging"]["size"]
        lines = (
            "".join(f"<td{_class(each)}><div>{self._text(each, row[each['label']])}</div>" for each in columns)
            for row in rows[:size]
        )
        pages = -(-len(rows) // size)
        more = f"<p class=pages>Rows per page: {size} · page 1 of {pages}</p>" if pages > 1 else ""
        return f"<div class=rows><table><tr>{head}{''.join(f'<tr>{line}' for line in lines)}</table></div>{more}"

    def _bars(self, rows: Sequence[lens.Row]) -> str:
        group, value = self._axes()
        most = max((row[value["label"]] for row in rows), default=1)
        lines = []
        for row in rows:
            number = row[value["label"]]
            bar = f"<i style='width: {80 * number / most:.2f}%'></i>{self._text(value, number)}"
            lines.append(f"<span>{self._text(group, row[group['label']])}</span><div>{bar}</div>")
        return f"<div class=bars>{''.join(lines)}</div>"

    def _timeline(self, rows: Sequence[lens.Row]) -> str:
        """Draw upright bars, each as wide as its week."""
        group, value = self._axes()
        days = [dt.date.fromisoformat(row[group["label"]]).toordinal() for row in rows]
        first, width = min(days), max(days) + 7 - min(days)
        most = max(row[value["label"]] for row in rows)
        bars = []
        for day, row in zip(days, rows, strict=True):
            left, share = 100 * (day - first) / width, row[value["label"]] / most
            bars.append(f"<i style='left: {left:.2f}%; width: {600 / width:.2f}%; height: {95 * share:.2f}%'></i>")
        labels = f"<span style='left: 0; top: 100%'>{dt.date.fromordinal(days[0])}</span>"
        labels += f"<span style='right: 0; top: 100%'>{dt.date.fromordinal(days[-1])}</span>"
        labels += f"<span style='right: calc(100% + 6px); top: 0'>{self._text(value, most)}</span>"
        return f"<div class=timeline>{''.join(bars)}{labels}</div>"

    def _axes(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Return the column that groups and the one that is counted."""
        (layer,) = self._shown["layers"]
        (accessor,) = layer["accessors"]
        return self._columns[layer["xAccessor"]], self._columns[accessor]

    def _text(self, column: Mapping[str, Any], value: Any) -> str:
        """Return a value as Kibana formats it by default or as the data view says."""
        if isinstance(value, list):
            return ", ".join(self._text(column, each) for each in value)
        if value is None:
            return "-" if column["operationType"] != "sum" else "0"
        if column["dataType"] == "date":
            days_only = column["sourceField"] in self._formats
            when = dt.datetime.fromisoformat(value)
            return f"{when:%Y-%m-%d}" if days_only else f"{when:%b %d, %Y @ %H:%M:%S}.{when.microsecond // 1000:03}"
        if column["dataType"] == "number" and self._formats.get(column["sourceField"], {}).get("id") != "number":
            return f"{value:,}"
        return escape(str(value))


def _class(column: Mapping[str, Any]) -> str:
    return " class=number" if column["dataType"] == "number" else ""

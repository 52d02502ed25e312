"""Visualizations as Lens keeps them: columns that become an aggregation, and how the result is shown.

What a column says, and which aggregation it becomes, stands in Kibana's sources under
``lens/public/datasources/form_based/operations/definitions``; the names of what shows them under
``lens-common/visualizations``. Lens counts its columns as buckets, which group, and metrics, which are computed of each
group. Buckets come first, the outermost before the others, and are shown in that order.
"""

from dataclasses import dataclass
from typing import Any, Final, Literal

from cachesync.kibana.objects import DataView, kql

_LAYER: Final = "l1"
_RECORDS: Final = "___records___"
"""The field of a column that counts documents."""

_DATA_TYPES: Final = {
    "keyword": "string",
    "text": "string",
    "date": "date",
    "long": "number",
    "integer": "number",
    "boolean": "boolean",
}

_BUCKETS: Final = ("terms", "date_histogram")
_SCALES: Final = {"terms": "ordinal", "date_histogram": "interval"}

Operation = Literal["terms", "date_histogram", "count", "unique_count", "sum", "max", "last_value"]


@dataclass(frozen=True)
class Column:
    """One column of a visualization."""

    label: str
    operation: Operation
    field: str = _RECORDS
    where: str = ""
    """Which documents it looks at, in Kibana's query language."""
    size: int = 0
    """How many groups, at most."""
    order_by: "Column | None" = None
    """The column that says which groups come first: those with the largest value."""
    exclude: tuple[str, ...] = ()
    """Values that are no groups."""
    latest_by: str = ""
    """The date that says which document is the last one."""
    hidden: bool = False
    """It is computed, but not shown."""

    @property
    def is_bucket(self) -> bool:
        """Whether it groups."""
        return self.operation in _BUCKETS


def top(
    label: str, field: str, size: int, by: Column, *, exclude: tuple[str, ...] = (), hidden: bool = False
) -> Column:
    """Group by the values of a field: those ``size`` that are first by another column."""
    return Column(label, "terms", field, size=size, order_by=by, exclude=exclude, hidden=hidden)


def weeks(label: str, field: str) -> Column:
    """Group by the calendar weeks of a date."""
    return Column(label, "date_histogram", field)


def count(label: str, where: str = "") -> Column:
    """Count documents."""
    return Column(label, "count", where=where)


def unique(label: str, field: str) -> Column:
    """Count different values: exact below 3,000, a few per mille off above (Elasticsearch's cardinality)."""
    return Column(label, "unique_count", field)


def total(label: str, field: str) -> Column:
    """Add values up."""
    return Column(label, "sum", field)


def largest(label: str, field: str) -> Column:
    """The largest value; of dates the last."""
    return Column(label, "max", field)


def last(label: str, field: str, by: str) -> Column:
    """All values of the document whose date is the last one."""
    return Column(label, "last_value", field, latest_by=by)


@dataclass(frozen=True)
class Visualization:
    """Columns, and how they are shown.

    A ``metric`` shows one number, ``bars`` a horizontal bar for each group, ``timeline`` an upright one for each
    stretch of time, ``table`` a row for each group.
    """

    title: str
    view: DataView
    shape: Literal["metric", "bars", "timeline", "table"]
    columns: tuple[Column, ...]
    query: str = ""
    """Which documents it is made from, in Kibana's query language."""
    sort: tuple[Column, Literal["asc", "desc"]] | None = None
    """In which order a table shows its rows; else as they come, largest first."""

    def attributes(self) -> dict[str, Any]:
        """Return what Lens saves of it."""
        ids = {column: f"c{number}" for number, column in enumerate(self.columns, 1)}
        ordered = sorted(self.columns, key=lambda column: not column.is_bucket)
        layer = {
            "columns": {ids[column]: self._column(column, ids) for column in ordered},
            "columnOrder": [ids[column] for column in ordered],
            "incompleteColumns": {},
        }
        return {
            "title": self.title,
            "type": "lens",
            "visualizationType": _TYPES[self.shape],
            "references": [self.view.reference(f"indexpattern-datasource-layer-{_LAYER}")],
            "state": {
                "visualization": self._shown(ids),
                "query": kql(self.query),
                "filters": [],
                "datasourceStates": {"formBased": {"layers": {_LAYER: layer}}},
                "internalReferences": [],
                "adHocDataViews": {},
            },
        }

    def _column(self, column: Column, ids: dict[Column, str]) -> dict[str, Any]:
        """Return a column of the layer. A label that isn't marked as custom is replaced by one of Lens's own."""
        keeps_type = column.operation in (*_BUCKETS, "max", "last_value")
        data_type = _DATA_TYPES[self.view.types[column.field]] if column.field != _RECORDS else "number"
        text = column.operation == "last_value" and data_type == "string"
        state = {
            "label": column.label,
            "customLabel": True,
            "dataType": data_type if keeps_type else "number",
            "operationType": column.operation,
            "isBucketed": column.is_bucket,
            "scale": _SCALES.get(column.operation, "ordinal" if text else "ratio"),
            "sourceField": column.field,
            "params": self._params(column, ids),
        }
        if column.where:
            state["filter"] = kql(column.where)
        return state

    def _params(self, column: Column, ids: dict[Column, str]) -> dict[str, Any]:
        match column.operation:
            case "terms":
                assert column.order_by
                return {
                    "size": column.size,
                    "orderBy": {"type": "column", "columnId": ids[column.order_by]},
                    "orderDirection": "desc",
                    "otherBucket": False,
                    "missingBucket": False,
                    "parentFormat": {"id": "terms"},
                    "include": [],
                    "exclude": list(column.exclude),
                    "includeIsRegex": False,
                    "excludeIsRegex": False,
                }
            case "date_histogram":
                # Nothing else follows the time picker, so this doesn't either; an interval of "auto" would need it.
                return {"interval": "1w", "ignoreTimeRange": True, "includeEmptyRows": False, "dropPartials": False}
            case "last_value":
                # As arrays: top_hits, of which every value is shown; else top_metrics, which knows only one.
                return {"sortField": self.view.checked(column.latest_by), "showArrayValues": True}
            case _:
                return {"emptyAsNull": False}

    def _shown(self, ids: dict[Column, str]) -> dict[str, Any]:
        layer = {"layerId": _LAYER, "layerType": "data"}
        if self.shape == "metric":
            return {**layer, "metricAccessor": ids[self.columns[0]]}
        if self.shape == "table":
            columns = [{"columnId": ids[column], "hidden": column.hidden} for column in self.columns]
            sorting = {"sorting": {"columnId": ids[self.sort[0]], "direction": self.sort[1]}} if self.sort else {}
            paging = {"paging": {"enabled": True, "size": 20}}
            return {**layer, "columns": columns, **sorting, **paging, "rowHeight": "custom", "rowHeightLines": 3}
        group, value = self.columns
        series = "bar_horizontal" if self.shape == "bars" else "bar"
        return {
            "legend": {"isVisible": False, "position": "right"},
            "valueLabels": "show" if self.shape == "bars" else "hide",
            "preferredSeriesType": series,
            "axisTitlesVisibilitySettings": {"x": False, "yLeft": True, "yRight": False},
            "layers": [{**layer, "seriesType": series, "xAccessor": ids[group], "accessors": [ids[value]]}],
        }


_TYPES: Final = {"metric": "lnsMetric", "bars": "lnsXY", "timeline": "lnsXY", "table": "lnsDatatable"}

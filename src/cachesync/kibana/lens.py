"""Visualizations in Lens's format: columns that become an aggregation, and the display of its result.

The format of columns and the aggregations that they become are defined in Kibana's sources under
``lens/public/datasources/form_based/operations/definitions``, and the types of visualizations under
``lens-common/visualizations``. A column is either a bucket, which groups documents, or a metric, which is computed for
each group. Buckets come first, outermost first, and are displayed in that order.
"""

from dataclasses import dataclass
from typing import Any, Final, Literal

from cachesync.kibana.objects import DataView, kql

_LAYER: Final = "l1"
_RECORDS: Final = "___records___"
"""The pseudo-field of a column that counts documents."""

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
    """Limits the column to documents that match this query in Kibana's query language."""
    size: int = 0
    """The maximum number of groups."""
    order_by: "Column | None" = None
    """The column by which groups are sorted, largest value first."""
    exclude: tuple[str, ...] = ()
    """Values that don't form a group."""
    latest_by: str = ""
    """The date field by which the last document is chosen."""
    hidden: bool = False
    """Whether the column is computed but not displayed."""

    @property
    def is_bucket(self) -> bool:
        """Whether the column groups documents."""
        return self.operation in _BUCKETS


def top(
    label: str, field: str, size: int, by: Column, *, exclude: tuple[str, ...] = (), hidden: bool = False
) -> Column:
    """Group by the values of a field, limited to the ``size`` values with the largest ``by``."""
    return Column(label, "terms", field, size=size, order_by=by, exclude=exclude, hidden=hidden)


def weeks(label: str, field: str) -> Column:
    """Group by the calendar weeks of a date."""
    return Column(label, "date_histogram", field)


def count(label: str, where: str = "") -> Column:
    """Count documents."""
    return Column(label, "count", where=where)


def unique(label: str, field: str) -> Column:
    """Count distinct values: exactly below 3,000, above that within a few per mille (Elasticsearch's cardinality)."""
    return Column(label, "unique_count", field)


def total(label: str, field: str) -> Column:
    """Add up values."""
    return Column(label, "sum", field)


def largest(label: str, field: str) -> Column:
    """Show the largest value, which for dates is the latest."""
    return Column(label, "max", field)


def last(label: str, field: str, by: str) -> Column:
    """Show all values of the document with the latest date in ``by``."""
    return Column(label, "last_value", field, latest_by=by)


@dataclass(frozen=True)
class Visualization:
    """Columns, and how they are displayed.

    A ``metric`` shows one number, ``bars`` shows a horizontal bar for each group, ``timeline`` shows a vertical bar for
    each interval, and ``table`` shows a row for each group.
    """

    title: str
    view: DataView
    shape: Literal["metric", "bars", "timeline", "table"]
    columns: tuple[Column, ...]
    query: str = ""
    """Selects the documents, in Kibana's query language."""
    sort: tuple[Column, Literal["asc", "desc"]] | None = None
    """The order of a table's rows. By default, groups keep their own order, largest first."""

    def attributes(self) -> dict[str, Any]:
        """Return the attributes under which Lens saves the visualization."""
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
        """Return a column of the layer. Lens would replace a label that isn't marked as custom with its own label."""
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
                # Like everything else, this ignores the time picker; an interval of "auto" would require it.
                return {"interval": "1w", "ignoreTimeRange": True, "includeEmptyRows": False, "dropPartials": False}
            case "last_value":
                # For arrays, Lens uses top_hits, which shows all values; otherwise top_metrics, which returns only one.
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

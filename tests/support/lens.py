"""What Kibana asks Elasticsearch for, from saved objects as they are, and the rows that it shows of the answer.

Written from Kibana's sources (Lens's form-based operations, the aggregations of its data plugin, the options list), and
sharing nothing with what makes the saved objects. What it doesn't know it refuses.
"""

import json
import re
from typing import Any

Row = dict[str, Any]
"""Label → value."""

RECORDS = "___records___"


def kql(query: dict[str, str]) -> dict[str, Any]:
    """Kibana's query language, as far as it is used: ``FIELD: *``, ``FIELD: VALUE``, bounds, and what ``and`` joins."""
    assert query["language"] == "kuery"
    if not query["query"]:
        return {"match_all": {}}
    return {"bool": {"filter": [_condition(part) for part in query["query"].split(" and ")]}}


def _condition(text: str) -> dict[str, Any]:
    match = re.fullmatch(r'(\w+)(: | >= | < )(\*|\w+|"[^"]*")', text)
    assert match, text
    field, operator, value = match[1], match[2].strip(), match[3].strip('"')
    if operator == ":":
        return {"exists": {"field": field}} if value == "*" else {"match_phrase": {field: value}}
    return {"range": {field: {{">=": "gte", "<": "lt"}[operator]: value}}}


class Panel:
    """One visualization of Lens."""

    def __init__(self, attributes: dict[str, Any]) -> None:
        self.title = attributes["title"]
        self.attributes = attributes
        (self.layer,) = attributes["state"]["datasourceStates"]["formBased"]["layers"].values()
        columns = {id: self.layer["columns"][id] for id in self.layer["columnOrder"]}
        self.buckets = {id: column for id, column in columns.items() if column["isBucketed"]}
        self.metrics = {id: column for id, column in columns.items() if not column["isBucketed"]}

    def request(self) -> dict[str, Any]:
        """The body of the search that it makes."""
        aggs = {id: agg for id, column in self.metrics.items() if (agg := self._metric(column))}
        for id, column in reversed(self.buckets.items()):
            aggs = {id: {**self._bucket(column), "aggs": aggs}}
        state = self.attributes["state"]
        assert not state["filters"]
        return {"size": 0, "query": kql(state["query"]), "aggs": aggs, "track_total_hits": True}

    def rows(self, answer: dict[str, Any]) -> list[Row]:
        """What it shows."""
        if not self.buckets:
            whole = {**answer.get("aggregations", {}), "doc_count": answer["hits"]["total"]["value"]}
            return [self._values(whole)]
        return self._rows(answer["aggregations"], list(self.buckets.items()))

    def _rows(self, found: dict[str, Any], buckets: list[tuple[str, dict[str, Any]]]) -> list[Row]:
        """A row for each innermost bucket, with the keys of those that it is in."""
        if not buckets:
            return [self._values(found)]
        (id, column), *inner = buckets
        return [
            {column["label"]: each.get("key_as_string", each["key"]), **row}
            for each in found[id]["buckets"]
            for row in self._rows(each, inner)
        ]

    def _bucket(self, column: dict[str, Any]) -> dict[str, Any]:
        params = column["params"]
        if column["operationType"] == "date_histogram":
            assert params["ignoreTimeRange"], "it would follow the time picker"
            return {
                "date_histogram": {
                    "field": column["sourceField"],
                    "calendar_interval": params["interval"],
                    "min_doc_count": 0 if params["includeEmptyRows"] else 1,
                }
            }
        assert column["operationType"] == "terms", column
        assert not params["otherBucket"], "that would take another request"
        by = params["orderBy"]
        assert by["type"] == "column"
        terms = {
            "field": column["sourceField"],
            "size": params["size"],
            "order": {self._order_key(by["columnId"]): params["orderDirection"]},
        }
        if params["exclude"]:
            assert not params["excludeIsRegex"]
            terms["exclude"] = params["exclude"]
        return {"terms": terms}

    def _order_key(self, id: str) -> str:
        column = self.metrics[id]
        assert column["operationType"] != "last_value", "Lens can't rank by it"
        return "_count" if column["operationType"] == "count" and "filter" not in column else id

    def _metric(self, column: dict[str, Any]) -> dict[str, Any] | None:
        field, params = column["sourceField"], column["params"]
        if column["operationType"] == "count":
            assert field == RECORDS
            return {"filter": kql(column["filter"])} if "filter" in column else None
        assert "filter" not in column
        if column["operationType"] == "last_value":
            assert params["showArrayValues"], "else it is top_metrics"
            date = {"format": "date_time"} if column["dataType"] == "date" else {}
            sort = [{params["sortField"]: {"order": "desc"}}]
            return {"top_hits": {"size": 1, "_source": False, "fields": [{"field": field, **date}], "sort": sort}}
        return {{"unique_count": "cardinality"}.get(column["operationType"], column["operationType"]): {"field": field}}

    def _values(self, bucket: dict[str, Any]) -> Row:
        return {column["label"]: self._value(column, bucket.get(id), bucket) for id, column in self.metrics.items()}

    def _value(self, column: dict[str, Any], found: Any, bucket: dict[str, Any]) -> Any:
        match column["operationType"]:
            case "count":
                return found["doc_count"] if "filter" in column else bucket["doc_count"]
            case "last_value":
                (hit,) = found["hits"]["hits"]
                values = hit.get("fields", {}).get(column["sourceField"])
                return values[0] if values and len(values) == 1 else values
            case _:
                return found.get("value_as_string", found["value"])


def panels(dashboard: dict[str, Any]) -> dict[str, Panel]:
    """The visualizations of a dashboard by their titles."""
    found = [
        Panel(each["embeddableConfig"]["attributes"]) for each in json.loads(dashboard["attributes"]["panelsJSON"])
    ]
    assert len({each.title for each in found}) == len(found)
    return {each.title: each for each in found}


def controls(dashboard: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The controls of a dashboard by the field that they choose from."""
    found = json.loads(dashboard["attributes"]["controlGroupInput"]["panelsJSON"]).values()
    return {each["explicitInput"]["fieldName"]: each["explicitInput"] for each in found}


def options_request(control: dict[str, Any], typed: str = "") -> dict[str, Any]:
    """The search that an options list makes, after somebody typed a part of a value into it.

    What was typed is looked for within the aggregation, so a bound on the documents that are looked at is one on both.
    """
    field = control["fieldName"]
    assert control["searchTechnique"] == "wildcard"
    bounds = {} if control.get("runPastTimeout") else {"timeout": "1000ms", "terminate_after": 100_000}
    values = {"terms": {"field": field, "size": 10, "order": {"_count": "desc"}, "shard_size": 10}}
    match = {"wildcard": {field: {"value": f"*{typed}*", "case_insensitive": True}}} if typed else {"match_all": {}}
    within = {"filter": match, "aggs": {"values": values, "unique": {"cardinality": {"field": field}}}}
    return {"size": 0, **bounds, "track_total_hits": False, "query": {"match_all": {}}, "aggs": {"within": within}}


def search_request(search: dict[str, Any]) -> dict[str, Any]:
    """The search that Discover makes of a saved one."""
    attributes = search["attributes"]
    source = json.loads(attributes["kibanaSavedObjectMeta"]["searchSourceJSON"])
    return {
        "size": 500,
        "query": kql(source["query"]),
        "fields": attributes["columns"],
        "_source": False,
        "sort": [{field: {"order": direction, "unmapped_type": "boolean"}} for field, direction in attributes["sort"]],
        "track_total_hits": True,
    }

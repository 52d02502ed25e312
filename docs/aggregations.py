"""What Elasticsearch would answer to the searches behind a dashboard, computed from documents in memory.

It knows the queries and aggregations that Lens makes of our saved objects (:mod:`tests.support.lens`), and refuses
others. Counts are exact. Values in equal places come by their keys, as in Elasticsearch.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Document = Mapping[str, Any]
Found = dict[str, Any]


def answer(request: Mapping[str, Any], documents: Iterable[Document]) -> Found:
    """Return the answer to a search that asks for aggregations only."""
    found = [each for each in documents if _meets(each, request["query"])]
    return {"hits": {"total": {"value": len(found)}}, "aggregations": _all(request["aggs"], found)}


def _meets(document: Document, query: Mapping[str, Any]) -> bool:
    ((kind, about),) = query.items()
    match kind:
        case "match_all":
            return True
        case "bool":
            return all(_meets(document, each) for each in about["filter"])
        case "exists":
            return bool(_values(document, about["field"]))
        case "match_phrase":
            ((field, wanted),) = about.items()
            return wanted in [_text(each) for each in _values(document, field)]
    raise ValueError(f"{kind} is no query of a panel")


def _values(document: Document, field: str) -> list[Any]:
    value = document.get(field)
    return [] if value is None else value if isinstance(value, list) else [value]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _all(aggs: Mapping[str, Any], documents: Sequence[Document]) -> Found:
    return {name: _one(agg, documents) for name, agg in aggs.items()}


def _one(agg: Mapping[str, Any], documents: Sequence[Document]) -> Found:
    (kind,) = agg.keys() - {"aggs"}
    about, inner = agg[kind], agg.get("aggs", {})
    match kind:
        case "filter":
            return {"doc_count": sum(_meets(each, about) for each in documents)}
        case "cardinality":
            return {"value": len(set(_of_all(documents, about["field"])))}
        case "sum":
            return {"value": sum(_of_all(documents, about["field"]))}
        case "max":  # of dates, which are texts here
            return {"value": max(_of_all(documents, about["field"]), default=None)}
        case "top_hits":
            return {"hits": {"hits": [_last(about, documents)]}}
        case "terms":
            return _terms(about, inner, documents)
        case "date_histogram":
            return _weeks(about, inner, documents)
    raise ValueError(f"{kind} is no aggregation of a panel")


def _of_all(documents: Iterable[Document], field: str) -> list[Any]:
    return [value for each in documents for value in _values(each, field)]


def _last(about: Mapping[str, Any], documents: Sequence[Document]) -> Found:
    """Return the fields that are asked for of the document whose date is the last one."""
    ((by, order),) = about["sort"][0].items()
    assert order == {"order": "desc"}
    newest = max(documents, key=lambda each: str(each.get(by, "")))
    fields = {each["field"]: _values(newest, each["field"]) for each in about["fields"]}
    return {"fields": {name: values for name, values in fields.items() if values}}


def _terms(about: Mapping[str, Any], inner: Mapping[str, Any], documents: Sequence[Document]) -> Found:
    buckets = _buckets(about["field"], documents, _text, inner)
    buckets = [each for each in buckets if each["key"] not in about.get("exclude", ())]
    ((by, direction),) = about["order"].items()
    assert direction == "desc"
    if by == "_count":
        buckets.sort(key=lambda each: each["doc_count"], reverse=True)
    else:
        buckets.sort(key=lambda each: each[by]["value"], reverse=True)
    return {"buckets": buckets[: about["size"]]}


def _weeks(about: Mapping[str, Any], inner: Mapping[str, Any], documents: Sequence[Document]) -> Found:
    assert about["calendar_interval"] == "1w"
    return {"buckets": _buckets(about["field"], documents, _monday, inner)}


def _monday(date: str) -> str:
    day = dt.date.fromisoformat(date[:10])
    return (day - dt.timedelta(days=day.weekday())).isoformat()


def _buckets(
    field: str, documents: Sequence[Document], key: Callable[[Any], str], inner: Mapping[str, Any]
) -> list[Found]:
    """Return the documents of each value, by value; one with several values is in several."""
    groups: dict[str, list[Document]] = {}
    for each in documents:
        for name in {key(value): None for value in _values(each, field)}:
            groups.setdefault(name, []).append(each)
    return [{"key": name, "doc_count": len(group), **_all(inner, group)} for name, group in sorted(groups.items())]

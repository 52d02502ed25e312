"""What PromQL expressions name, and what cachesync really has."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

import promql_parser
from prometheus_client.parser import text_string_to_metric_families

from cachesync.pages.page import Problem
from cachesync.service.metrics import Metrics
from cachesync.service.state import Health, ServiceState
from tests.support.watching import watching

Series = Mapping[str, Mapping[str, set[str]]]
"""The values of each label of each series."""

_CLOSED = {"kind", "outcome", "what"}
"""Labels whose values are known beforehand: an expression that asks for another one finds nothing."""


def real_series() -> Series:
    """Every series of a service that has met everything, as Prometheus stores it; and ``up``."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    state = ServiceState(
        role="serving",
        problems={"a": Problem("a", "bad")},
        watching=watching(),
        last_reindex=moment,
        next_reindex=moment,
    )
    metrics = Metrics(state, lambda: Health(ready=True, reason=None, degraded=[]), {"429": 1})
    metrics.record_pass("rescan", "done", 1)
    found: dict[str, dict[str, set[str]]] = {"up": {}}
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for name, value in sample.labels.items():
                labels.setdefault(name, set()).add(value)
    for labels in found.values():  # these are Prometheus' own
        labels |= {"job": set(), "instance": set()}
    return found


def unknown_in(expression: str, real: Series) -> list[str]:
    """What an expression asks for that isn't there: metrics, labels of theirs, values of those that are known.

    What it groups or matches by must be a label of some metric in it.

    Raises:
        ValueError: it isn't PromQL.
    """
    wrong: list[str] = []
    labels: set[str] = set()
    for selector in _selectors_in(promql_parser.parse(expression)):
        name = selector.name or ""
        if name not in real:
            wrong.append(name or expression)
            continue
        labels |= set(real[name])
        wrong += [f"{name}{{{each}}}" for each in selector.matchers.matchers if not _is_known(each, real[name])]
    return wrong + sorted(set(_grouped_by(expression)) - labels)


def _is_known(matcher: promql_parser.Matcher, labels: Mapping[str, set[str]]) -> bool:
    values = labels.get(matcher.name)
    if values is None:
        return False
    return matcher.name not in _CLOSED or any(re.fullmatch(matcher.value, value) for value in values)


def _selectors_in(parsed: promql_parser.Expr) -> Iterator[promql_parser.VectorSelector]:
    found: list[promql_parser.VectorSelector] = []

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)

    promql_parser.walk(parsed, visit)
    return iter(found)


def _grouped_by(expression: str) -> Iterator[str]:
    for found in re.findall(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)", expression):
        yield from (label.strip() for label in found.split(",") if label.strip())

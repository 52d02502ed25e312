"""Grafana's dashboard: it fits Grafana's own model, and the metrics that it queries exist."""

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.support.promql import real_series, unknown_in

FILE = Path(__file__).parents[2] / "deploy/grafana/cachesync.json"
DASHBOARD: dict[str, Any] = json.loads(FILE.read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
DRAWN = [panel for panel in PANELS if panel["type"] != "row"]
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS = 24


def expressions(panel: dict[str, Any]) -> list[str]:
    """The Prometheus queries of a panel, with values in place of Grafana's variables."""
    return [target["expr"].replace("$__rate_interval", "5m") for target in panel["targets"]]


def cells(panel: dict[str, Any]) -> Iterator[tuple[int, int]]:
    at = panel["gridPos"]
    return itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"]))


def lost(ours: Any, theirs: Any, path: str = "") -> Iterator[str]:
    """The paths of values that a copy has lost or changed."""
    match ours, theirs:
        case dict(), dict():
            for key, value in ours.items():
                if key in theirs:
                    yield from lost(value, theirs[key], f"{path}.{key}")
                else:
                    yield f"{path}.{key}"
        case list(), list() if len(ours) == len(theirs):
            for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
                yield from lost(one, other, f"{path}[{number}]")
        case _ if ours != theirs and ours is not None:
            yield path


def test_grafanas_own_model_knows_every_key() -> None:
    register_default_plugins()
    copy = json.loads(JSONEncoder().encode(Dashboard.from_json(DASHBOARD)))
    assert list(lost(DASHBOARD, copy)) == []


def test_an_unknown_key_is_detected() -> None:
    register_default_plugins()
    wrong = DASHBOARD | {"refreshing": "30s"}
    assert list(lost(wrong, json.loads(JSONEncoder().encode(Dashboard.from_json(wrong))))) == [".refreshing"]


@pytest.mark.parametrize("panel", DRAWN, ids=[panel["title"] for panel in DRAWN])
def test_a_panel_queries_existing_metrics(panel: dict[str, Any]) -> None:
    assert [each for expression in expressions(panel) for each in unknown_in(expression, real_series())] == []
    assert panel["datasource"] == DATASOURCE
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    for target in panel["targets"]:
        assert 'job="$job"' in target["expr"], "several indices may be watched by one Prometheus"
        for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
            assert label in {
                label for name, labels in real_series().items() if name in target["expr"] for label in labels
            }


@pytest.mark.parametrize("panel", DRAWN, ids=[panel["title"] for panel in DRAWN])
def test_a_panel_has_the_unit_of_its_metric(panel: dict[str, Any]) -> None:
    unit = panel["options"]["yAxis"]["unit"] if panel["type"] == "heatmap" else panel["fieldConfig"]["defaults"]["unit"]
    for expression in expressions(panel):
        if "timestamp_seconds" in expression:
            assert (unit, "* 1000" in expression) == ("dateTimeFromNow", True), "Grafana counts in milliseconds"
        elif "cpu_seconds_total" in expression:
            assert unit == "none", "seconds a second"
        elif re.search(r"_seconds(_sum|_bucket)?\b", expression):
            assert unit == "s"
        elif re.search(r"_bytes\b", expression):
            assert unit == "bytes"
        elif "rate(" in expression:
            assert unit in {"ops", "reqps"}
        else:
            assert unit in {"short", "none"}


def test_every_metric_is_on_it() -> None:
    asked = " ".join(expression for panel in DRAWN for expression in expressions(panel))
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in real_series() if name.startswith("cachesync_")}
    assert [name for name in sorted(families) if not re.search(rf"\b{name}(_bucket|_sum|_count)?\b", asked)] == []


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        place = set(cells(panel))
        assert place
        assert not place & taken, panel["title"]
        assert all(0 <= x < COLUMNS for x, _ in place), panel["title"]
        taken |= place
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)


def test_variables_are_queried_in_order() -> None:
    variables = DASHBOARD["templating"]["list"]
    assert [each["name"] for each in variables] == ["datasource", "job", "instance"]
    assert [each.get("datasource") for each in variables] == [None, DATASOURCE, DATASOURCE]
    for variable in variables[1:]:
        metric = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
        assert metric
        assert unknown_in(metric[1], real_series()) == []
        assert metric[2] == variable["name"]


def test_every_panel_has_a_description() -> None:
    assert not [panel["title"] for panel in DRAWN if not re.fullmatch(r"[A-Z`].+\.", panel["description"])]

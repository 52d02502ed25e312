"""Alert rules: what they ask for is there, they say what to do, and each fires when it should."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.promql import real_series, unknown_in

HOME = Path(__file__).parents[2]
ALERTS = HOME / "deploy/prometheus/alerts.yml"
SCRAPE = HOME / "deploy/prometheus/scrape.yml"
CASES = Path(__file__).with_name("alerts_test.yml")
RUNBOOKS = HOME / "docs/runbooks.md"
promtool = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(not promtool, reason="promtool isn't installed (Debian has it in prometheus)")


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def names() -> list[str]:
    return [rule["alert"] for rule in rules()]


@pytest.mark.parametrize("rule", rules(), ids=names())
def test_an_alert_asks_for_what_there_is(rule: dict[str, Any]) -> None:
    assert unknown_in(rule["expr"], real_series()) == []


@pytest.mark.parametrize(
    ("expression", "unknown"),
    [
        ("cachesync_pages > 0", []),
        ('rate(cachesync_bulk_seconds_bucket{le="1.0"}[5m])', []),
        ("cachesync_page > 0", ["cachesync_page"]),
        ("rate(cachesync_bulk_seconds[5m])", ["cachesync_bulk_seconds"]),
        ("sum by (kind) (cachesync_pages)", ["kind"]),
    ],
)
def test_what_there_isnt_is_found(expression: str, unknown: list[str]) -> None:
    assert unknown_in(expression, real_series()) == unknown


@pytest.mark.parametrize("matcher", ['outcome="fail"', 'outcom="failed"', 'kind=~"rescans|reindexes"'])
def test_a_label_that_there_isnt_is_found(matcher: str) -> None:
    assert len(unknown_in(f"cachesync_passes_total{{{matcher}}}", real_series())) == 1


def test_an_alert_says_what_is_wrong_how_grave_it_is_and_where_to_read_on() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert rule["annotations"].keys() == {"summary", "description", "runbook"}
        assert re.fullmatch(r"docs/runbooks\.md#[a-z-]+", rule["annotations"]["runbook"])
    assert len(set(names())) == len(names())


def test_runbooks_are_where_alerts_point_to() -> None:
    headings = re.findall(r"^#+ (.+)$", RUNBOOKS.read_text(), re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
    assert {rule["annotations"]["runbook"].partition("#")[2] for rule in rules()} <= anchors


def test_every_alert_is_tried() -> None:
    """The cases themselves are for promtool."""
    expected = re.findall(r'alertname="(\w+)"', CASES.read_text())
    assert set(names()) == set(expected)


@needs_promtool
@pytest.mark.parametrize(
    "arguments",
    [("check", "rules", ALERTS), ("check", "config", SCRAPE), ("test", "rules", CASES)],
    ids=["rules", "scrape", "cases"],
)
def test_promtool_finds_nothing_wrong(arguments: tuple[str, str, Path]) -> None:
    done = subprocess.run([promtool or "", *arguments], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr

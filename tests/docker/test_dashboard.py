"""The dashboard is what its source says, speaks only names that exist, and lays its panels out without overlap."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import promql_parser
import pytest

from tests.docker.queries import dashboard_queries, instant_form, metric_names

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "docker" / "grafana" / "dashboards" / "workshed.json"
ALERTS = ROOT / "docker" / "prometheus" / "alerts.yml"


def documented() -> set[str]:
    """Names in the tables of docs/metrics.md, with the series that Prometheus makes of a histogram."""
    rows = re.findall(r"^\| `(workshed_\w+)` \| (\w+) \|", (ROOT / "docs" / "metrics.md").read_text(), re.M)
    assert len(rows) > 15
    names = {name for name, _ in rows}
    for name, kind in rows:
        if kind == "histogram":
            names |= {f"{name}_bucket", f"{name}_sum", f"{name}_count"}
    return names


def test_the_shipped_dashboard_is_what_its_source_writes() -> None:
    source = ROOT / "docker" / "grafana" / "build_dashboard.py"
    made = subprocess.run([sys.executable, source, "--print"], capture_output=True, text=True, check=True, timeout=60)
    assert made.stdout == DASHBOARD.read_text(encoding="utf-8"), "run: python docker/grafana/build_dashboard.py"


def test_every_expression_parses_and_uses_documented_names_only() -> None:
    queries = dashboard_queries(DASHBOARD)
    assert len(queries) >= 25
    for panel, expr in queries:
        promql_parser.parse(instant_form(expr))
        used = metric_names(expr)
        assert used, f"{panel}: no metric in {expr}"
        assert used <= documented(), f"{panel}: {used - documented()} is not in docs/metrics.md"


def test_every_alert_uses_documented_names_only() -> None:
    names = set(re.findall(r"\bworkshed_\w+", ALERTS.read_text(encoding="utf-8")))
    assert len(names) >= 7
    assert names <= documented()


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    panels = board["panels"]
    ids = [panel["id"] for panel in panels]
    assert len(set(ids)) == len(ids)
    assert board["uid"] == "workshed"
    for one, other in itertools.combinations([panel["gridPos"] for panel in panels], 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)


def test_every_panel_says_what_it_shows_and_where_from() -> None:
    for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]:
        if panel["type"] == "row":
            continue
        assert panel["description"], panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${source}"}
        letters = [target["refId"] for target in panel["targets"]]
        assert len(set(letters)) == len(letters)


@pytest.mark.prometheus
def test_prometheus_takes_the_configuration_and_the_rules(real_part: Callable[[str], Path]) -> None:
    checked = subprocess.run(
        [real_part("promtool"), "check", "config", ROOT / "docker" / "prometheus" / "prometheus.yml"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.prometheus
def test_every_alert_fires_when_it_should(real_part: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "alerts.yml").write_bytes(ALERTS.read_bytes())
    scenario = Path(__file__).with_name("alerts_test.yml").read_text(encoding="utf-8")
    (tmp_path / "test.yml").write_text(scenario, encoding="utf-8")
    ran = subprocess.run(
        [real_part("promtool"), "test", "rules", tmp_path / "test.yml"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    defined = set(re.findall(r"- alert: (\w+)", ALERTS.read_text(encoding="utf-8")))
    fired = set(re.findall(r"- alertname: (\w+)", scenario))
    assert defined == fired, "every alert has a case in which it fires"

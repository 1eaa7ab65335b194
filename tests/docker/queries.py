"""The queries of a Grafana dashboard, as Prometheus itself would be asked."""

from __future__ import annotations

import json
import re
from pathlib import Path


def dashboard_queries(file: Path) -> list[tuple[str, str]]:
    """(panel title, expression) of every target."""
    board = json.loads(file.read_text(encoding="utf-8"))
    return [(panel["title"], target["expr"]) for panel in board["panels"] for target in panel.get("targets", [])]


def instant_form(expr: str, *, interval: str = "1m", window: str = "10m") -> str:
    """Grafana's own variables filled in, as Grafana does before it asks."""
    return expr.replace("$__rate_interval", interval).replace("$__range", window)


def metric_names(expr: str) -> set[str]:
    """Every Workshed metric in an expression."""
    return set(re.findall(r"\bworkshed_\w+", expr))

"""Make the page's tables and pictures from the results: `python -m tests.benchmarks.planning_tables`.

Rows of build/bench/planning.json replace those of docs/planning-figures.json, bar by bar; what was not measured again
stays, with its date.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

from tests.benchmarks.planning_plots import grouped_bars, step_lines, straight_lines
from tests.benchmarks.planning_results import RESULTS, load_rows, order, told
from tests.benchmarks.report import machine_description

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
PAGE, KEPT, IMAGES = Path("docs/planning.md"), Path("docs/planning-figures.json"), Path("docs/images")
#: Instances drawn over time: more lines than these hide each other.
CURVES = 8

Rows = dict[str, dict[str, Any]]


def table(rows: Rows, machine: dict[str, Any]) -> str:
    """The rows as Markdown, with what they were measured on."""
    where = f"Measured on {machine['cpu']}, {machine['cores']} cores, Python {machine['python']}."
    lines = [
        f"{where} Seconds are a process's own (cpu) or the wall's; the load is the run queue's mean length at the end.",
        "",
        "| bar | median | worst | unit | target | holds | seeds | peers in the same run | seconds, load, date |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in sorted(rows.values(), key=order):
        verdict = "" if row["target"] == "-" else ("yes" if row["holds"] else "**no**")
        if row["holds"] and not row["worst_holds"]:
            verdict = "median only"
        peers = "; ".join(f"{name}: {told(value)}" for name, value in row["peers"].items())
        seeds = f"{row['seeds'][0]}-{row['seeds'][-1]}" if len(row["seeds"]) > 1 else str(row["seeds"][0])
        how = f"{row['clock']}, {row['load']}, {row['measured']}" + (", quick" if row["quick"] else "")
        lines.append(
            f"| {row['id']} | {row['figure']:.4g} | {row['worst']:.4g} | {row['unit']} | {row['target']} | {verdict} "
            f"| {seeds} | {peers} | {how} |"
        )
    return "\n".join(lines)


def pictures(rows: Rows) -> dict[str, tuple[str, str]]:
    """File name to (what it shows, SVG), for whatever has been measured."""
    out: dict[str, tuple[str, str]] = {}
    row = rows.get("P1 brandimarte mean", {})
    series = row.get("series", {})
    if series:
        out["planning-gaps.svg"] = ("Gap to the best known makespan, instance by instance", gaps(series))
        out["planning-convergence.svg"] = ("How the gap closes in ten seconds", convergence(series))
    series = rows.get("P5 gap to own bound", {}).get("series", {})
    if series:
        bound = [(after, value / 1e3) for after, value in series["bound"]]
        cost = series["cost"][0] / 1e3
        lines = [("lower bound", bound), ("cost after 30 s of search", [(bound[0][0], cost), (bound[-1][0], cost)])]
        svg = straight_lines("P5: our plan and our bound on any plan", "seconds", "10³ min × w", lines)
        out["planning-bound.svg"] = ("The bound of P5 closing in on the plan", svg)
    series = rows.get("P11 growth of the first plan", {}).get("series", {})
    if series:
        points = [(size, seconds) for size, seconds in series["first plans"]]
        alike = [(size, points[0][1] * size / points[0][0]) for size, _ in points]
        lines = [("first plan", points), ("in proportion", alike)]
        svg = straight_lines(
            "P11: the first plan's time over alternatives", "alternatives", "s", lines, logarithmic=True
        )
        out["planning-growth.svg"] = ("How the first plan's time grows", svg)
    return out


def gaps(series: dict[str, Any]) -> str:
    """Ours (median over seeds) beside the peers'."""
    ours: dict[str, list[float]] = {}
    for key, pairs in series.items():
        if key.startswith("gaps"):
            for name, gap in pairs:
                ours.setdefault(name, []).append(gap)
    names = sorted(ours)
    drawn: list[tuple[str, list[float | None]]] = [("ours", [statistics.median(ours[name]) for name in names])]
    for peer, pairs in series.get("peers", []):
        by_name = dict(map(tuple, pairs))
        drawn.append((peer, [by_name.get(name) for name in names]))
    return grouped_bars("P1: mk01-10, 10 s each (×: no plan found)", "% over best", names, drawn)


def convergence(series: dict[str, Any]) -> str:
    """One seed's instances that took longest."""
    key = next((key for key in sorted(series) if key.startswith("curves")), None)
    curves = [] if key is None else [(name, [tuple(point) for point in curve]) for name, curve in series[key]]
    return step_lines(
        f"P1: instances not solved to their bound ({key})", "seconds", "% over", curves[:CURVES], until=10.0
    )


def main() -> int:
    """Rewrite the page between its marks, the pictures, and the rows beside them."""
    rows = {**load_kept(), **load_rows(RESULTS)}
    machine = machine_description()
    IMAGES.mkdir(exist_ok=True)
    shown = []
    for name, (what, svg) in pictures(rows).items():
        (IMAGES / name).write_text(svg)
        shown.append(f"![{what}](images/{name})")
    head, rest = PAGE.read_text().split(BEGIN)
    tail = rest.split(END)[1]
    content = "\n\n".join([table(rows, machine), *shown])
    PAGE.write_text(f"{head}{BEGIN}\n{content}\n{END}{tail}")
    kept = {"machine": machine, "bars": sorted(rows.values(), key=order)}
    KEPT.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    return 0


def load_kept() -> Rows:
    """The rows kept beside the page."""
    try:
        rows = json.loads(KEPT.read_text())["bars"]
    except (OSError, ValueError, KeyError):
        return {}
    return {row["id"]: row for row in rows if "samples" in row}


if __name__ == "__main__":
    sys.exit(main())

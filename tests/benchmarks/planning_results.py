"""Figures of the planner's bars: one sample a seed, put together to medians and worsts, kept from run to run."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks.report import Bar, machine_description

RESULTS = Path("build/bench/planning.json")


@dataclass(frozen=True)
class Sample:
    """What one bar came to with one seed."""

    id: str
    figure: float
    unit: str
    target: str
    """`≤ 1`, `≥ 95`, `= 0`, `< peer`, or `-` where the figure is only told."""
    peers: dict[str, float | None] = field(default_factory=dict)
    """What others reach in the same run; None where one found nothing at all."""
    series: dict[str, list[Any]] = field(default_factory=dict)
    """What pictures are made of: per instance, over time, over size."""


def of_bar(bar: Bar) -> Sample:
    """A bar of the common kind as a sample."""
    return Sample(bar.id, bar.figure, bar.unit, bar.target, {} if bar.peer is None else {"peer": bar.peer})


def holds(target: str, figure: float, peers: dict[str, float | None]) -> bool:
    """Whether a figure meets its target."""
    sign, _, rest = target.partition(" ")
    if sign == "-":
        return True
    if rest == "peer":
        return all(figure < value for value in peers.values() if value is not None)
    most = float(rest.replace(",", ""))
    return {"≤": figure <= most + 1e-9, "≥": figure >= most - 1e-9, "=": abs(figure - most) < 1e-9}[sign]


def load_rows(path: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """The rows of earlier runs by bar; none where there is no file of this form."""
    try:
        rows = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return {row["id"]: row for row in rows if "samples" in row}


def merge(
    rows: dict[str, dict[str, Any]], area: str, seed: int, samples: Sequence[Sample], how: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """The rows with these samples in: a seed measured again replaces its old figure.

    `how`: clock, quick or not, load, seconds. Figures of other settings (quick, clock) are not mixed: they are dropped.
    """
    out = dict(rows)
    for sample in samples:
        row = out.get(sample.id)
        if row is None or (row["clock"], row["quick"]) != (how["clock"], how["quick"]):
            row = {"id": sample.id, "area": area, "samples": {}, "peers": {}, "series": {}}
        figures = {**row["samples"], str(seed): sample.figure}
        peers = {**row["peers"], **sample.peers}
        series = {**row["series"], **sample.series}
        middle = statistics.median(figures.values())
        worst = (min if sample.target.startswith("≥") else max)(figures.values())
        peer = next((value for value in peers.values() if value is not None), None)
        out[sample.id] = {
            **row, **how,
            "unit": sample.unit, "target": sample.target, "samples": figures, "figure": middle, "worst": worst,
            "seeds": sorted(int(name) for name in figures), "holds": holds(sample.target, middle, peers),
            "worst_holds": holds(sample.target, worst, peers), "peers": peers, "peer": peer,
            "ratio": middle / peer if peer else None, "series": series,
            "measured": time.strftime("%Y-%m-%d"), "load": how["load"],
        }  # fmt: skip
    return out


def store(rows: dict[str, dict[str, Any]], path: Path = RESULTS) -> None:
    """Write the rows and the machine's description."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(sorted(rows.values(), key=order), indent=1, ensure_ascii=False) + "\n")
    (path.parent / "machine.json").write_text(json.dumps(machine_description(), indent=2) + "\n")


def order(row: dict[str, Any]) -> tuple[int, str]:
    """P2 before P10."""
    number = row["area"].removeprefix("P").partition("-")[0]
    return (int(number) if number.isdigit() else 99, row["id"])


def show(rows: dict[str, dict[str, Any]]) -> str:
    """The table for the screen."""
    lines = [f"{'bar':<38} {'median':>10} {'worst':>10} {'unit':<14} {'target':<9} {'seeds':<11} holds  peers"]
    for row in sorted(rows.values(), key=order):
        verdict = "yes" if row["holds"] else "NO"
        seeds = ",".join(map(str, row["seeds"]))
        others = "; ".join(f"{name}: {told(value)}" for name, value in row["peers"].items())
        lines.append(
            f"{row['id']:<38} {row['figure']:>10.4g} {row['worst']:>10.4g} {row['unit']:<14} {row['target']:<9} "
            f"{seeds:<11} {verdict:<6} {others}"
        )
    return "\n".join(lines)


def told(value: float | None) -> str:
    """A peer's figure."""
    return "no plan found" if value is None else f"{value:.4g}"


def circumstances(*, cpu_time: bool, quick: bool) -> dict[str, Any]:
    """What every sample was measured under; the load is that of the last minute."""
    return {"clock": "cpu" if cpu_time else "wall", "quick": quick, "load": round(os.getloadavg()[0], 1)}


def encode(samples: Sequence[Sample]) -> str:
    """Samples as one line of JSON, for the process that asked."""
    return json.dumps([asdict(sample) for sample in samples])


def decode(text: str) -> list[Sample]:
    """The inverse of `encode`."""
    return [Sample(**row) for row in json.loads(text)]

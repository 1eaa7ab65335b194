"""How every benchmark tells its figures: a table on the screen, the same rows as JSON, and the machine's facts."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Bar:
    """One measured bar. `peer` and `ratio` are None where there is nothing to compare with in the same run."""

    id: str
    figure: float
    unit: str
    target: str
    holds: bool
    peer: float | None = None
    ratio: float | None = None


def machine_description() -> dict[str, str | int]:
    """What the figures were measured on."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    return {
        "cpu": model,
        "cores": os.cpu_count() or 1,
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def write(area: str, bars: Sequence[Bar], folder: Path = Path("build/bench")) -> Path:
    """Print the table, write `{area}.json` (the rows) and `machine.json`; a bar that does not hold stays visible."""
    print(f"{'bar':<34} {'figure':>12} {'unit':<14} {'target':<18} {'peer':>12} {'ratio':>8}  holds")
    for bar in bars:
        peer = "" if bar.peer is None else f"{bar.peer:.4g}"
        ratio = "" if bar.ratio is None else f"{bar.ratio:.3g}"
        verdict = "yes" if bar.holds else "NO"
        print(f"{bar.id:<34} {bar.figure:>12.5g} {bar.unit:<14} {bar.target:<18} {peer:>12} {ratio:>8}  {verdict}")
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / f"{area}.json"
    out.write_text(json.dumps([asdict(bar) for bar in bars], indent=2) + "\n")
    (folder / "machine.json").write_text(json.dumps(machine_description(), indent=2) + "\n")
    return out

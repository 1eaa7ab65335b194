"""Put the figures of build/bench/planning.json into docs/planning.md: `python -m tests.benchmarks.planning_tables`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def table(rows: list[dict[str, object]], machine: dict[str, object]) -> str:
    """The rows as Markdown, with what they were measured on."""
    lines = [
        f"Measured on {machine['cpu']}, {machine['cores']} cores, Python {machine['python']}.",
        "",
        "| bar | figure | unit | target | peer or prototype | ratio | holds |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        peer = "" if row["peer"] is None else f"{row['peer']:.4g}"
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.3g}"
        verdict = "yes" if row["holds"] else "**no**"
        lines.append(
            f"| {row['id']} | {row['figure']:.4g} | {row['unit']} | {row['target']} | {peer} | {ratio} | {verdict} |"
        )
    return "\n".join(lines)


def main() -> int:
    """Rewrite the page between its marks, and keep the rows beside it."""
    bench, page = Path("build/bench"), Path("docs/planning.md")
    rows = json.loads((bench / "planning.json").read_text())
    machine = json.loads((bench / "machine.json").read_text())
    text = page.read_text()
    head, rest = text.split(BEGIN)
    tail = rest.split(END)[1]
    page.write_text(head + BEGIN + "\n" + table(rows, machine) + "\n" + END + tail)
    Path("docs/planning-figures.json").write_text(json.dumps({"machine": machine, "bars": rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

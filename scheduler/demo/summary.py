"""What the demo did, in figures from the scheduler's API: parts, machine time by shop, waits, plan against actual.

Twins run on a fast clock, so machine time is the agents' measured seconds times the clock's speed. Pure.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from scheduler.demo.verify import Check

_DONE: Final = frozenset({"inspected"})


@dataclass(frozen=True, slots=True)
class Run:
    """One job that was made."""

    job: str
    title: str
    shop: str
    machine: str
    process: str
    good: int
    waited_s: float
    planned_s: float
    actual_s: float
    made_by: str
    settings: str


@dataclass(frozen=True, slots=True)
class Summary:
    """All of it."""

    runs: tuple[Run, ...]
    missing: tuple[str, ...]
    """What was not made, and why: sentences. Empty means that everything was made."""
    checks: tuple[Check, ...]
    hands: Mapping[str, int]
    elapsed_s: float
    speed: float

    @property
    def complete(self) -> bool:
        """Everything was made, handed over, and the machines did what the programs say."""
        return not self.missing and bool(self.runs) and all(check.agrees for check in self.checks)

    @property
    def parts(self) -> int:
        """Parts found good."""
        return sum(run.good for run in self.runs)


def summarise(
    orders: Sequence[Mapping[str, Any]],
    pages: Mapping[str, Mapping[str, Any]],
    whys: Mapping[str, str],
    *,
    checks: Sequence[Check],
    hands: Counter[str],
    elapsed_s: float,
    speed: float,
) -> Summary:
    """From orders and job pages as the API gives them; `whys` says for open jobs why they are."""
    runs: list[Run] = []
    missing: list[str] = []
    told: set[str] = set()
    for order in orders:
        if order["state"] != "handed_over":
            missing.append(f"{order['title']} ({order['id']}) is {order['state'].replace('_', ' ')}")
        missing += [f"{part['part']}: {part['good']} of {part['quantity']} are good" for part in _short(order)]
        for job in order["jobs"]:
            if job["id"] in told:  # orders may share a plate or sheet
                continue
            told.add(job["id"])
            if job["state"] in _DONE:
                runs.append(_run(order, job, pages.get(job["id"], {}), speed))
            elif job["state"] != "cancelled":
                missing.append(f"{job['title']} ({job['id']}) is {job['state']}: {whys.get(job['id'], 'no word')}")
    return Summary(tuple(runs), tuple(missing), tuple(checks), dict(hands), elapsed_s, speed)


def _short(order: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [part for part in order["parts"] if part["good"] < part["quantity"]]


def _run(order: Mapping[str, Any], job: Mapping[str, Any], page: Mapping[str, Any], speed: float) -> Run:
    toolpath = page.get("toolpath") or {}
    shop, _, machine = (job["machine"] or "..").partition(".")
    asked, started = _moment(order["accepted_at"] or order["created_at"]), _moment(job["started_at"])
    return Run(
        job=job["id"],
        title=job["title"],
        shop=shop,
        machine=machine.rpartition(".")[2],
        process=job["process"],
        good=job["good"],
        waited_s=(started - asked).total_seconds() if asked and started else 0.0,
        planned_s=float(toolpath.get("duration_s", 0.0)),
        actual_s=float(job["machine_s"]) * speed,
        made_by=str(toolpath.get("made_by", "")),
        settings=str(toolpath.get("settings", "")),
    )


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


#: Columns of the table, and whether they are figures.
_COLUMNS: Final = (
    ("part", False),
    ("shop", False),
    ("machine", False),
    ("good", True),
    ("waited", True),
    ("promised", True),
    ("took", True),
)


def tell(summary: Summary, console: Console) -> None:
    """Print it: a table on a terminal; elsewhere aligned columns, one line each, for whatever reads them."""
    if console.is_terminal:
        console.print(_table(summary))
    else:
        for line in _lines(summary):
            console.out(line, highlight=False)
    for sentence in sentences(summary):
        console.print(sentence, highlight=False, markup=False, soft_wrap=not console.is_terminal)


def _cells(run: Run) -> tuple[str, ...]:
    figures = (str(run.good), f"{run.waited_s:.0f} s", _minutes(run.planned_s), _minutes(run.actual_s))
    return (run.title, run.shop, run.machine, *figures)


def _table(summary: Summary) -> Table:
    table = Table(title="What was made", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for head, figure in _COLUMNS:
        table.add_column(head, justify="right" if figure else "left", no_wrap=head != "part")
    for run in summary.runs:
        table.add_row(*(Text(cell) for cell in _cells(run)))
    return table


def _lines(summary: Summary) -> list[str]:
    rows = [tuple(head for head, _ in _COLUMNS), *(_cells(run) for run in summary.runs)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = [
        "  ".join(
            cell.rjust(width) if figure else cell.ljust(width)
            for cell, width, (_, figure) in zip(row, widths, _COLUMNS, strict=True)
        ).rstrip()
        for row in rows
    ]
    return ["What was made", *lines]


def sentences(summary: Summary) -> list[str]:
    """The figures under the table."""
    by_shop: dict[str, float] = defaultdict(float)
    for run in summary.runs:
        by_shop[run.shop] += run.actual_s
    shops = ", ".join(f"{shop} {_minutes(seconds)}" for shop, seconds in sorted(by_shop.items()))
    waits = sorted(run.waited_s for run in summary.runs)
    planned, actual = (sum(getattr(run, field) for run in summary.runs) for field in ("planned_s", "actual_s"))
    said = [
        f"{summary.parts} parts from {len(summary.runs)} runs in {summary.elapsed_s:.0f} s.",
        f"The machines' clocks ran {summary.speed:g} times as fast as ours; their times below are on those clocks.",
        f"Machine time by shop: {shops or 'none'}.",
    ]
    if waits:
        said.append(
            f"Waits from order to first line: half under {waits[len(waits) // 2]:.0f} s, all under {waits[-1]:.0f} s."
        )
    if planned:
        said.append(
            f"Plan against actual: {_minutes(planned)} promised, {_minutes(actual)} taken ({actual / planned:.0%})."
        )
    makers = sorted({f"{run.made_by} ({run.settings})" for run in summary.runs if run.made_by})
    said.append("Programs by: " + "; ".join(makers or ["nobody"]) + ".")
    said.append(
        "The stand-in people: "
        + (", ".join(f"{n} × {name}" for name, n in sorted(summary.hands.items())) or "nothing")
        + "."
    )
    agreed = sum(check.agrees for check in summary.checks)
    said.append(f"Machines against their programs: {agreed} of {len(summary.checks)} checks agree.")
    said += [f"  ! {check.what}: {check.detail}" for check in summary.checks if not check.agrees]
    if summary.missing:
        said.append("NOT everything was made:")
        said += [f"  - {sentence}" for sentence in summary.missing]
    return said


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min"

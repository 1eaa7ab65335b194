"""The live table of the demo: orders and machines as the API tells them; plain lines where no terminal is."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

_STATE_STYLES: Final = {
    **dict.fromkeys(("running", "starting", "making"), "bold green"),
    **dict.fromkeys(("held", "occupied", "finished", "ready", "staged"), "yellow"),
    **dict.fromkeys(("alarm", "failed", "offline"), "bold red"),
    **dict.fromkeys(("inspected", "made", "handed_over"), "cyan"),
}
_BAR_WIDTH: Final = 18

Rows = Sequence[Mapping[str, Any]]


class Teller(Protocol):
    """Tells how it goes."""

    def say(self, text: str) -> None:
        """One sentence."""

    def show(self, orders: Rows, machines: Rows) -> None:
        """How things stand now."""


class LiveTable:
    """Two tables that redraw themselves; sentences stay above them."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> LiveTable:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def say(self, text: str) -> None:
        """One sentence above the tables."""
        self._console.print(text, highlight=False)

    def show(self, orders: Rows, machines: Rows) -> None:
        """Draw both tables anew."""
        self._live.update(Group(orders_table(orders), machines_table(machines, orders)))


class Lines:
    """For logs and pipes: a line whenever something changed, as text or as JSON."""

    def __init__(self, *, as_json: bool) -> None:
        self._json = as_json
        self._known: dict[str, str] = {}

    def __enter__(self) -> Lines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def say(self, text: str) -> None:
        """One line."""
        self._write({"message": text}, text)

    def show(self, orders: Rows, machines: Rows) -> None:
        """A line for every job and order whose state changed."""
        for order in orders:
            self._changed("order", order["id"], order["title"], order["state"], "")
            for job in order["jobs"]:
                self._changed("job", job["id"], job["title"], job["state"], job["machine"] or "")

    def _changed(self, kind: str, name: str, title: str, state: str, machine: str) -> None:
        if self._known.get(f"{kind}/{name}") == state:
            return
        self._known[f"{kind}/{name}"] = state
        where = f" on {machine}" if machine else ""
        fields = {kind: name, "title": title, "state": state, "machine": machine or None}
        self._write(fields, f"{kind:<6}{name:<16}{state:<12}{title}{where}")

    def _write(self, fields: Mapping[str, Any], text: str) -> None:
        sys.stdout.write((json.dumps(fields, ensure_ascii=False) if self._json else text) + "\n")
        sys.stdout.flush()


def teller(log_format: str, console: Console) -> LiveTable | Lines:
    """The table on a terminal, lines anywhere else."""
    if log_format == "text" and console.is_terminal:
        return LiveTable(console)
    return Lines(as_json=log_format == "json")


def orders_table(orders: Rows) -> Table:
    """One line an order, one a job below it."""
    table = Table(title="Orders", title_justify="left", expand=True, box=None, pad_edge=False)
    for head in ("what", "state", "where", ""):
        table.add_column(head, no_wrap=True, overflow="ellipsis")
    for order in orders:
        table.add_row(Text(f"{order['quantity']} × {order['title']}", style="bold"), _state(order["state"]), "", "")
        for job in order["jobs"]:
            bar = ProgressBar(total=1.0, completed=_share(job), width=_BAR_WIDTH)
            title = f"  {job['title']} ×{job['pieces']}"
            table.add_row(title, _state(job["state"]), _short(job["machine"]), bar)
        for step in order["steps"]:
            if step["state"] != "shut":
                table.add_row(f"  {step['step']}", _state("made" if step["state"] == "done" else "ready"), "", "")
    return table


def machines_table(machines: Rows, orders: Rows) -> Table:
    """One line a machine."""
    titles = {job["id"]: job["title"] for order in orders for job in order["jobs"]}
    table = Table(title="Machines", title_justify="left", expand=True, box=None, pad_edge=False)
    for head in ("machine", "shop", "state", "job, or what it waits for"):
        table.add_column(head, no_wrap=True, overflow="ellipsis")
    for machine in machines:
        gates = "; ".join(gate.get("lift") or gate["gate"] for gate in machine["shut_gates"])
        table.add_row(
            machine["name"], machine["shop"], _state(machine["state"]), titles.get(machine["job"] or "", "") or gates
        )
    return table


def _state(state: str) -> Text:
    return Text(state.replace("_", " "), style=_STATE_STYLES.get(state, ""))


def _share(job: Mapping[str, Any]) -> float:
    return 1.0 if job["state"] in {"finished", "inspected"} else float(job["progress"])


def _short(machine: str | None) -> str:
    return "" if not machine else machine.replace(".pi.", " · ")

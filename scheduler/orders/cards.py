"""What is said at the machine of a plate or sheet: which piece is whose, by number, and which offcut to fetch."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from designs.processes.model import SheetLayout
from designs.processes.sheet_picture import sheet_svg
from scheduler.orders.recipes import read_body
from scheduler.store.content_queries import LineRow
from scheduler.store.rows import ToolpathRow


def work_card(toolpath: ToolpathRow, lines: Sequence[LineRow]) -> str:
    """The toolpath's card, and for a shared plate or sheet whose piece each number is. No names: orders only."""
    if len(lines) < 2:
        return toolpath.work_card
    number = 1
    said = []
    for line in lines:
        last = number + line.pieces - 1
        numbers = f"{number}" if last == number else f"{number} to {last}"
        fate = "nobody wants it any more" if line.unwanted_at is not None else f"for order {line.order}"
        said.append(f"{numbers}: {read_body(line.body).title}, {fate}")
        number = last + 1
    return "\n".join(
        [toolpath.work_card, "Pieces of several orders, numbered as on the drawing: " + "; ".join(said) + "."]
    )


def sheet_drawing(toolpath: ToolpathRow, lines: Sequence[LineRow]) -> str | None:
    """The frozen plate or sheet as SVG; None where nobody said where its pieces lie."""
    if toolpath.layout is None:
        return None
    return sheet_svg(read_layout(toolpath.layout), [f"for order {line.order}" for line in lines])


def read_layout(stored: object) -> SheetLayout:
    """A stored layout as its type."""
    return msgspec.convert(stored, SheetLayout)

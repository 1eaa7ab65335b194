"""A small bread board with a hole to hang it by and a hollow for salt or oil."""

from __future__ import annotations

from designs.catalogue.outlines import CUT, FlatDrawing, circle, rectangle, slot
from designs.catalogue.source import Source, manifest
from designs.catalogue.source import flat as flat_part
from designs.drawing_conventions import Meaning, Operation
from designs.okh import BoughtItem, ManifestStep, StepKind
from designs.processes.model import ProcessKind

LONG_MM = 160.0
WIDE_MM = 110.0
THICK_MM = 18.0
HOLLOW_MM = 34.0


def make() -> Source:
    """The board."""
    drawing = FlatDrawing("bread board")
    drawing.add(CUT, rectangle(0, 0, LONG_MM, WIDE_MM, 14.0), _grip())
    drawing.add(Meaning(Operation.POCKET, 3.0), circle(28, 28, HOLLOW_MM))
    return Source(
        manifest(
            "Bread board",
            "A board to cut bread on, with a hollow for salt and a grip to hang it by",
            (flat_part("board", "board.dxf", ProcessKind.CNC, "hardwood", THICK_MM),),
            bought=(BoughtItem("food-safe oil", 10.0, "ml"),),
            steps=(
                ManifestStep(
                    "Sand and oil",
                    StepKind.HUMAN,
                    ("board", "food-safe oil"),
                    25.0,
                    instructions="Sand to 240, oil twice.",
                ),
            ),
        ),
        {"board.dxf": drawing.dxf()},
        "# Bread board\n\nBeech or maple, 18 mm. Cut the tabs with a chisel, round the edges, sand to 240, "
        "oil twice.\n",
    )


def _grip() -> tuple[tuple[float, float, float], ...]:
    ring = slot(0, 0, 40, 16)
    return tuple((LONG_MM - 20 - y, WIDE_MM / 2 + x, bulge) for x, y, bulge in ring)

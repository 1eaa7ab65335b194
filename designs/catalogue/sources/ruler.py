"""A ruler and drawing stencil of 100 mm: ticks engraved as lines, shapes to draw along cut out."""

from __future__ import annotations

from designs.catalogue.outlines import CUT, MARK, FlatDrawing, circle, polygon, rectangle, ruler_ticks
from designs.catalogue.source import Source, manifest
from designs.catalogue.source import flat as flat_part
from designs.processes.model import ProcessKind

LONG_MM = 100.0
WIDE_MM = 30.0
EDGE_MM = 6.0


def make() -> Source:
    """The ruler."""
    drawing = FlatDrawing("ruler and stencil")
    drawing.add(CUT, circle(14, 19, 10), circle(30, 19, 14), rectangle(44, 13, 12, 12), slot_hole())
    drawing.add(CUT, polygon((62, 13), (76, 13), (69, 25)))
    for position, height in ruler_ticks(LONG_MM, 2.0):
        drawing.line(MARK, (EDGE_MM + position, 0.4), (EDGE_MM + position, height))
    drawing.add(CUT, rectangle(0, 0, LONG_MM + 2 * EDGE_MM, WIDE_MM, 3.0))
    return Source(
        manifest(
            "Ruler and stencil",
            "Measures 100 mm in steps of 2 mm, and draws circles, a square and a triangle",
            (flat_part("ruler", "ruler.svg", ProcessKind.LASER, "acrylic", 3.0),),
        ),
        {"ruler.svg": drawing.svg()},
        "# Ruler and stencil\n\nCut from 3 mm acrylic or plywood. Check the scale against a known length "
        "before you trust it: the distance of the outer ticks is 100.0 mm.\n",
    )


def slot_hole() -> tuple[tuple[float, float, float], ...]:
    """The hole to hang it by."""
    return circle(EDGE_MM + LONG_MM - 8, 19, 6)

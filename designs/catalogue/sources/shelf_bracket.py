"""A shelf bracket from 12 mm plywood: two legs at a right angle, a strut, holes for screws."""

from __future__ import annotations

from designs.catalogue.outlines import CUT, DRILL, FlatDrawing, circle, polygon
from designs.catalogue.source import Source, manifest
from designs.catalogue.source import flat as flat_part
from designs.processes.model import ProcessKind

LEG_MM = 120.0
WIDE_MM = 24.0
THICK_MM = 12.0
SCREW_MM = 4.0


def make() -> Source:
    """The bracket."""
    w, leg = WIDE_MM, LEG_MM
    drawing = FlatDrawing("shelf bracket")
    drawing.add(CUT, polygon((0, 0), (leg, 0), (leg, w / 2), (w / 2, leg), (0, leg)))
    drawing.add(CUT, polygon((w, w), (leg - 2.2 * w, w), (w, leg - 2.2 * w)))
    drawing.add(DRILL, *(circle(x, w / 2 - 3, SCREW_MM) for x in (leg - 30, leg - 60)))
    drawing.add(DRILL, *(circle(w / 2 - 3, y, SCREW_MM) for y in (leg - 30, leg - 60)))
    return Source(
        manifest(
            "Shelf bracket",
            "Carries a shelf up to 120 mm deep; two or more a shelf",
            (flat_part("bracket", "bracket.dxf", ProcessKind.CNC, "plywood", THICK_MM),),
        ),
        {"bracket.dxf": drawing.dxf()},
        "# Shelf bracket\n\nFrom 12 mm plywood, the grain along the upper leg. Screw it to the shelf from "
        "below and to an upright from the side. Nobody has load-tested it: try yours with "
        "twice what it will carry.\n",
    )

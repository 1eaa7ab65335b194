"""A clip that keeps a cable at the edge of a desk: a slotted ring on a foot, printed lying on its side."""

from __future__ import annotations

from designs.catalogue.outlines import circle, polygon, rectangle
from designs.catalogue.solids import drawn_up, stl
from designs.catalogue.source import Source, manifest, printed

CABLE_MM = 6.0
WALL_MM = 1.8
WIDE_MM = 6.0
FOOT_MM = 18.0


def make() -> Source:
    """The clip for one cable diameter."""
    outer = CABLE_MM + 2 * WALL_MM
    middle = 2.0 + outer / 2 - 0.6
    ring = drawn_up(circle(0, middle, outer), WIDE_MM, segments=20)
    foot = drawn_up(rectangle(-FOOT_MM / 2, 0, FOOT_MM, 2.4), WIDE_MM)
    bore = drawn_up(circle(0, middle, CABLE_MM), WIDE_MM, segments=16)
    gap = CABLE_MM * 0.36
    mouth = drawn_up(polygon((-gap, middle), (gap, middle), (gap, middle + outer), (-gap, middle + outer)), WIDE_MM)
    solid = (foot + ring) - bore - mouth
    return Source(
        manifest(
            "Cable clip",
            "Holds a 6 mm cable at the edge of a desk or shelf; stuck on with double-sided tape",
            (printed("clip", "clip.stl", (FOOT_MM, outer + 1.4, WIDE_MM)),),
        ),
        {"clip.stl": stl(solid, "cable clip")},
        "# Cable clip\n\nPrint it as it lies, without support. Stick the flat foot on with double-sided "
        "tape, wait an hour, press the cable in through the mouth.\n",
    )

"""A hook for a wall: back plate with two countersunk screw holes and an upturned arm, printed lying on its side."""

from __future__ import annotations

from designs.catalogue.outlines import polygon
from designs.catalogue.solids import cylinder, drawn_up, stl
from designs.catalogue.source import Source, manifest, printed

TALL_MM = 36.0
REACH_MM = 22.0
THICK_MM = 4.0
WIDE_MM = 9.0
SCREW_MM = 3.4


def make() -> Source:
    """The hook."""
    t, reach = THICK_MM, REACH_MM
    profile = polygon(
        (0, 0), (t, 0), (reach - 3, 0), (reach, 3), (reach, 12), (reach - t, 12), (reach - t, t + 1.5),
        (t + 5, t + 1.5), (t, t + 7), (t, TALL_MM), (0, TALL_MM),
    )  # fmt: skip
    solid = drawn_up(profile, WIDE_MM)
    for height in (17.0, 30.0):
        hole = cylinder(SCREW_MM, 20.0, 12).rotate((0, 90, 0)).translate((-5, height, WIDE_MM / 2))
        sink = (
            cylinder(SCREW_MM, 2.2, 12, top=2 * SCREW_MM).rotate((0, 90, 0)).translate((t - 2.1, height, WIDE_MM / 2))
        )
        solid = solid - hole - sink
    return Source(
        manifest(
            "Wall hook",
            "Holds a coat, a bag or a tool on a wall with two screws",
            (printed("hook", "hook.stl", (REACH_MM, TALL_MM, WIDE_MM)),),
        ),
        {"hook.stl": stl(solid, "wall hook")},
        "# Wall hook\n\nPrint it lying on its side, without support, so that the layers run along the arm "
        "and it does not split. Two 3 mm countersunk screws. For more than a coat, print it with the strong "
        "profile.\n",
    )

"""Half a clamp that closes a pinhole in a 15 mm pipe over a strip of rubber; two halves and two screws make one."""

from __future__ import annotations

from designs.catalogue.outlines import circle, rectangle
from designs.catalogue.solids import box, cylinder, drawn_up, stl
from designs.catalogue.source import Source, manifest, printed
from designs.okh import BoughtItem, ManifestStep, StepKind

PIPE_MM = 15.0
RUBBER_MM = 2.0
WALL_MM = 2.7
LONG_MM = 9.0
EAR_MM = 9.0
SCREW_MM = 4.3


def make() -> Source:
    """One half; the order takes two."""
    bore = PIPE_MM + 2 * RUBBER_MM
    outer = bore + 2 * WALL_MM
    ears = drawn_up(rectangle(-outer / 2 - EAR_MM, 0, outer + 2 * EAR_MM, 4.0), LONG_MM)
    half = drawn_up(circle(0, 0, outer), LONG_MM, segments=20) - box(99, 99, 99).translate((-49, -99, -20))
    solid = (half + ears) - drawn_up(circle(0, 0, bore), LONG_MM, segments=20)
    for side in (-1, 1):
        hole = cylinder(SCREW_MM, 20, 8).rotate((-90, 0, 0))
        solid = solid - hole.translate((side * (outer / 2 + EAR_MM / 2), -5, LONG_MM / 2))
    return Source(
        manifest(
            "Pipe repair clamp",
            "Presses a rubber strip on a leak in a 15 mm water pipe until it can be soldered",
            (printed("half", "half.stl", (outer + 2 * EAR_MM, outer / 2, LONG_MM), quantity=2, material="PETG"),),
            bought=(
                BoughtItem("M4 × 20 screw with nut", 2.0),
                BoughtItem("rubber strip 9 × 60 mm, 2 mm thick", 1.0, note="an old inner tube will do"),
            ),
            steps=(
                ManifestStep(
                    "Clamp the leak",
                    StepKind.ASSEMBLY,
                    ("half", "M4 × 20 screw with nut", "rubber strip 9 × 60 mm, 2 mm thick"),
                    10.0,
                    instructions="Close the stop valve. Rubber on the leak, halves on the rubber, tighten in turns.",
                ),
            ),
        ),
        {"half.stl": stl(solid, "pipe clamp half")},
        "# Pipe repair clamp\n\nCold water only, and only until the pipe is mended. Print both halves "
        "standing on their round edge as they lie in the file, in PETG, without support. Not pressure-tested.\n",
    )

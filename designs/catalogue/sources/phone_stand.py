"""A stand for a phone from two cheeks and a bar that slot into each other, no glue."""

from __future__ import annotations

from designs.catalogue.outlines import CUT, ENGRAVE, FlatDrawing, circle, moved, polygon, rectangle
from designs.catalogue.source import Source, manifest
from designs.catalogue.source import flat as flat_part
from designs.okh import ManifestStep, StepKind
from designs.processes.model import ProcessKind

BOARD_MM = 3.0
BAR_MM = 66.0
SLOT_DEEP_MM = 14.0
PHONE_MM = 12.0


def make() -> Source:
    """Cheek (twice) and bar."""
    t = BOARD_MM
    cheek = FlatDrawing("phone stand, cheek").add(
        CUT,
        polygon(
            (0, 0), (62, 0), (62, 14), (58, 14), (58, 6 + t), (58 - PHONE_MM, 6 + t), (34, 60), (26, 60),
            (18, 2 * SLOT_DEEP_MM + 4), (18 - t / 2, 2 * SLOT_DEEP_MM + 4), (18 - t / 2, SLOT_DEEP_MM + 4),
            (18 - 1.5 * t, SLOT_DEEP_MM + 4), (18 - 1.5 * t, 2 * SLOT_DEEP_MM + 4), (8, 2 * SLOT_DEEP_MM + 4), (0, 8),
        ),
    )  # fmt: skip
    bar = FlatDrawing("phone stand, bar")
    outline = [(0.0, 0.0)]
    for left in (8.0, BAR_MM - 8.0 - t):
        outline += [(left, 0.0), (left, SLOT_DEEP_MM), (left + t, SLOT_DEEP_MM), (left + t, 0.0)]
    outline += [(BAR_MM, 0.0), (BAR_MM, 2 * SLOT_DEEP_MM), (0.0, 2 * SLOT_DEEP_MM)]
    bar.add(CUT, polygon(*outline), circle(BAR_MM / 2, 17, 8))
    bar.add(ENGRAVE, moved(rectangle(0, 0, 10, 1.2), 14, 21), moved(rectangle(0, 0, 10, 1.2), BAR_MM - 24, 21))
    return Source(
        manifest(
            "Phone stand",
            "Holds a phone upright on a desk, with room for the charging cable",
            (
                flat_part("cheek", "cheek.svg", ProcessKind.LASER, "plywood", BOARD_MM, quantity=2),
                flat_part("bar", "bar.svg", ProcessKind.LASER, "plywood", BOARD_MM),
            ),
            steps=(
                ManifestStep(
                    "Slot it together",
                    StepKind.ASSEMBLY,
                    ("cheek", "bar"),
                    3.0,
                    instructions="Push the bar's slots down into the slots of both cheeks until the edges are flush.",
                ),
            ),
        ),
        {"cheek.svg": cheek.svg(), "bar.svg": bar.svg()},
        "# Phone stand\n\nCut from 3 mm plywood. The slots are drawn as wide as the board; the machine's "
        "kerf is allowed for when it is cut. Sand the edges, push together.\n",
    )

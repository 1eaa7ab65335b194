"""A small lamp: four laser-cut panels stand in a printed base around a battery light, and a lid keeps them square."""

from __future__ import annotations

from designs.catalogue.outlines import CUT, FlatDrawing, circle, polygon, rectangle, slot
from designs.catalogue.solids import box, cylinder, stl
from designs.catalogue.source import Source, manifest, printed
from designs.catalogue.source import flat as flat_part
from designs.okh import BoughtItem, ManifestStep, StepKind
from designs.processes.model import ProcessKind

BOARD_MM = 3.0
PLAY_MM = 0.2
SIDE_MM = 40.0
PANEL_WIDE_MM = 34.0
PANEL_TALL_MM = 70.0
TAB_MM = 16.0
BASE_TALL_MM = 5.1
LIGHT_MM = 26.0


def _base() -> bytes:
    t = BOARD_MM + PLAY_MM
    solid = box(SIDE_MM, SIDE_MM, BASE_TALL_MM)
    middle = SIDE_MM / 2
    groove = box(TAB_MM + 0.4, t, BASE_TALL_MM).translate((-(TAB_MM + 0.4) / 2, -middle + 1.4, 1.8))
    for turn in range(4):
        solid = solid - groove.rotate((0, 0, 90 * turn)).translate((middle, middle, 0))
    return stl(solid - cylinder(LIGHT_MM, BASE_TALL_MM, 24).translate((middle, middle, 1.8)), "lamp base")


def _panel() -> bytes:
    left = (PANEL_WIDE_MM - TAB_MM) / 2
    right = left + TAB_MM
    outline = polygon(
        (0, 0), (left, 0), (left, -4), (right, -4), (right, 0), (PANEL_WIDE_MM, 0), (PANEL_WIDE_MM, PANEL_TALL_MM),
        (right, PANEL_TALL_MM), (right, PANEL_TALL_MM + BOARD_MM), (left, PANEL_TALL_MM + BOARD_MM),
        (left, PANEL_TALL_MM), (0, PANEL_TALL_MM),
    )  # fmt: skip
    drawing = FlatDrawing("lamp, panel")
    for row in range(7):
        drawing.add(CUT, slot(PANEL_WIDE_MM / 2, 8 + 9 * row, 8 + 2.5 * min(row, 6 - row) * 2, 3.0))
    return drawing.add(CUT, outline).svg()


def _lid() -> bytes:
    t = BOARD_MM
    middle = SIDE_MM / 2
    inset = 1.5 + t / 2
    drawing = FlatDrawing("lamp, lid").add(CUT, circle(middle, middle, 20))
    for x, y, wide, tall in (
        (middle, inset + 0.8, TAB_MM, t), (middle, SIDE_MM - inset - 0.8, TAB_MM, t),
        (inset + 0.8, middle, t, TAB_MM), (SIDE_MM - inset - 0.8, middle, t, TAB_MM),
    ):  # fmt: skip
        drawing.add(CUT, rectangle(x - wide / 2, y - tall / 2, wide, tall))
    return drawing.add(CUT, rectangle(-2, -2, SIDE_MM + 4, SIDE_MM + 4, 3.0)).svg()


def make() -> Source:
    """Base, panel, lid."""
    return Source(
        manifest(
            "Table lamp",
            "A soft light for a table or a night path, around a battery light; no mains voltage",
            (
                printed("base", "base.stl", (SIDE_MM, SIDE_MM, BASE_TALL_MM)),
                flat_part("panel", "panel.svg", ProcessKind.LASER, "plywood", BOARD_MM, quantity=4),
                flat_part("lid", "lid.svg", ProcessKind.LASER, "plywood", BOARD_MM),
            ),
            bought=(BoughtItem("battery light, at most 25 mm across", 1.0),),
            steps=(
                ManifestStep(
                    "Put the lamp together",
                    StepKind.ASSEMBLY,
                    ("base", "panel", "lid", "battery light, at most 25 mm across"),
                    8.0,
                    instructions="Light into the base, panels into its grooves, lid on the four tabs.",
                ),
            ),
        ),
        {"base.stl": _base(), "panel.svg": _panel(), "lid.svg": _lid()},
        "# Table lamp\n\nOnly with a battery light: plywood is no lampshade for a bulb that gets hot. Panels "
        "and lid from 3 mm plywood, the base printed flat without support.\n",
    )

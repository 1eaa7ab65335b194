"""Dividers for a drawer: long and short strips with half-slots that cross each other."""

from __future__ import annotations

from designs.catalogue.outlines import CUT, MARK, FlatDrawing, polygon
from designs.catalogue.source import Source, manifest
from designs.catalogue.source import flat as flat_part
from designs.okh import ManifestStep, StepKind
from designs.processes.model import ProcessKind

BOARD_MM = 3.0
TALL_MM = 40.0
LONG_MM = 180.0
SHORT_MM = 120.0


def _strip(title: str, length: float, slots: tuple[float, ...]) -> bytes:
    outline = [(0.0, 0.0), (length, 0.0), (length, TALL_MM)]
    for middle in reversed(slots):
        left, right = middle - BOARD_MM / 2, middle + BOARD_MM / 2
        outline += [(right, TALL_MM), (right, TALL_MM / 2), (left, TALL_MM / 2), (left, TALL_MM)]
    outline.append((0.0, TALL_MM))
    drawing = FlatDrawing(title).add(CUT, polygon(*outline))
    drawing.line(MARK, (5, 5), (length / 4, 5))
    return drawing.dxf()


def make() -> Source:
    """Two long strips and two short ones make nine compartments."""
    return Source(
        manifest(
            "Drawer divider",
            "Divides a drawer of 180 × 120 mm into nine compartments",
            (
                flat_part("long strip", "long.dxf", ProcessKind.LASER, "plywood", BOARD_MM, quantity=2),
                flat_part("short strip", "short.dxf", ProcessKind.LASER, "plywood", BOARD_MM, quantity=2),
            ),
            steps=(ManifestStep("Cross the strips", StepKind.ASSEMBLY, ("long strip", "short strip"), 3.0),),
        ),
        {
            "long.dxf": _strip("drawer divider, long strip", LONG_MM, (LONG_MM / 3, 2 * LONG_MM / 3)),
            "short.dxf": _strip("drawer divider, short strip", SHORT_MM, (SHORT_MM / 3, 2 * SHORT_MM / 3)),
        },
        "# Drawer divider\n\nChange LONG_MM, SHORT_MM and TALL_MM in the source for your drawer. Long strips "
        "slots up, short strips slots down, push together.\n",
    )

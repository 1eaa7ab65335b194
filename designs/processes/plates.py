"""Pieces on a printer's bed: rows of boxes in the middle of the bed, true outlines where boxes find no room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from shapely.geometry import box as rectangle

from designs.nesting import Nest, NestPart, Placement, faults, measured
from designs.nesting_remnant import on_remnant
from designs.processes.print_program import FRONT_MM, SIDE_MM

GAP_MM: Final = 5.0
"""Between pieces: room for a scraper, and no strings between neighbours."""


@dataclass(frozen=True, slots=True)
class Box:
    """Footprint of one piece; `key` says which."""

    key: int
    width_mm: float
    depth_mm: float


@dataclass(frozen=True, slots=True)
class PlateLayout:
    """Where each box's lower left corner goes, and what found no room."""

    placed: tuple[tuple[int, float, float], ...]
    left_over: tuple[int, ...]


def room_mm(bed_mm: Sequence[float]) -> tuple[float, float]:
    """Width and depth of the bed that pieces may take."""
    return bed_mm[0] - 2 * SIDE_MM, bed_mm[1] - SIDE_MM - FRONT_MM


def arrange(boxes: Sequence[Box], bed_mm: Sequence[float]) -> PlateLayout:
    """Rows of boxes from the front, deepest boxes first (next-fit by decreasing depth), the whole block centred."""
    width, depth = room_mm(bed_mm)
    placed: list[tuple[int, float, float]] = []
    left_over: list[int] = []
    x = y = row_depth = used_x = used_y = 0.0
    for box in sorted(boxes, key=lambda each: (-each.depth_mm, -each.width_mm, each.key)):
        if x > 0 and x + box.width_mm > width + 1e-9:
            y += row_depth + GAP_MM
            x = row_depth = 0.0
        if box.width_mm > width + 1e-9 or y + box.depth_mm > depth + 1e-9:
            left_over.append(box.key)
            continue
        placed.append((box.key, x, y))
        used_x, used_y = max(used_x, x + box.width_mm), max(used_y, y + box.depth_mm)
        row_depth = max(row_depth, box.depth_mm)
        x += box.width_mm + GAP_MM
    shift_x, shift_y = SIDE_MM + (width - used_x) / 2, FRONT_MM + (depth - used_y) / 2
    return PlateLayout(
        tuple((key, round(at_x + shift_x, 3), round(at_y + shift_y, 3)) for key, at_x, at_y in placed), tuple(left_over)
    )


def lay_on_bed(parts: Sequence[NestPart], bed_mm: Sequence[float]) -> Nest:
    """All pieces on one bed, upright, clear of the edges, of the primed line and by `GAP_MM` of each other.

    Boxes first, as they were modelled; where those find no room, true outlines in four turns, the largest first.
    Checked piece against piece. What found no room is in `left_over`.
    """
    flat = [(part, copy) for part in parts for copy in range(part.quantity)]
    sizes = [part.outline.bounds for part, _ in flat]
    boxes = [Box(k, x1 - x0, y1 - y0) for k, (x0, y0, x1, y1) in enumerate(sizes)]
    layout = arrange(boxes, bed_mm)
    if not layout.left_over:
        at = {key: (x, y) for key, x, y in layout.placed}
        placed = [
            Placement(part.key, copy, (1.0, 0.0, 0.0, 1.0, at[k][0] - sizes[k][0], at[k][1] - sizes[k][1]))
            for k, (part, copy) in enumerate(flat)
        ]
        return measured(parts, placed, {}, 0.0)
    room = rectangle(SIDE_MM, FRONT_MM, bed_mm[0] - SIDE_MM, bed_mm[1] - SIDE_MM)
    found = on_remnant(parts, room, GAP_MM, margin_mm=0.0)
    wrong = faults(parts, found, room, GAP_MM)
    if wrong:
        raise ValueError(f"a plate was laid out wrong: {wrong[0]}")
    return found

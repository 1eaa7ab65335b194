"""Remnants: pieces on a polygon of any shape, and the polygons that are left of a sheet, with where they came from.

An offcut is material with a history: which sheet, which job, when it was cut off is told by `source`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from shapely import affinity
from shapely.geometry import Polygon, box
from shapely.ops import unary_union

from designs.nesting import Nest, NestPart, Placement, measured

_STEP_SHARE = 0.25
_MOST_SPOTS = 4000
_BLOCK = 512


@dataclass(frozen=True, slots=True)
class Offcut:
    """A remnant worth keeping. `outline` in its own coordinates (lower left of its box at 0, 0), holes included."""

    material: str
    thickness_mm: float
    colour: str
    outline: Polygon
    source: tuple[str, ...]
    """From the first sheet on: `sheet 17`, `job 4711`, …"""

    @property
    def area_mm2(self) -> float:
        """Area."""
        return float(self.outline.area)


def on_remnant(parts: Sequence[NestPart], remnant: Polygon, gap_mm: float, margin_mm: float = 2.0) -> Nest:
    """Bottom-left placement on a polygon: each piece at the lowest, then leftmost spot inside it and free of others.

    Spots tried: a grid of a quarter of the smallest piece, and the corners of what already lies. Largest pieces first.
    """
    room: Any = remnant.buffer(-margin_mm)
    smallest = min(min(_size(part.outline)) for part in parts) if parts else 1.0
    order = sorted(parts, key=lambda part: -part.outline.area)
    placements: list[Placement] = []
    left: dict[str, int] = {}
    taken: list[Polygon] = []
    for part in order:
        for copy in range(part.quantity):
            found = _spot(part, room, taken, gap_mm, smallest)
            if found is None:
                left[part.key] = part.quantity - copy
                break
            placements.append(Placement(part.key, copy, found))
            taken.append(placements[-1].apply(part.outline))
    return measured(parts, placements, left, 0.0)


def _size(outline: Polygon) -> tuple[float, float]:
    x0, y0, x1, y1 = outline.bounds
    return max(x1 - x0, 0.1), max(y1 - y0, 0.1)


def _spot(
    part: NestPart, room: Any, taken: Sequence[Polygon], gap_mm: float, smallest: float
) -> tuple[float, float, float, float, float, float] | None:
    if room.is_empty:
        return None
    free = room.difference(unary_union([t.buffer(gap_mm) for t in taken])) if taken else room
    inside = free.buffer(1e-6)
    shapely.prepare(inside)
    best: tuple[float, float, tuple[float, float, float, float, float, float]] | None = None
    for angle in part.rotations_deg:
        turned = affinity.rotate(part.outline, angle, origin=(0, 0))
        x0, y0, _, _ = turned.bounds
        width, height = _size(turned)
        spots = np.asarray(_spots(free, width, height, max(smallest * _STEP_SHARE, 1.0)))
        found = _first_inside(inside, np.asarray(turned.exterior.coords) - (x0, y0), spots)
        if found is not None and (best is None or found < best[:2]):
            y, x = found
            turn = math.radians(angle)
            c, s = math.cos(turn), math.sin(turn)
            best = (y, x, (c, -s, s, c, x - x0, y - y0))
    return None if best is None else best[2]


def _first_inside(inside: Any, outline: Any, spots: Any) -> tuple[float, float] | None:
    """The first (y, x) at which an outline with its lower left corner there lies inside; a block of spots at a time."""
    for start in range(0, len(spots), _BLOCK):
        block = spots[start : start + _BLOCK, ::-1]
        # One point inside is asked first: most spots are ruled out by it.
        block = block[shapely.contains_xy(inside, *(block + outline[0]).T)]
        if len(block):
            placed = shapely.polygons(outline[None, :, :] + block[:, None, :])
            hits = np.flatnonzero(shapely.contains(inside, placed))
            if len(hits):
                x, y = block[hits[0]]
                return float(y), float(x)
    return None


def _spots(free: Any, width: float, height: float, step: float) -> list[tuple[float, float]]:
    """(y, x) of lower left corners worth trying, lowest first."""
    x0, y0, x1, y1 = free.bounds
    if x1 - x0 < width - 1e-6 or y1 - y0 < height - 1e-6:
        return []
    step = max(step, math.sqrt((x1 - x0) * (y1 - y0) / _MOST_SPOTS))
    xs = {x0 + k * step for k in range(int((x1 - x0 - width) / step) + 1)} | {x1 - width}
    ys = {y0 + k * step for k in range(int((y1 - y0 - height) / step) + 1)} | {y1 - height}
    corners = [p for polygon in getattr(free, "geoms", [free]) for p in polygon.exterior.coords]
    spots = {(y, x) for y in ys for x in xs}
    for cx, cy in corners[:400]:
        spots |= {(cy, cx), (cy, cx - width), (cy - height, cx), (cy - height, cx - width)}
    return sorted(spots)


def offcuts(
    sheet: Polygon, used: Sequence[Polygon], gap_mm: float, material: str, thickness_mm: float, colour: str,
    source: Sequence[str], *, smallest_mm: float = 40.0,
) -> tuple[Offcut, ...]:  # fmt: skip
    """What remains of a sheet when pieces with `gap_mm` around them are cut out: parts at least `smallest_mm` wide."""
    rest: Any = sheet.difference(unary_union([u.buffer(gap_mm, join_style="mitre") for u in used])) if used else sheet
    half = smallest_mm / 2.0
    kept = []
    for polygon in getattr(rest, "geoms", [rest]):
        if polygon.geom_type != "Polygon" or polygon.buffer(-half).is_empty:
            continue
        opened = polygon.buffer(-half).buffer(half, join_style="mitre", mitre_limit=2.0).intersection(polygon)
        for piece in getattr(opened, "geoms", [opened]):
            if piece.geom_type == "Polygon" and min(_size(piece)) >= smallest_mm:
                x0, y0, _, _ = piece.bounds
                outline = affinity.translate(piece.simplify(0.1), -x0, -y0)
                kept.append(Offcut(material, thickness_mm, colour, outline, tuple(source)))
    return tuple(sorted(kept, key=lambda o: -o.area_mm2))


def whole_sheet(width_mm: float, height_mm: float) -> Polygon:
    """A new sheet as a polygon."""
    return box(0.0, 0.0, width_mm, height_mm)

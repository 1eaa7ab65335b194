"""True-shape nesting on a rectangle by spyrrow (sparrow: strip packing of polygons in any of given rotations).

The strip is as high as the sheet and grows along its width; where the result is wider than the sheet, the last pieces
are left over and it is tried again. Every result is checked piece against piece before it is believed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import spyrrow
from shapely.geometry import Polygon, box
from shapely.geometry.polygon import orient

from designs.nesting import Nest, NestPart, Placement, Sheet, faults, measured

_TOLERANCE_MM = 0.05
_MOST_POINTS = 80
_TRIES = 5
_EASY_SHARE = 0.6
"""Below this share of the sheet the first try fits, and gets all the time."""


def true_shape(parts: Sequence[NestPart], sheet: Sheet, gap_mm: float, *, budget_s: int, seed: int = 1) -> Nest | None:
    """A checked nest with as many pieces as were fitted in, None where nothing could be placed.

    `budget_s` whole seconds for all tries together. Pieces too large for the sheet in every rotation are left over.
    """
    width, height = sheet.width_mm - 2 * sheet.margin_mm, sheet.height_mm - 2 * sheet.margin_mm
    wanted = {part.key: part.quantity for part in parts}
    fitting = {part.key: _rotations(part, width, height) for part in parts}
    demand = {key: (count if fitting[key] else 0) for key, count in wanted.items()}
    demand = _trimmed_to_area(parts, demand, width * height)
    area = sum(demand[part.key] * part.outline.area for part in parts)
    surely_fits = area < _EASY_SHARE * width * height
    for n in range(_TRIES):
        if not any(demand.values()):
            return None
        share = 1 if n == 0 and surely_fits else (2 if n == 0 else 4)
        seconds = max(1, budget_s // share)
        solution = _solve(parts, demand, fitting, height, gap_mm, seconds, seed)
        if solution.width <= width + 1e-6:
            return _checked(parts, solution, wanted, sheet, gap_mm)
        demand = _fewer(parts, demand, solution.width / width)
    return None


def _rotations(part: NestPart, width: float, height: float) -> list[float]:
    """Those of the part's rotations in which it fits on the sheet at all."""
    found = []
    for angle in part.rotations_deg:
        turn = math.radians(angle)
        xs = [x * math.cos(turn) - y * math.sin(turn) for x, y in part.outline.exterior.coords]
        ys = [x * math.sin(turn) + y * math.cos(turn) for x, y in part.outline.exterior.coords]
        if max(xs) - min(xs) <= width - 0.01 and max(ys) - min(ys) <= height - 0.01 - 2 * _TOLERANCE_MM:
            found.append(angle)
    return found


def _trimmed_to_area(parts: Sequence[NestPart], demand: dict[str, int], room: float) -> dict[str, int]:
    """No more pieces than the sheet's area can hold, earlier parts first."""
    left, result = room, {}
    for part in parts:
        count = min(demand[part.key], int(left / max(part.outline.area, 1e-9)))
        result[part.key] = count
        left -= count * part.outline.area
    return result


def _fewer(parts: Sequence[NestPart], demand: dict[str, int], excess: float) -> dict[str, int]:
    """Leave out about as much area as the strip was too wide, the last parts first; always at least one piece."""
    area = sum(demand[part.key] * part.outline.area for part in parts)
    drop = area * (1.0 - 1.0 / max(excess, 1.0001))
    result = dict(demand)
    for part in reversed(parts):
        while result[part.key] and (drop > 0.0 or result == demand):
            result[part.key] -= 1
            drop -= part.outline.area
    return result


def _coarse(outline: Polygon) -> Polygon:
    """An outline with few points that contains the true one."""
    if len(outline.exterior.coords) <= _MOST_POINTS:
        return Polygon(outline.exterior)
    grown = outline.buffer(_TOLERANCE_MM, quad_segs=2).simplify(_TOLERANCE_MM)
    return Polygon(grown.exterior) if grown.contains(outline) else Polygon(outline.exterior)


def _solve(
    parts: Sequence[NestPart], demand: dict[str, int], fitting: dict[str, list[float]], height: float, gap_mm: float,
    seconds: int, seed: int,
) -> spyrrow.StripPackingSolution:  # fmt: skip
    items = [
        spyrrow.Item(part.key, list(orient(_coarse(part.outline)).exterior.coords), demand[part.key], fitting[part.key])
        for part in parts
        if demand[part.key]
    ]
    config = spyrrow.StripPackingConfig(
        early_termination=True,
        total_computation_time=seconds,
        min_items_separation=gap_mm if gap_mm > 0.0 else None,
        num_workers=1,
        seed=seed,
    )
    return spyrrow.StripPackingInstance("sheet", height, items).solve(config)


def _checked(
    parts: Sequence[NestPart],
    solution: spyrrow.StripPackingSolution,
    wanted: dict[str, int],
    sheet: Sheet,
    gap_mm: float,
) -> Nest | None:
    counts: dict[str, int] = {}
    placements = []
    for item in solution.placed_items:
        turn = math.radians(item.rotation)
        c, s = math.cos(turn), math.sin(turn)
        x, y = item.translation
        matrix = (c, -s, s, c, x + sheet.margin_mm, y + sheet.margin_mm)
        placements.append(Placement(item.id, counts.get(item.id, 0), matrix))
        counts[item.id] = counts.get(item.id, 0) + 1
    left = {key: count - counts.get(key, 0) for key, count in wanted.items()}
    found = measured(parts, placements, left, sheet.margin_mm)
    area = box(0.0, 0.0, sheet.width_mm, sheet.height_mm)
    return None if faults(parts, found, area, gap_mm) else found

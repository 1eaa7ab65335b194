"""What a round bit of one diameter follows: profiles outside the part, rings that clear a pocket, tabs that hold it.

Pure geometry in millimetres, z apart. Directions are for a clockwise spindle: climb milling goes clockwise around an
outline and counter-clockwise inside a hole or pocket (the work on the left of the cut is waste, on the right the part).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shapely.geometry import LineString, Polygon
from shapely.geometry.polygon import orient

Point = tuple[float, float]
_SIMPLIFY_MM = 0.005
_FINE_MM = 0.02
"""How much a bit's reach may miss of a pocket's area edge before it is told."""


@dataclass(frozen=True, slots=True)
class Loop:
    """A closed way of the bit's centre, cut from `top_mm` down to `bottom_mm` (z ≤ 0)."""

    points: tuple[Point, ...]
    bottom_mm: float
    outer: bool
    """Around a part (tabs belong here), not inside a hole."""
    tabs: tuple[tuple[float, float], ...] = ()
    """(from, to) along the loop where the last passes stay above the tab's top."""

    @property
    def length_mm(self) -> float:
        """Once around."""
        return sum(math.dist(a, b) for a, b in zip(self.points, self.points[1:] + self.points[:1], strict=True))


@dataclass(frozen=True, slots=True)
class PocketArea:
    """Rings that clear an area, from the middle outward, and the area the bit's centre may be in."""

    rings: tuple[tuple[Point, ...], ...]
    reach: Any
    bottom_mm: float


def _ring_points(ring: Any, clockwise: bool) -> tuple[Point, ...]:
    polygon = orient(Polygon(ring), -1.0 if clockwise else 1.0)
    simple = polygon.exterior.simplify(_SIMPLIFY_MM)
    return tuple((float(x), float(y)) for x, y in list(simple.coords)[:-1])


def polygons_of(area: Any) -> list[Polygon]:
    """The polygons of any shapely result."""
    if area.is_empty:
        return []
    if area.geom_type == "Polygon":
        return [area]
    return [g for g in getattr(area, "geoms", []) if g.geom_type == "Polygon"]


def profile_loops(region: Polygon, radius_mm: float, bottom_mm: float, climb: bool) -> tuple[list[Loop], list[Polygon]]:
    """(loops around a part and its holes, the holes too narrow for the bit). The bit's edge touches the part's edge."""
    grown = region.buffer(radius_mm, quad_segs=24)
    loops: list[Loop] = []
    loops.extend(Loop(_ring_points(p.exterior, climb), bottom_mm, True) for p in polygons_of(grown))
    narrow = []
    for ring in region.interiors:
        hole = Polygon(ring)
        inside = hole.buffer(-radius_mm + 1e-6, quad_segs=24)
        found = polygons_of(inside)
        if not found:
            narrow.append(hole)
        loops.extend(Loop(_ring_points(p.exterior, not climb), bottom_mm, False) for p in found if p.area > 1e-9)
        narrow.extend(hole for p in found if p.area <= 1e-9)
    return loops, narrow


def pocket_area(area: Any, radius_mm: float, stepover_mm: float, bottom_mm: float, climb: bool) -> list[PocketArea]:
    """Rings for each part of an area that the bit can reach; nothing where it is too narrow everywhere."""
    result = []
    for part in polygons_of(area.buffer(-radius_mm + 1e-6, quad_segs=24)):
        rings: list[tuple[Point, ...]] = []
        level: Any = part
        while not level.is_empty and len(rings) < 4000:
            for polygon in polygons_of(level):
                rings.append(_ring_points(polygon.exterior, not climb))
                rings.extend(_ring_points(hole, climb) for hole in polygon.interiors)
            level = level.buffer(-stepover_mm, quad_segs=8)
        result.append(PocketArea(tuple(r for r in reversed(rings) if len(r) > 2), part, bottom_mm))
    return [p for p in result if p.rings]


def uncut_share(area: Any, radius_mm: float) -> float:
    """Share of an area that a round bit cannot reach (inner corners, necks): 0 … 1."""
    if area.is_empty or area.area <= 0.0:
        return 1.0
    reached = area.buffer(-radius_mm + _FINE_MM / 10).buffer(radius_mm)
    return float(max(0.0, 1.0 - reached.intersection(area).area / area.area))


def with_tabs(loop: Loop, width_mm: float, diameter_mm: float, count: int) -> Loop:
    """Tabs of `width_mm` left standing, evenly around, away from corners where the loop is long enough."""
    length = loop.length_mm
    span = width_mm + diameter_mm
    count = min(count, int(length // (2.5 * span)))
    if count < 1:
        return loop
    middles = _straight_middles(loop, count, length)
    tabs = tuple(sorted((max(0.0, m - span / 2), min(length, m + span / 2)) for m in middles))
    return Loop(loop.points, loop.bottom_mm, loop.outer, tabs)


def _straight_middles(loop: Loop, count: int, length: float) -> list[float]:
    """Evenly spread, each moved to the middle of a straight edge near by where there is one."""
    edges, at = [], 0.0
    for a, b in zip(loop.points, loop.points[1:] + loop.points[:1], strict=True):
        far = math.dist(a, b)
        edges.append((at, far))
        at += far
    result: list[float] = []
    for k in range(count):
        wanted = (k + 0.5) * length / count
        near = [(abs(s + far / 2 - wanted), s + far / 2) for s, far in edges if far > 15.0]
        best = min(near, default=(math.inf, wanted))
        middle = best[1] if best[0] < length / count / 3 else wanted
        if all(abs(middle - other) > length / count / 3 for other in result):
            result.append(middle)
        else:
            result.append(wanted)
    return result


def walk(points: Sequence[Point], start: float, distance: float) -> list[tuple[float, Point]]:
    """(distance from the loop's first point, point) of corners and both ends when walking `distance` from `start`."""
    lengths = [math.dist(a, b) for a, b in zip(points, [*points[1:], points[0]], strict=True)]
    total = sum(lengths)
    result: list[tuple[float, Point]] = [(start, at_distance(points, lengths, start))]
    corner_at = 0.0
    corners = []
    for k, far in enumerate(lengths):
        corners.append((corner_at, points[k]))
        corner_at += far
    lap = math.floor(start / total)
    while True:
        for s, p in corners:
            here = s + lap * total
            if here > start + distance - 1e-6:
                result.append((start + distance, at_distance(points, lengths, start + distance)))
                return result
            if here > start + 1e-6:
                result.append((here, p))
        lap += 1


def at_distance(points: Sequence[Point], lengths: Sequence[float], s: float) -> Point:
    """The point `s` along a closed loop."""
    total = sum(lengths)
    s %= total
    for k, far in enumerate(lengths):
        if s <= far and far > 0.0:
            a, b = points[k], points[(k + 1) % len(points)]
            share = s / far
            return a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share
        s -= far
    return points[0]


def stays_inside(reach: Any, a: Point, b: Point) -> bool:
    """Whether the bit may go straight from `a` to `b` within a cleared reach."""
    return bool(reach.buffer(0.02).contains(LineString([a, b])))

"""Lines of a drawing: joined where they meet, closed where they should be, counted once, nested into parts and holes.

Pure geometry on points in millimetres; shapely does the areas.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from shapely.geometry import LineString, Polygon
from shapely.validation import explain_validity

from designs.drawing_conventions import Operation

Point = tuple[float, float]
JOIN_MM = 0.05
"""Ends nearer than this are the same point."""
GAP_MM = 0.5
"""A contour whose ends are nearer than this was meant to be closed: it is closed, and the reader is told."""


@dataclass(frozen=True, slots=True)
class Contour:
    """A line with its meaning. Closed contours do not repeat their first point."""

    points: tuple[Point, ...]
    closed: bool
    operation: Operation
    depth_mm: float | None = None
    layer: str = ""

    @property
    def length_mm(self) -> float:
        """Length along the line, the closing edge included."""
        ends = self.points[1:] + (self.points[:1] if self.closed else ())
        return sum(math.dist(a, b) for a, b in zip(self.points, ends, strict=False))

    def polygon(self) -> Polygon:
        """The area inside a closed contour (made valid where it crosses itself)."""
        area = Polygon(self.points)
        return area if area.is_valid else area.buffer(0)

    def circle(self) -> tuple[Point, float] | None:
        """(centre, radius) when the contour is a circle to 0.05 mm or 1 %, else None."""
        if not self.closed or len(self.points) < 8:
            return None
        xs, ys = [p[0] for p in self.points], [p[1] for p in self.points]
        centre = ((min(xs) + max(xs)) / 2.0, (min(ys) + max(ys)) / 2.0)
        radii = [math.dist(centre, p) for p in self.points]
        mean = sum(radii) / len(radii)
        if max(radii) - min(radii) > max(0.05, 0.01 * mean):
            return None
        return centre, mean

    def moved(self, matrix: tuple[float, float, float, float, float, float]) -> Contour:
        """Through the affine map x' = a·x + b·y + e, y' = c·x + d·y + f of (a, b, c, d, e, f)."""
        a, b, c, d, e, f = matrix
        return replace(self, points=tuple((a * x + b * y + e, c * x + d * y + f) for x, y in self.points))


def bounds(contours: Iterable[Contour]) -> tuple[float, float, float, float]:
    """xmin, ymin, xmax, ymax of all points. Raises ValueError where there are none."""
    points = [p for c in contours for p in c.points]
    if not points:
        raise ValueError("no contours, no bounds")
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    return min(xs), min(ys), max(xs), max(ys)


def tidy(points: Sequence[Point], closed: bool) -> tuple[tuple[Point, ...], bool]:
    """Without repeated points; closed where the ends meet."""
    kept: list[Point] = []
    for p in points:
        if not kept or math.dist(p, kept[-1]) > 1e-6:
            kept.append((float(p[0]), float(p[1])))
    if len(kept) > 2 and math.dist(kept[0], kept[-1]) <= JOIN_MM:
        kept.pop()
        closed = True
    return tuple(kept), closed and len(kept) > 2


def _cell(p: Point) -> tuple[int, int]:
    return round(p[0] / JOIN_MM), round(p[1] / JOIN_MM)


def _near(index: dict[tuple[int, int], list[int]], p: Point, ends: dict[int, tuple[Point, Point]]) -> int | None:
    """The nearest open line with an end at `p`, None where there is none."""
    cx, cy = _cell(p)
    best: tuple[float, int] | None = None
    for dx in (-1, 0, 1):
        for dy in (-1, 0, 1):
            for k in index.get((cx + dx, cy + dy), ()):
                if k in ends:
                    far = min(math.dist(p, ends[k][0]), math.dist(p, ends[k][1]))
                    if far <= JOIN_MM and (best is None or (far, k) < best):
                        best = (far, k)
    return None if best is None else best[1]


def join(contours: Sequence[Contour]) -> list[Contour]:
    """Open lines of the same meaning that meet at their ends become one; rings become closed contours."""
    result = [c for c in contours if c.closed]
    groups: dict[tuple[Operation, float | None], list[Contour]] = {}
    for contour in contours:
        if not contour.closed:
            groups.setdefault((contour.operation, contour.depth_mm), []).append(contour)
    for group in groups.values():
        ends = {k: (c.points[0], c.points[-1]) for k, c in enumerate(group)}
        index: dict[tuple[int, int], list[int]] = {}
        for k, (first, last) in ends.items():
            index.setdefault(_cell(first), []).append(k)
            index.setdefault(_cell(last), []).append(k)
        result.extend(_chain(k, group, ends, index) for k in range(len(group)) if k in ends)
    return result


def _chain(
    k: int, group: list[Contour], ends: dict[int, tuple[Point, Point]], index: dict[tuple[int, int], list[int]]
) -> Contour:
    points = list(group[k].points)
    del ends[k]
    for _ in range(2):
        while (n := _near(index, points[-1], ends)) is not None:
            more = group[n].points
            if math.dist(points[-1], more[0]) > math.dist(points[-1], more[-1]):
                more = more[::-1]
            points.extend(more[1:])
            del ends[n]
        points.reverse()
    cleaned, closed = tidy(points, False)
    return replace(group[k], points=cleaned, closed=closed)


def close_gaps(contours: Sequence[Contour]) -> tuple[list[Contour], int]:
    """Close cut and pocket contours whose ends nearly meet: (contours, how many were closed)."""
    result, mended = [], 0
    for c in contours:
        if not c.closed and len(c.points) > 3 and math.dist(c.points[0], c.points[-1]) <= GAP_MM and c.length_mm > 5.0:
            c, mended = replace(c, closed=True), mended + 1
        result.append(c)
    return result, mended


def _outline(c: Contour) -> Any:
    return LineString(c.points + (c.points[:1] if c.closed else ()))


def without_duplicates(contours: Sequence[Contour]) -> tuple[list[Contour], int]:
    """Each line once, however often it was drawn: (contours, how many were dropped). Direction does not matter."""
    kept: list[Contour] = []
    seen: dict[tuple[object, ...], list[Contour]] = {}
    for c in contours:
        box = bounds([c])
        key = (c.operation, c.depth_mm, c.closed, *(round(v * 5.0) for v in box))
        twins = seen.setdefault(key, [])
        if any(
            abs(c.length_mm - other.length_mm) < 0.1 and _outline(c).hausdorff_distance(_outline(other)) < 0.02
            for other in twins
        ):
            continue
        twins.append(c)
        kept.append(c)
    return kept, len(contours) - len(kept)


def crossing(contours: Iterable[Contour]) -> list[Contour]:
    """Closed contours that cross themselves."""
    return [c for c in contours if c.closed and "Self-intersection" in explain_validity(Polygon(c.points))]


def depth_of(contours: Sequence[Contour]) -> list[int]:
    """For each closed contour, how many of the others enclose it: even are outlines, odd are holes."""
    areas = [c.polygon() for c in contours]
    spots = [a.representative_point() if not a.is_empty else None for a in areas]
    sizes = [a.area for a in areas]
    boxes = [a.bounds if not a.is_empty else (0.0, 0.0, 0.0, 0.0) for a in areas]
    depths = []
    for k, spot in enumerate(spots):
        depth = 0
        for n, area in enumerate(areas):
            x0, y0, x1, y1 = boxes[n]
            if n != k and spot is not None and sizes[n] > sizes[k] and x0 <= spot.x <= x1 and y0 <= spot.y <= y1:
                depth += int(area.contains(spot))
        depths.append(depth)
    return depths


def regions(contours: Sequence[Contour]) -> list[Polygon]:
    """The material that stays: outlines with their holes cut out, islands in holes as parts of their own."""
    closed = [c for c in contours if c.closed]
    depths = depth_of(closed)
    result = []
    for c, depth in zip(closed, depths, strict=True):
        if depth % 2:
            continue
        area: Any = c.polygon()
        for hole, inner in zip(closed, depths, strict=True):
            if inner == depth + 1 and area.contains(hole.polygon().representative_point()):
                area = area.difference(hole.polygon())
        if area.geom_type == "Polygon" and not area.is_empty:
            result.append(area)
        elif area.geom_type == "MultiPolygon":
            result.extend(area.geoms)
    return result

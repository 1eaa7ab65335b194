"""From contours to the lines a beam follows: kerf to the waste side, lead-ins, inner before outer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from shapely.geometry import LineString, Point, Polygon
from shapely.strtree import STRtree

from designs.contours import Contour
from designs.processes.model import Finding, Severity
from designs.processes.path_order import Path

_SIMPLIFY_MM = 0.005


def line_paths(contours: Sequence[Contour]) -> list[Path]:
    """Lines as drawn, no kerf, no order among them."""
    return [Path(c.points, c.closed) for c in contours]


def cut_paths(
    regions: Sequence[Polygon],
    holes: Sequence[Contour],
    loose: Sequence[Contour],
    kerf_mm: float,
    lead_in_mm: float,
    findings: list[Finding],
) -> list[Path]:
    """Cuts around the material that stays: outlines half a kerf outside, holes half a kerf inside, inner ones first.

    `holes`: drilled circles, cut as holes. `loose`: open cuts, on the line. Holes narrower than the kerf are told.
    """
    outlines: list[tuple[Any, bool]] = []
    for region in regions:
        grown = region.buffer(kerf_mm / 2.0, join_style="mitre", mitre_limit=2.0)
        for polygon in getattr(grown, "geoms", [grown]):
            outlines.append((Polygon(polygon.exterior), True))
            outlines.extend((Polygon(ring), False) for ring in polygon.interiors)
        lost = len(region.interiors) - sum(len(p.interiors) for p in getattr(grown, "geoms", [grown]))
        if lost > 0:
            findings.append(
                Finding(Severity.WARNING, "narrower_than_kerf", f"{lost} holes are narrower than the kerf: not cut.")
            )
    for hole in holes:
        shrunk = hole.polygon().buffer(-kerf_mm / 2.0)
        if shrunk.is_empty or shrunk.geom_type != "Polygon":
            findings.append(
                Finding(Severity.WARNING, "narrower_than_kerf", "A drilled hole is narrower than the kerf: not cut.")
            )
            continue
        outlines.append((Polygon(shrunk.exterior), False))
    order_after = _inner_first([area for area, _ in outlines])
    tree = STRtree(list(regions)) if regions else None
    paths = []
    for (area, outer), after in zip(outlines, order_after, strict=True):
        ring = area.exterior.simplify(_SIMPLIFY_MM)
        points = tuple((float(x), float(y)) for x, y in list(ring.coords)[:-1])
        paths.append(_with_lead_in(points, area, outer, lead_in_mm, kerf_mm, tree, regions, after))
    base = len(outlines)
    paths.extend(Path(line.points, False) for line in loose)
    if loose:
        firsts = frozenset(range(base, base + len(loose)))
        paths = [
            Path(p.points, p.closed, p.after | firsts, p.label, p.entries, p.reversible) if k < base else p
            for k, p in enumerate(paths)
        ]
    return paths


def _inner_first(areas: Sequence[Polygon]) -> list[frozenset[int]]:
    """For each area the indices of those inside it."""
    if not areas:
        return []
    tree = STRtree(list(areas))
    result = []
    for k, area in enumerate(areas):
        inside = {int(n) for n in tree.query(area, predicate="contains") if int(n) != k}
        result.append(frozenset(n for n in inside if areas[n].area < area.area))
    return result


def _with_lead_in(
    points: tuple[tuple[float, float], ...],
    area: Polygon,
    outer: bool,
    lead_in_mm: float,
    kerf_mm: float,
    tree: STRtree | None,
    regions: Sequence[Polygon],
    after: frozenset[int],
) -> Path:
    """Begin in the waste, beside the longest edges' middles, where there is room; without room, on the line itself."""
    edges = sorted(
        range(len(points)), key=lambda k: -math.dist(points[k], points[(k + 1) % len(points)])
    )[:6]  # fmt: skip
    clockwise = not Polygon(points).exterior.is_ccw
    for k in edges:
        a, b = points[k], points[(k + 1) % len(points)]
        length = math.dist(a, b)
        if length < 1e-6 or lead_in_mm <= 0.0:
            continue
        nx, ny = (b[1] - a[1]) / length, -(b[0] - a[0]) / length
        side = (1.0 if outer else -1.0) * (-1.0 if clockwise else 1.0)
        middle = ((a[0] + b[0]) / 2.0, (a[1] + b[1]) / 2.0)
        start = (middle[0] + side * nx * lead_in_mm, middle[1] + side * ny * lead_in_mm)
        if _clear(LineString([start, middle]), start, area, outer, kerf_mm, tree, regions):
            ring = (middle, *points[k + 1 :], *points[: k + 1], middle)
            return Path((start, *ring), False, after, reversible=False)
    return Path(points, True, after)


def _clear(
    lead: LineString, start: tuple[float, float], area: Polygon, outer: bool, kerf_mm: float, tree: STRtree | None,
    regions: Sequence[Polygon],
) -> bool:  # fmt: skip
    if min(start) < 0.0 or area.contains(Point(start)) == outer:
        return False
    if tree is None:
        return True
    burnt = lead.buffer(kerf_mm / 2.0 - 0.01, cap_style="flat")
    return not any(regions[int(n)].intersects(burnt) for n in tree.query(burnt))

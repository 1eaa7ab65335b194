"""V-carving: areas engraved with a conical bit, as deep as they are wide, so that edges and inner corners stay sharp.

At distance d from the edge the tip goes to z = −d / tan(angle / 2): the cone's flank then touches the edge exactly.
Rings from the edge inward draw the whole slope; where the area is wider than the deepest cut, its floor is flat.
"""

from __future__ import annotations

import math
from typing import Any

from shapely.geometry import Polygon

from designs.drawing_conventions import Operation
from designs.processes.cnc_motion import Heights, Mill
from designs.processes.cnc_paths import Point, polygons_of
from designs.processes.cnc_program import RouterOptions, begin, end, finish
from designs.processes.gcode_writer import GcodeWriter
from designs.processes.materials import router_recipe
from designs.processes.model import CannotMake, MachineProfile, MadeToolpath, Stock, ToolSpec
from designs.processes.path_order import Path, order
from designs.processes.sheet_layout import Layout

_STEP_MM = 0.2
_LINE_MM = 0.4
_DEEPEST_SHARE = 0.6
"""Of the board's thickness."""


def bit_for(layout: Layout, profile: MachineProfile) -> ToolSpec | None:
    """The machine's V bit, where the drawing holds nothing but engraving and marks with at least one area."""
    contours = [c for laid in layout.laid for c in laid.contours]
    if any(c.operation not in (Operation.ENGRAVE, Operation.MARK) for c in contours):
        return None
    if not any(c.operation is Operation.ENGRAVE and c.closed for c in contours):
        return None
    return next((t for t in profile.tools if t.kind.startswith("v_bit") and angle_of(t) is not None), None)


def angle_of(tool: ToolSpec) -> float | None:
    """The cone's whole angle in degrees: stated, or in the kind's name as `v_bit_60`; None where nothing says it."""
    if tool.angle_deg is not None:
        return tool.angle_deg
    end = tool.kind.removeprefix("v_bit_")
    return float(end) if end != tool.kind and end.isdecimal() else None


def rings(
    area: Any, angle_deg: float, deepest_mm: float, step_mm: float = _STEP_MM
) -> list[tuple[tuple[Point, ...], float]]:
    """(closed ring of the tip, z) from the edge inward; the last ones run where the slopes meet."""
    slope = math.tan(math.radians(angle_deg / 2.0))
    result: list[tuple[tuple[Point, ...], float]] = []
    for part in polygons_of(area):
        inset, last = step_mm / 2.0, 0.0
        while True:
            level = part.buffer(-inset, quad_segs=8)
            if level.is_empty:
                break
            last = inset
            for polygon in polygons_of(level):
                z = -min(inset / slope, deepest_mm)
                for ring in (polygon.exterior, *polygon.interiors):
                    points = tuple((float(x), float(y)) for x, y in list(ring.simplify(0.01).coords)[:-1])
                    if len(points) > 2:
                        result.append((points, z))
            inset += step_mm
        result.extend(_ridges(part, last, slope, deepest_mm, step_mm))
    return result


def _ridges(
    part: Polygon, last: float, slope: float, deepest_mm: float, step_mm: float
) -> list[tuple[tuple[Point, ...], float]]:
    """Finer rings in the last step, so that the valley where the slopes meet is not left standing."""
    found: list[tuple[tuple[Point, ...], float]] = []
    for share in (0.25, 0.5, 0.75):
        inset = last + share * step_mm
        for polygon in polygons_of(part.buffer(-inset, quad_segs=8)):
            points = tuple((float(x), float(y)) for x, y in list(polygon.exterior.simplify(0.005).coords)[:-1])
            if len(points) > 2:
                found.append((points, -min(inset / slope, deepest_mm)))
    return found


def make(layout: Layout, profile: MachineProfile, stock: Stock, tool: ToolSpec, options: RouterOptions) -> MadeToolpath:
    """One board with all engraving on it. Raises CannotMake."""
    angle_deg = angle_of(tool)
    if angle_deg is None or not 10.0 <= angle_deg <= 150.0:
        raise CannotMake(
            f"Bit {tool.number} of {profile.model} is no V bit", "its angle is not between 10 and 150 degrees"
        )
    recipe = router_recipe(stock.material, tool, profile.spindle_max_rpm, profile.max_feed_mm_min)
    slope = math.tan(math.radians(angle_deg / 2.0))
    deepest = min(tool.diameter_mm / 2.0 / slope, _DEEPEST_SHARE * (stock.thickness_mm or 0.0))
    writer = GcodeWriter()
    begin(writer, profile, stock, tool, recipe, options)
    mill = Mill(writer, recipe, Heights(options.safe_mm, 0.0), options.arcs_within_mm)
    for laid in layout.laid:
        whole: Any = Polygon()
        for c in sorted(
            (c for c in laid.contours if c.closed and c.operation is Operation.ENGRAVE), key=lambda c: -c.length_mm
        ):
            whole = whole.symmetric_difference(c.polygon())
        for points, z in rings(whole, angle_deg, deepest):
            near = min(range(len(points)), key=lambda k: math.dist(points[k], mill.at))
            mill.line(points[near:] + points[:near], True, z)
    lines = [c for laid in layout.laid for c in laid.contours if not c.closed or c.operation is Operation.MARK]
    for _, path in order([Path(c.points, c.closed) for c in lines], mill.at):
        mill.line(path.points, path.closed, -_LINE_MM)
    end(writer, options)
    return finish(
        writer, profile, stock, tool, recipe, options, layout.used_mm, len(layout.laid), layout.findings,
        through_mm=0.0, tabs=False, how=f"V-carving, {angle_deg:g} degrees",
    )  # fmt: skip

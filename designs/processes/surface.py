"""Surfaces carved from meshes: roughing in levels, then finishing row by row, along waterlines, or both.

Rows (dropped cutter) leave even scallops where the surface is gentle, waterlines where it is steep: on a wall, rows a
stepover apart lie far apart in height, and on a plain, waterlines do. opencamlib does the geometry (drop cutter: the
lowest tip position at x, y that touches and does not gouge; waterline: the tool's way around at one height). It is
optional: `pip install workshed[cam]`.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from designs.processes.cnc_program import RouterOptions, SurfaceStrategy, begin, end, finish
from designs.processes.gcode_writer import GcodeWriter
from designs.processes.materials import RouterRecipe, router_recipe
from designs.processes.model import CannotMake, GeometryKind, MachineProfile, MadeToolpath, Piece, Stock, ToolSpec

MESHES = frozenset({GeometryKind.STL, GeometryKind.OBJ, GeometryKind.THREE_MF})
_ALLOWANCE_MM = 0.4
_SAMPLE_MM = 0.25
_FLAT_MM = 0.004
_FINISH_SHARE = 0.12
"""Stepover of a flat bit, whose scallops have no formula, as a share of its diameter."""
_STEEP_DEG = 60.0
_STEEP_SHARE = 0.2
_LEAST_STEP_MM = 0.05
_CUTTER_LENGTH_MM = 200.0
Rows = list[NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Carving:
    """A mesh in work coordinates (top at z 0) and the cutter, as opencamlib wants them."""

    ocl: Any
    surface: Any
    cutter: Any
    low: tuple[float, float, float]
    high: tuple[float, float, float]


def step_mm(tool: ToolSpec, scallop_mm: float) -> float:
    """Distance of rows, or of waterlines in height, between which a ball leaves ridges of `scallop_mm`.

    2 √(2 r h − h²): the ridge between two circles of radius r (Choi and Jerard, Sculptured Surface Machining, 1998).
    """
    if tool.kind != "ball_end_mill":
        return _FINISH_SHARE * tool.diameter_mm
    high = min(scallop_mm, tool.diameter_mm / 4.0)
    return max(_LEAST_STEP_MM, 2.0 * float(np.sqrt(high * tool.diameter_mm - high * high)))


def steep_share(triangles: NDArray[np.float64]) -> float:
    """Share of the upward area that is steeper than 60° from level."""
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    areas = np.linalg.norm(normals, axis=1)
    seen = (areas > 1e-12) & (normals[:, 2] > -1e-9 * areas)
    level = normals[seen, 2] / areas[seen]
    total = float(areas[seen].sum())
    return float(areas[seen][level < np.cos(np.radians(_STEEP_DEG))].sum()) / total if total > 0.0 else 0.0


def carving(triangles: NDArray[np.float64], tool: ToolSpec) -> Carving:
    """`triangles`: (n, 3, 3) corners in work coordinates. Raises CannotMake where opencamlib is not installed."""
    try:
        ocl = importlib.import_module("opencamlib")
    except ImportError as why:
        raise CannotMake(
            "Surfaces cannot be carved here", "opencamlib is not installed", "Install workshed[cam] on the server."
        ) from why
    surface = ocl.STLSurf()
    for a, b, c in triangles.tolist():
        surface.addTriangle(ocl.Triangle(ocl.Point(*a), ocl.Point(*b), ocl.Point(*c)))
    kind = ocl.BallCutter if tool.kind == "ball_end_mill" else ocl.CylCutter
    cutter = kind(tool.diameter_mm, _CUTTER_LENGTH_MM)
    low, high = triangles.reshape(-1, 3).min(axis=0), triangles.reshape(-1, 3).max(axis=0)
    return Carving(
        ocl,
        surface,
        cutter,
        (float(low[0]), float(low[1]), float(low[2])),
        (float(high[0]), float(high[1]), float(high[2])),
    )


def drop_rows(work: Carving, stepover_mm: float, floor_mm: float) -> Rows:
    """Rows along X over the mesh, (n, 3) tip positions each, none below `floor_mm`."""
    count = max(1, int(np.ceil((work.high[1] - work.low[1]) / stepover_mm)))
    along = max(1, int(np.ceil((work.high[0] - work.low[0]) / _SAMPLE_MM)))
    xs = np.linspace(work.low[0], work.high[0], along + 1).tolist()
    drop = work.ocl.BatchDropCutter()
    drop.setSTL(work.surface)
    drop.setCutter(work.cutter)
    drop.setThreads(1)
    for k in range(count + 1):
        y = work.low[1] + (work.high[1] - work.low[1]) * k / count
        for x in xs if k % 2 == 0 else reversed(xs):
            drop.appendPoint(work.ocl.CLPoint(x, y, floor_mm))
    drop.run()
    points = np.array([(p.x, p.y, max(p.z, floor_mm)) for p in drop.getCLPoints()])
    return list(points.reshape(count + 1, along + 1, 3))


def waterline(work: Carving, z_mm: float) -> Rows:
    """Closed ways of the cutter around the mesh at one height, each (n, 3)."""
    line = work.ocl.Waterline()
    line.setSTL(work.surface)
    line.setCutter(work.cutter)
    line.setZ(z_mm)
    line.setSampling(_SAMPLE_MM)
    line.run()
    return [np.array([(p.x, p.y, p.z) for p in loop]) for loop in line.getLoops()]


def thinned(points: NDArray[np.float64], tolerance_mm: float = _FLAT_MM) -> NDArray[np.float64]:
    """Without points that a straight line between their neighbours misses by less than the tolerance (in z, greedy)."""
    kept = [0]
    for k in range(2, len(points)):
        a, b = points[kept[-1]], points[k]
        between = points[kept[-1] + 1 : k]
        span = b[0] - a[0]
        share = (between[:, 0] - a[0]) / span if abs(span) > 1e-12 else np.zeros(len(between))
        if np.abs(a[2] + share * (b[2] - a[2]) - between[:, 2]).max() > tolerance_mm:
            kept.append(k - 1)
    return np.asarray(points[[*kept, len(points) - 1]])


def make(pieces: Sequence[Piece], profile: MachineProfile, stock: Stock, options: RouterOptions) -> MadeToolpath:
    """One mesh carved from the top of a board. Raises CannotMake (BadGeometry included)."""
    from designs.meshes import load_mesh

    if len(pieces) != 1 or pieces[0].quantity != 1:
        raise CannotMake("Several surfaces on one board", "each is carved on its own", "Order them one by one.")
    thickness = stock.thickness_mm or 0.0
    tool = next(
        (t for kind in ("ball_end_mill", "flat_end_mill") for t in profile.tools if t.kind == kind), None
    )  # fmt: skip
    if tool is None:
        raise CannotMake(f"{profile.model} has no milling bit", "its tools name none", "Add a ball end mill.")
    triangles = np.asarray(load_mesh(pieces[0].file).triangles, dtype=np.float64)
    corner = triangles.reshape(-1, 3).min(axis=0)
    size = triangles.reshape(-1, 3).max(axis=0) - corner
    room = tool.diameter_mm + 1.0
    used = (float(size[0]) + 2 * room, float(size[1]) + 2 * room)
    _refuse_misfits(pieces[0].file.name, size, used, thickness, profile, stock)
    triangles = triangles - np.array([corner[0] - room, corner[1] - room, corner[2] + size[2]])
    recipe = router_recipe(stock.material, tool, profile.spindle_max_rpm, profile.max_feed_mm_min)
    work = carving(triangles, tool)
    floor = -float(size[2])
    writer = GcodeWriter()
    begin(writer, profile, stock, tool, recipe, options)
    fine_mm = step_mm(tool, options.scallop_mm)
    rows = drop_rows(work, fine_mm, floor)
    every = max(1, int(recipe.stepover_mm / fine_mm))
    _rough(writer, rows[:: every - 1 + every % 2], recipe, floor, options)
    ways = strategies(options.surface, triangles)
    if SurfaceStrategy.ROWS in ways:
        _follow(writer, rows, recipe, options)
    if SurfaceStrategy.WATERLINES in ways:
        _round(writer, work, fine_mm, floor, recipe, options)
    end(writer, options)
    how = f"3D surface by {' and '.join(way.value for way in ways)} {fine_mm:.2f} mm apart"
    return finish(writer, profile, stock, tool, recipe, options, used, 1, (), through_mm=0.0, tabs=False, how=how)


def strategies(wanted: SurfaceStrategy, triangles: NDArray[np.float64]) -> tuple[SurfaceStrategy, ...]:
    """How a surface is finished: what is wanted, or by its own steepness."""
    if wanted is not SurfaceStrategy.BY_STEEPNESS:
        return (wanted,)
    steep = steep_share(triangles) > _STEEP_SHARE
    return (SurfaceStrategy.ROWS, SurfaceStrategy.WATERLINES) if steep else (SurfaceStrategy.ROWS,)


def _refuse_misfits(
    name: str,
    size: NDArray[np.float64],
    used: tuple[float, float],
    thickness: float,
    profile: MachineProfile,
    stock: Stock,
) -> None:
    if float(size[2]) > thickness - 1.0:
        raise CannotMake(
            f"{name} is too high for the board",
            f"{float(size[2]):.1f} mm out of {thickness:g} mm",
            "Use a thicker board.",
        )
    width = min(stock.width_mm or profile.envelope_mm[0], profile.envelope_mm[0])
    height = min(stock.height_mm or profile.envelope_mm[1], profile.envelope_mm[1])
    if used[0] > width or used[1] > height:
        raise CannotMake(
            f"{name} does not fit", f"it needs {used[0]:.0f} × {used[1]:.0f} mm of {width:.0f} × {height:.0f} mm",
            "Use a larger board or machine.",
        )  # fmt: skip


def _rough(writer: GcodeWriter, rows: Rows, recipe: RouterRecipe, floor: float, options: RouterOptions) -> None:
    """Level by level: as deep as the level and the allowance over the surface permit."""
    level = -recipe.stepdown_mm
    while level > floor - recipe.stepdown_mm:
        z = max(level, floor + _ALLOWANCE_MM)
        raised = [np.column_stack([r[:, 0], r[:, 1], np.maximum(r[:, 2] + _ALLOWANCE_MM, z)]) for r in rows]
        _follow(writer, [np.column_stack([r[:, :2], np.minimum(r[:, 2], 0.0)]) for r in raised], recipe, options)
        level -= recipe.stepdown_mm


def _round(
    writer: GcodeWriter, work: Carving, step: float, floor: float, recipe: RouterRecipe, options: RouterOptions
) -> None:
    """Around the mesh at height after height, from the top down to the floor; from loop to loop at the safe height."""
    levels = int(np.ceil(-floor / step))
    at = np.zeros(2)
    for k in range(1, levels + 1):
        z = floor * k / levels
        loops = [loop for loop in waterline(work, max(z, floor + _FLAT_MM)) if len(loop) > 2]
        while loops:
            near = min(range(len(loops)), key=lambda n: float(np.hypot(*(loops[n][:, :2] - at).T).min()))
            loop = loops.pop(near)
            first = int(np.argmin(np.hypot(*(loop[:, :2] - at).T)))
            way = [(float(x), float(y)) for x, y in np.roll(loop[:, :2], -first, axis=0)]
            writer.rapid(z=options.safe_mm)
            writer.rapid(*way[0])
            writer.rapid(z=0.5)
            writer.feed(z=z, feed_mm_min=recipe.plunge_mm_min)
            way = [*way, way[0]] if way[0] != way[-1] else way
            writer.follow(way, feed_mm_min=recipe.feed_mm_min, arcs_within_mm=options.arcs_within_mm)
            at = np.array(way[-1])
    writer.rapid(z=options.safe_mm)


def _follow(writer: GcodeWriter, rows: Rows, recipe: RouterRecipe, options: RouterOptions) -> None:
    """Rows to and fro; from row to row at the height of the higher end."""
    if not rows or not any(len(row) for row in rows):
        return
    first = rows[0][0]
    writer.rapid(z=options.safe_mm)
    writer.rapid(float(first[0]), float(first[1]))
    writer.rapid(z=0.5)
    at = (0.0, 0.0, 0.5)
    for row in rows:
        x, y, z = (float(v) for v in row[0])
        high = max(at[2], z) if at[2] <= 0.0 else 0.5
        writer.feed(z=high, feed_mm_min=recipe.plunge_mm_min)
        writer.feed(x, y, feed_mm_min=recipe.feed_mm_min)
        writer.feed(z=z, feed_mm_min=recipe.plunge_mm_min)
        for px, py, pz in thinned(row)[1:].tolist():
            writer.feed(px, py, pz, feed_mm_min=recipe.feed_mm_min)
        at = (float(row[-1][0]), float(row[-1][1]), float(row[-1][2]))
    writer.rapid(z=options.safe_mm)

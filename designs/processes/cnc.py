"""Routing flat parts from a board: drawings to a GRBL program for one bit, in 2.5 dimensions.

Work origin: lower left corner of the stock, z = 0 its top. Engraving, holes and pockets first, then the parts' inner
profiles, then their outlines with tabs; every sideways rapid happens at the safe height; the spindle runs before the
bit comes down and stops after it is up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from shapely.geometry import Polygon, box

from designs.contours import Contour
from designs.drawing_conventions import Operation
from designs.processes import surface, vcarve
from designs.processes.cnc_motion import Heights, Mill
from designs.processes.cnc_paths import Loop, PocketArea, pocket_area, profile_loops, uncut_share, with_tabs
from designs.processes.cnc_program import RouterOptions, begin, end, finish, refuse_other_machines
from designs.processes.gcode_writer import GcodeWriter
from designs.processes.materials import RouterRecipe, router_recipe
from designs.processes.model import CannotMake, Finding, MachineProfile, MadeToolpath, Piece, Severity, Stock, ToolSpec
from designs.processes.path_order import Path, order
from designs.processes.sheet_layout import Layout, lay_out

_ENGRAVE_MM = 0.5
_MARK_MM = 0.2
_GAP_MM = 3.0
_LEAST_ROOM_MM = 3.0
_SMALL_CORE_MM = 20.0
_DRILL_PLAY_MM = 0.15
"""A hole this much wider or narrower than the bit is pecked straight down."""
_BITS = ("flat_end_mill", "ball_end_mill")


@dataclass(slots=True)
class _Work:
    """All that one bit does, sorted."""

    lines: list[tuple[Contour, float]]
    drills: list[tuple[tuple[float, float], float]]
    pockets: list[PocketArea]
    loops: list[Loop]
    findings: list[Finding]


def make(
    pieces: Sequence[Piece], profile: MachineProfile, stock: Stock, options: RouterOptions | None = None
) -> MadeToolpath:
    """One board with all pieces on it. Raises CannotMake with what, why and what to do.

    Meshes are carved in three dimensions (designs/processes/surface.py); drawings that only engrave areas are V-carved
    where the machine has a V bit (designs/processes/vcarve.py).
    """
    options = options or RouterOptions()
    refuse_other_machines(profile, stock)
    if pieces and all(piece.file.kind in surface.MESHES for piece in pieces):
        return surface.make(pieces, profile, stock, options)
    tools = sorted((t for t in profile.tools if t.kind in _BITS), key=lambda t: -t.diameter_mm)
    widest = max((t.diameter_mm for t in tools), default=_LEAST_ROOM_MM)
    layout = lay_out(pieces, stock, profile.envelope_mm[:2], widest, _GAP_MM)
    v_bit = vcarve.bit_for(layout, profile)
    if v_bit is not None:
        return replace(vcarve.make(layout, profile, stock, v_bit, options), layout=layout.told())
    if not tools:
        raise CannotMake(
            f"{profile.model} has no milling bit", "its tools name none", "Add a flat end mill to its tools."
        )
    tool = _choose(tools, layout)
    if tool is not tools[0]:
        layout = lay_out(pieces, stock, profile.envelope_mm[:2], tool.diameter_mm, _GAP_MM)
    recipe = router_recipe(stock.material, tool, profile.spindle_max_rpm, profile.max_feed_mm_min)
    work = _sort(layout, stock.thickness_mm or 0.0, tool, recipe, options)
    writer = GcodeWriter()
    _program(writer, work, profile, stock, tool, recipe, options)
    made = finish(
        writer, profile, stock, tool, recipe, options, layout.used_mm, len(layout.laid),
        (*layout.findings, *work.findings), through_mm=options.through_mm, tabs=any(loop.tabs for loop in work.loops),
    )  # fmt: skip
    return replace(made, layout=layout.told())


def _fits(tool: ToolSpec, layout: Layout) -> float:
    """Share of what must be cleared that this bit cannot reach, the worst place."""
    radius = tool.diameter_mm / 2.0
    worst = 0.0
    for laid in layout.laid:
        for region in laid.regions:
            worst = max([worst, *(uncut_share(Polygon(ring), radius) for ring in region.interiors)])
        for c in laid.contours:
            if c.operation is Operation.POCKET and c.closed:
                worst = max(worst, uncut_share(c.polygon(), radius))
            circle = c.circle() if c.operation is Operation.DRILL else None
            if circle is not None and circle[1] < radius - _DRILL_PLAY_MM / 2.0:
                worst = 1.0
    return worst


def _choose(tools: Sequence[ToolSpec], layout: Layout) -> ToolSpec:
    """The thickest bit that reaches 97 % everywhere; else the one that reaches most, the thinnest of equals."""
    shares = [_fits(tool, layout) for tool in tools]
    good = [k for k, share in enumerate(shares) if share <= 0.03]
    return tools[good[0] if good else min(range(len(tools)), key=lambda k: (shares[k], -k))]


def _sort(layout: Layout, thickness: float, tool: ToolSpec, recipe: RouterRecipe, options: RouterOptions) -> _Work:
    radius = tool.diameter_mm / 2.0
    through = -(thickness + options.through_mm)
    work = _Work([], [], [], [], [])
    for laid in layout.laid:
        depth = -min(laid.depth_mm, thickness) if laid.depth_mm is not None else through
        for c in laid.contours:
            bottom = depth if c.depth_mm is None else -c.depth_mm
            if bottom < through:
                raise CannotMake(
                    f"{laid.name} is deeper than the board",
                    f"{-bottom:g} mm in {thickness:g} mm",
                    "Use a thicker board.",
                )
            if c.operation is Operation.POCKET and c.closed:
                _sort_pocket(work, laid.name, c, tool, recipe, bottom, options)
            elif c.operation is Operation.DRILL:
                _sort_drill(work, laid.name, c, tool, recipe, -c.depth_mm if c.depth_mm else through, options)
            elif c.operation is Operation.ENGRAVE:
                work.lines.append((c, -(c.depth_mm or _ENGRAVE_MM)))
            elif c.operation is Operation.MARK:
                work.lines.append((c, -(c.depth_mm or _MARK_MM)))
            elif c.operation is Operation.CUT and not c.closed:
                work.lines.append((c, through))
        for region in laid.regions:
            outline, _ = profile_loops(Polygon(region.exterior), radius, through, options.climb)
            work.loops.extend(
                with_tabs(loop, options.tab_width_mm, tool.diameter_mm, options.tab_count) for loop in outline
            )
            for ring in region.interiors:
                _sort_hole(work, laid.name, Polygon(ring), tool, recipe, through, options)
    if not (work.loops or work.pockets or work.drills or work.lines):
        raise CannotMake("The drawing leaves nothing to mill", "no contour has a routing operation", "Use a layer CUT.")
    return work


def _sort_hole(
    work: _Work, name: str, hole: Polygon, tool: ToolSpec, recipe: RouterRecipe, through: float, options: RouterOptions
) -> None:
    """A hole right through. What falls out of it must not fly: a small core is milled away, a large one gets tabs."""
    radius = tool.diameter_mm / 2.0
    loops, narrow = profile_loops(box(*hole.bounds).buffer(1.0).difference(hole), radius, through, options.climb)
    if narrow:
        raise CannotMake(
            f"{name} has a hole too narrow for the {tool.diameter_mm:g} mm bit",
            f"it is {hole.bounds[2] - hole.bounds[0]:.1f} × {hole.bounds[3] - hole.bounds[1]:.1f} mm",
            "Use a machine with a thinner bit, or draw the hole wider.",
        )
    core = hole.buffer(-tool.diameter_mm)
    inner = [loop for loop in loops if not loop.outer]
    if core.is_empty:
        work.loops.extend(inner)
    elif core.buffer(-_SMALL_CORE_MM / 2.0).is_empty:
        work.pockets.extend(pocket_area(hole, radius, recipe.stepover_mm, through, options.climb))
    else:
        work.loops.extend(
            with_tabs(loop, options.tab_width_mm, tool.diameter_mm, max(2, options.tab_count // 2)) for loop in inner
        )


def _sort_pocket(
    work: _Work, name: str, c: Contour, tool: ToolSpec, recipe: RouterRecipe, bottom: float, options: RouterOptions
) -> None:
    area = c.polygon()
    found = pocket_area(area, tool.diameter_mm / 2.0, recipe.stepover_mm, bottom, options.climb)
    if not found:
        raise CannotMake(
            f"{name} has a pocket too narrow for the {tool.diameter_mm:g} mm bit",
            f"it is {area.bounds[2] - area.bounds[0]:.1f} × {area.bounds[3] - area.bounds[1]:.1f} mm",
            "Use a machine with a thinner bit, or draw the pocket wider.",
        )
    missed = uncut_share(area, tool.diameter_mm / 2.0)
    if missed > 0.01:
        work.findings.append(
            Finding(
                Severity.WARNING, "corners_left", f"{missed:.0%} of a pocket in {name} stays: its corners are round."
            )
        )
    work.pockets.extend(found)


def _sort_drill(
    work: _Work, name: str, c: Contour, tool: ToolSpec, recipe: RouterRecipe, bottom: float, options: RouterOptions
) -> None:
    circle = c.circle()
    if circle is None:
        raise CannotMake(
            f"{name} drills a shape that is no circle", "a hole needs a centre and a diameter", "Draw a circle."
        )
    centre, radius = circle
    if radius * 2.0 < tool.diameter_mm - _DRILL_PLAY_MM:
        raise CannotMake(
            f"{name} has a {radius * 2:.2f} mm hole, too narrow for the {tool.diameter_mm:g} mm bit",
            "a bit makes no hole thinner than itself",
            "Use a machine with a thinner bit.",
        )
    if radius * 2.0 <= tool.diameter_mm + _DRILL_PLAY_MM:
        work.drills.append((centre, bottom))
        return
    work.pockets.extend(pocket_area(c.polygon(), tool.diameter_mm / 2.0, recipe.stepover_mm, bottom, options.climb))


def _program(
    writer: GcodeWriter, work: _Work, profile: MachineProfile, stock: Stock, tool: ToolSpec, recipe: RouterRecipe,
    options: RouterOptions,
) -> None:  # fmt: skip
    begin(writer, profile, stock, tool, recipe, options)
    tab_top = -(stock.thickness_mm or 0.0) + min(options.tab_height_mm, (stock.thickness_mm or 0.0) / 2.0)
    mill = Mill(writer, recipe, Heights(options.safe_mm, tab_top), options.arcs_within_mm)
    _engrave(mill, work, recipe)
    drills = [Path((at,), False) for at, _ in work.drills]
    for k, _ in order(drills, mill.at):
        mill.peck(*work.drills[k])
    pockets = [Path((p.rings[0][0],), False) for p in work.pockets]
    for k, _ in order(pockets, mill.at):
        mill.pocket(work.pockets[k])
    areas = [Polygon(loop.points) for loop in work.loops]
    inside = [
        frozenset(n for n, other in enumerate(areas) if n != k and other.area < area.area and area.contains(other))
        for k, area in enumerate(areas)
    ]
    holes = frozenset(k for k, loop in enumerate(work.loops) if not loop.outer)
    paths = [
        Path(loop.points, True, inside[k] | (holes - {k} if loop.outer else frozenset()), entries=(0,))
        for k, loop in enumerate(work.loops)
    ]
    for k, _ in order(paths, mill.at):
        mill.loop(work.loops[k])
    end(writer, options)


def _engrave(mill: Mill, work: _Work, recipe: RouterRecipe) -> None:
    paths = [Path(c.points, c.closed) for c, _ in work.lines]
    for k, path in order(paths, mill.at):
        bottom = work.lines[k][1]
        depth = 0.0
        while depth > bottom + 1e-6:
            depth = max(bottom, depth - recipe.stepdown_mm)
            mill.line(path.points, path.closed, depth)

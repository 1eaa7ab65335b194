"""Routing flat parts from a board: drawings to GRBL programs in 2.5 dimensions.

Work origin: lower left corner of the stock, z = 0 its top. Bits that only make holes come first, the one that frees the
parts last; with it engraving, holes and pockets, then the parts' inner profiles, then their outlines with tabs. Every
sideways rapid happens at the safe height; the spindle runs before the bit comes down and stops after it is up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from shapely.geometry import Polygon, box

from designs.contours import Contour
from designs.drawing_conventions import Operation
from designs.processes import surface, vcarve
from designs.processes.cnc_bits import DRILL_PLAY_MM, MILLS, BitWork, bit_for_hole, changes_bits, choose_mill, named
from designs.processes.cnc_motion import Heights, Mill
from designs.processes.cnc_paths import pocket_area, profile_loops, uncut_share, with_tabs
from designs.processes.cnc_program import RouterOptions, begin, change_bit, end, finish, refuse_other_machines
from designs.processes.gcode_writer import GcodeWriter
from designs.processes.materials import router_recipe
from designs.processes.model import CannotMake, Finding, MachineProfile, MadeToolpath, Piece, Severity, Stock, ToolSpec
from designs.processes.path_order import Path, order
from designs.processes.sheet_layout import Layout, lay_out

_ENGRAVE_MM = 0.5
_MARK_MM = 0.2
_GAP_MM = 3.0
_LEAST_ROOM_MM = 3.0
_SMALL_CORE_MM = 20.0


def make(
    pieces: Sequence[Piece], profile: MachineProfile, stock: Stock, options: RouterOptions | None = None
) -> MadeToolpath:
    """One board with all pieces on it, in one program. Raises CannotMake with what, why and what to do.

    Meshes are carved in three dimensions (designs/processes/surface.py); drawings that only engrave areas are V-carved
    where the machine has a V bit (designs/processes/vcarve.py). Where several bits are needed and the machine cannot
    change them within a program, `make_by_bit` gives one program a bit.
    """
    made = make_by_bit(pieces, profile, stock, options)
    if len(made) > 1:
        raise CannotMake(
            f"One program is not enough on {profile.model}",
            f"it needs {len(made)} bits one after the other, {profile.dialect} cannot change them within a program, "
            "and a changed bit needs its z touched off again",
            f"Draw the holes wide enough for one of its bits, {named(profile.tools)}, or use a machine that changes "
            "bits by itself.",
        )
    return made[0]


def make_by_bit(
    pieces: Sequence[Piece], profile: MachineProfile, stock: Stock, options: RouterOptions | None = None
) -> tuple[MadeToolpath, ...]:
    """The same board as `make`: one program where one is enough, else one a bit, in the order they must run.

    Between two programs a person puts in the next bit and touches off its z; the board stays clamped. An M0 within one
    program would not do: GRBL takes neither jogs nor offsets while a program is held. Raises CannotMake.
    """
    options = options or RouterOptions()
    refuse_other_machines(profile, stock)
    if pieces and all(piece.file.kind in surface.MESHES for piece in pieces):
        return (surface.make(pieces, profile, stock, options),)
    mills = sorted((t for t in profile.tools if t.kind in MILLS), key=lambda t: -t.diameter_mm)
    widest = max((t.diameter_mm for t in mills), default=_LEAST_ROOM_MM)
    layout = lay_out(pieces, stock, profile.envelope_mm[:2], widest, _GAP_MM)
    v_bit = vcarve.bit_for(layout, profile)
    if v_bit is not None:
        return (replace(vcarve.make(layout, profile, stock, v_bit, options), layout=layout.told()),)
    if not mills:
        raise CannotMake(
            f"{profile.model} has no milling bit", f"its tools are {named(profile.tools)}", "Add a flat end mill."
        )
    mill = choose_mill(mills, layout, profile)
    if mill is not mills[0]:
        layout = lay_out(pieces, stock, profile.envelope_mm[:2], mill.diameter_mm, _GAP_MM)
    works = _sort(layout, profile, stock, mill, options)
    if changes_bits(profile):
        return (replace(_program(works, layout, profile, stock, options), layout=layout.told()),)
    programs = []
    for k, work in enumerate(works):
        made = _program([work], layout, profile, stock, options)
        if len(works) > 1:
            turn = f"Program {k + 1} of {len(works)} on one board, which stays clamped: "
            turn += "touch off z 0 on its top again with this bit; x and y stay." if k else "begin with it."
            made = replace(made, work_card=f"{turn}\n{made.work_card}")
        programs.append(replace(made, layout=layout.told()))
    return tuple(programs)


def _sort(
    layout: Layout, profile: MachineProfile, stock: Stock, mill: ToolSpec, options: RouterOptions
) -> list[BitWork]:
    """What each bit does, in order: bits for holes only, thin before thick, then the mill that frees the parts."""
    thickness = stock.thickness_mm or 0.0
    through = -(thickness + options.through_mm)

    def begun(tool: ToolSpec) -> BitWork:
        return BitWork(tool, router_recipe(stock.material, tool, profile.spindle_max_rpm, profile.max_feed_mm_min))

    main = begun(mill)
    works = {mill: main}  # by the bit itself: shops may number several bits alike
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
            if c.operation is Operation.DRILL:
                centre, diameter = _hole(laid.name, c)
                tool = bit_for_hole(laid.name, diameter, mill, profile)
                work = works.setdefault(tool, begun(tool))
                _sort_drill(work, c, centre, diameter, -c.depth_mm if c.depth_mm else through, options)
            elif c.operation is Operation.POCKET and c.closed:
                _sort_pocket(main, laid.name, c, bottom, options)
            elif c.operation in (Operation.ENGRAVE, Operation.MARK):
                usual = _ENGRAVE_MM if c.operation is Operation.ENGRAVE else _MARK_MM
                main.lines.append((c, -(c.depth_mm or usual)))
            elif c.operation is Operation.CUT and not c.closed:
                main.lines.append((c, through))
        for region in laid.regions:
            _sort_region(main, laid.name, region, through, options)
    done = [work for work in works.values() if not work.empty]
    if not done:
        raise CannotMake("The drawing leaves nothing to mill", "no contour has a routing operation", "Use a layer CUT.")
    return sorted(done, key=lambda work: (work is main, work.tool.diameter_mm, work.tool.number))


def _sort_region(work: BitWork, name: str, region: Polygon, through: float, options: RouterOptions) -> None:
    diameter = work.tool.diameter_mm
    outline, _ = profile_loops(Polygon(region.exterior), diameter / 2.0, through, options.climb)
    work.loops.extend(with_tabs(loop, options.tab_width_mm, diameter, options.tab_count) for loop in outline)
    for ring in region.interiors:
        _sort_hole(work, name, Polygon(ring), through, options)


def _sort_hole(work: BitWork, name: str, hole: Polygon, through: float, options: RouterOptions) -> None:
    """A hole right through. What falls out of it must not fly: a small core is milled away, a large one gets tabs."""
    tool = work.tool
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
        work.pockets.extend(pocket_area(hole, radius, work.recipe.stepover_mm, through, options.climb))
    else:
        work.loops.extend(
            with_tabs(loop, options.tab_width_mm, tool.diameter_mm, max(2, options.tab_count // 2)) for loop in inner
        )


def _sort_pocket(work: BitWork, name: str, c: Contour, bottom: float, options: RouterOptions) -> None:
    tool = work.tool
    area = c.polygon()
    found = pocket_area(area, tool.diameter_mm / 2.0, work.recipe.stepover_mm, bottom, options.climb)
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


def _hole(name: str, c: Contour) -> tuple[tuple[float, float], float]:
    """(centre, diameter) of a drilled circle."""
    circle = c.circle()
    if circle is None:
        raise CannotMake(
            f"{name} drills a shape that is no circle", "a hole needs a centre and a diameter", "Draw a circle."
        )
    return circle[0], 2.0 * circle[1]


def _sort_drill(
    work: BitWork, c: Contour, centre: tuple[float, float], diameter: float, bottom: float, options: RouterOptions
) -> None:
    """Pecked by a bit of the hole's own width, bored in rings by a thinner one."""
    if diameter <= work.tool.diameter_mm + DRILL_PLAY_MM:
        work.drills.append((centre, bottom))
        return
    radius = work.tool.diameter_mm / 2.0
    work.pockets.extend(pocket_area(c.polygon(), radius, work.recipe.stepover_mm, bottom, options.climb))


def _program(
    works: Sequence[BitWork], layout: Layout, profile: MachineProfile, stock: Stock, options: RouterOptions
) -> MadeToolpath:
    """One program with these bits in this order."""
    writer = GcodeWriter()
    first, last = works[0], works[-1]
    begin(writer, profile, stock, first.tool, first.recipe, options)
    thickness = stock.thickness_mm or 0.0
    heights = Heights(options.safe_mm, -thickness + min(options.tab_height_mm, thickness / 2.0))
    at = (0.0, 0.0)
    for k, work in enumerate(works):
        if k:
            change_bit(writer, profile, work.tool, work.recipe, options)
        at = _work(Mill(writer, work.recipe, heights, options.arcs_within_mm, at), work)
    end(writer, options)
    return finish(
        writer, profile, stock, last.tool, last.recipe, options, layout.used_mm, len(layout.laid),
        (*layout.findings, *(finding for work in works for finding in work.findings)),
        through_mm=options.through_mm, tabs=any(loop.tabs for work in works for loop in work.loops),
        before=[(work.tool, work.recipe) for work in works[:-1]],
    )  # fmt: skip


def _work(mill: Mill, work: BitWork) -> tuple[float, float]:
    """All that one bit does; where it ends."""
    _engrave(mill, work)
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
    return mill.at


def _engrave(mill: Mill, work: BitWork) -> None:
    paths = [Path(c.points, c.closed) for c, _ in work.lines]
    for k, path in order(paths, mill.at):
        bottom = work.lines[k][1]
        depth = 0.0
        while depth > bottom + 1e-6:
            depth = max(bottom, depth - work.recipe.stepdown_mm)
            mill.line(path.points, path.closed, depth)

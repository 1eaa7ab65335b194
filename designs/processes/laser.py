"""Laser cutting and engraving: drawings (and pictures) on a sheet to a GRBL program safe to abandon anywhere.

Beam in dynamic mode (`M4`, grbl doc/markdown/laser_mode.md): power follows speed and is off whenever the machine stands
or makes a `G0`. Inner before outer, kerf compensated by half its width to the waste side, lead-ins in the waste.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from designs.contours import Contour
from designs.drawing_conventions import Operation
from designs.processes import raster
from designs.processes.arc_fitting import TOLERANCE_MM
from designs.processes.gcode_writer import HEADER, GcodeWriter
from designs.processes.laser_paths import cut_paths, line_paths
from designs.processes.materials import BeamUse, LaserRecipe, density_g_cm3, laser_recipe
from designs.processes.model import (
    CannotMake,
    Finding,
    GeometryKind,
    MachineProfile,
    MadeToolpath,
    Piece,
    ProcessKind,
    Severity,
    Stock,
)
from designs.processes.path_order import Path, order
from designs.processes.sheet_layout import Layout, lay_out
from designs.processes.work_cards import laser_card
from designs.toolpath.lint import MachineLimits, lint
from designs.toolpath.program_bounds import motion_bounds
from designs.toolpath.timetable import Kinematics, estimate

MADE_BY = "Workshed laser 1"
_GAP_MM = 2.0
_LEAD_IN_MM = 1.5
_DIALECTS = ("grbl", "grblhal", "fluidnc")


@dataclass(frozen=True, slots=True)
class LaserOptions:
    """What may be chosen beside the material table."""

    lead_in_mm: float = _LEAD_IN_MM
    engrave_interval_mm: float = 0.15
    dither: str = "floyd_steinberg"
    focus_z_mm: float | None = None
    """Move Z there first; None: Z is never moved."""
    arcs_within_mm: float = TOLERANCE_MM
    """How far a G2 or G3 may leave the drawn line; 0: straight lines only."""


def make(
    pieces: Sequence[Piece], profile: MachineProfile, stock: Stock, options: LaserOptions | None = None
) -> MadeToolpath:
    """One sheet with all pieces on it. Raises CannotMake with what, why and what to do."""
    options = options or LaserOptions()
    if profile.process is not ProcessKind.LASER or profile.dialect.lower() not in _DIALECTS:
        raise CannotMake(
            f"{profile.model} cannot run a laser program",
            f"it is a {profile.process.value} machine speaking {profile.dialect}",
            "Laser programs are made for GRBL, grblHAL and FluidNC.",
        )
    recipe = laser_recipe(stock.material, stock.thickness_mm, profile.laser_power_w)
    recipe = _within(recipe, profile)
    drawn = [p for p in pieces if p.file.kind is not GeometryKind.IMAGE]
    pictures = [p for p in pieces if p.file.kind is GeometryKind.IMAGE]
    if drawn and pictures:
        raise CannotMake("Pictures and drawings are mixed", "each needs a sheet of its own", "Order them one by one.")
    area = profile.envelope_mm[:2]
    writer = GcodeWriter()
    if pictures:
        used, told = _picture_program(writer, pictures, profile, stock, recipe, options)
        findings: tuple[Finding, ...] = tuple(told)
        count = 1
    else:
        layout = lay_out(drawn, stock, area, recipe.kerf_mm / 2 + options.lead_in_mm, _GAP_MM)
        findings = (*layout.findings, *_drawing_program(writer, layout, profile, stock, recipe, options))
        used, count = layout.used_mm, len(layout.laid)
    made = _made(writer, profile, stock, recipe, used, count, findings, options)
    return made if pictures else replace(made, layout=layout.told())


def _within(recipe: LaserRecipe, profile: MachineProfile) -> LaserRecipe:
    """No faster than the machine moves; power falls with the speed."""
    top = profile.max_feed_mm_min
    if top is None:
        return recipe

    def slowed(use: BeamUse) -> BeamUse:
        if use.speed_mm_min <= top:
            return use
        return BeamUse(round(max(0.02, use.power * top / use.speed_mm_min), 3), top, use.passes)

    return replace(recipe, cut=slowed(recipe.cut), engrave=slowed(recipe.engrave), mark=slowed(recipe.mark))


def _begin(
    writer: GcodeWriter, profile: MachineProfile, stock: Stock, recipe: LaserRecipe, options: LaserOptions
) -> None:
    offcut = f", offcut {stock.label}" if stock.label else ""
    writer.comment(f"{MADE_BY}: {stock.material} {stock.thickness_mm or 0:g} mm{offcut} on {profile.model}")
    writer.comment("origin: lower left corner of the sheet; focus set by hand; GRBL $32=1")
    writer.raw(HEADER)
    writer.raw("M5 S0")
    if options.focus_z_mm is not None:
        writer.rapid(z=options.focus_z_mm)
    if recipe.air:
        writer.raw("M8")
    writer.raw("M4 S0")


def _end(writer: GcodeWriter, recipe: LaserRecipe) -> None:
    writer.raw("M5 S0")
    if recipe.air:
        writer.raw("M9")
    writer.rapid(0.0, 0.0)
    writer.raw("M5 S0")


def _drawing_program(
    writer: GcodeWriter,
    layout: Layout,
    profile: MachineProfile,
    stock: Stock,
    recipe: LaserRecipe,
    options: LaserOptions,
) -> list[Finding]:
    findings: list[Finding] = []
    contours = [c for laid in layout.laid for c in laid.contours]
    unlaserable = [c for c in contours if c.operation is Operation.POCKET]
    if unlaserable:
        raise CannotMake("A pocket cannot be lasered", "a beam has no exact depth", "Use a router, or engrave instead.")
    _begin(writer, profile, stock, recipe, options)
    at = (0.0, 0.0)
    engraved = _only(contours, Operation.ENGRAVE)
    if engraved:
        writer.comment("engrave")
        areas = [c.polygon() for c in engraved if c.closed]
        overscan = raster.overscan_mm(recipe.engrave, profile.accel_mm_s2 or 500.0)
        rows = raster.hatch(areas, options.engrave_interval_mm, overscan, (0.0, profile.envelope_mm[0]))
        raster.write_rows(writer, rows, recipe.engrave, profile.power_s_max)
        at = rows[-1].end if rows else at
        lines = line_paths([c for c in engraved if not c.closed])
        at = _write(writer, lines, recipe.engrave, profile.power_s_max, at, options.arcs_within_mm)
    marked = _only(contours, Operation.MARK)
    if marked:
        writer.comment("mark")
        at = _write(writer, line_paths(marked), recipe.mark, profile.power_s_max, at, options.arcs_within_mm)
    regions = [region for laid in layout.laid for region in laid.regions]
    holes = [c for c in contours if c.operation is Operation.DRILL]
    loose = [c for c in _only(contours, Operation.CUT) if not c.closed]
    paths = cut_paths(regions, holes, loose, recipe.kerf_mm, options.lead_in_mm, findings)
    if not (paths or marked or engraved):
        raise CannotMake("The drawing leaves nothing to cut", "kerf is wider than what is drawn", "Draw it larger.")
    if paths:
        writer.comment("cut")
        _write(writer, paths, recipe.cut, profile.power_s_max, at, options.arcs_within_mm)
    _end(writer, recipe)
    return findings


def _only(contours: Sequence[Contour], operation: Operation) -> list[Contour]:
    return [c for c in contours if c.operation is operation]


def _write(
    writer: GcodeWriter, paths: Sequence[Path], use: BeamUse, s_max: float, at: tuple[float, float], arcs_mm: float
) -> tuple[float, float]:
    """All passes of all paths, ordered; where the beam ends."""
    for _, path in order(paths, at):
        points = list(path.points)
        loop = [*points[1:], points[0]] if path.closed else points[1:]
        for run in range(use.passes):
            start = points[0]
            if run == 0 or not path.closed:
                writer.rapid(*start)
            power = round(use.power * s_max)
            writer.follow([start, *loop], feed_mm_min=use.speed_mm_min, power=power, arcs_within_mm=arcs_mm)
        at = loop[-1]
    return at


def _picture_program(
    writer: GcodeWriter,
    pictures: Sequence[Piece],
    profile: MachineProfile,
    stock: Stock,
    recipe: LaserRecipe,
    options: LaserOptions,
) -> tuple[tuple[float, float], list[Finding]]:
    if len(pictures) > 1 or pictures[0].quantity > 1:
        raise CannotMake("Several pictures on one sheet", "each is engraved on its own", "Order them one by one.")
    width = min(stock.width_mm or profile.envelope_mm[0], profile.envelope_mm[0])
    height = min(stock.height_mm or profile.envelope_mm[1], profile.envelope_mm[1])
    picture = raster.read_picture(pictures[0].file, (width, height), options.engrave_interval_mm)
    _begin(writer, profile, stock, recipe, options)
    accel = profile.accel_mm_s2 or 500.0
    rows = raster.picture_rows(picture, options.dither, recipe.engrave, accel, (width, height))
    raster.write_rows(writer, rows, recipe.engrave, profile.power_s_max)
    _end(writer, recipe)
    return picture.size_mm, list(picture.findings)


def _made(
    writer: GcodeWriter,
    profile: MachineProfile,
    stock: Stock,
    recipe: LaserRecipe,
    used: tuple[float, float],
    count: int,
    findings: Sequence[Finding],
    options: LaserOptions,
) -> MadeToolpath:
    gcode = writer.gcode()
    limits = MachineLimits.of(profile)
    told = lint(gcode, limits)
    if any(f.severity is Severity.ERROR for f in told):
        first = next(f for f in told if f.severity is Severity.ERROR)
        raise CannotMake(
            "The program would not be safe on this machine", first.text.rstrip("."), "Use another machine."
        )
    density = density_g_cm3(stock.material)
    grams = None if density is None else used[0] * used[1] * (stock.thickness_mm or 0.0) / 1000.0 * density
    return MadeToolpath(
        gcode=gcode,
        dialect=profile.dialect,
        made_by=MADE_BY,
        settings=f"{recipe.material} {stock.thickness_mm:g} mm: cut {recipe.cut.speed_mm_min:g} mm/min at "
        f"{recipe.cut.power:.0%} × {recipe.cut.passes}, kerf {recipe.kerf_mm:g} mm",
        duration_s=estimate(gcode, Kinematics.of(profile)).duration_s,
        lines=writer.line_count,
        bounds_mm=motion_bounds(gcode, profile.dialect),
        material_g=grams,
        stock_used_mm=(round(used[0] + 1.0, 1), round(used[1] + 1.0, 1)),
        pieces=count,
        work_card=laser_card(stock, recipe, used, options.focus_z_mm),
        findings=(*findings, *told),
    )

"""How every router program begins, ends and is handed over: header, spindle, parking, lint, time, work card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from designs.processes.arc_fitting import TOLERANCE_MM
from designs.processes.cnc_bits import changes_bits
from designs.processes.gcode_writer import HEADER, GcodeWriter
from designs.processes.materials import RouterRecipe, density_g_cm3
from designs.processes.model import (
    CannotMake,
    Finding,
    MachineProfile,
    MadeToolpath,
    ProcessKind,
    Severity,
    Stock,
    ToolSpec,
)
from designs.processes.work_cards import router_card
from designs.toolpath.lint import MachineLimits, lint
from designs.toolpath.program_bounds import motion_bounds
from designs.toolpath.timetable import Kinematics, estimate

MADE_BY = "Workshed router 1"
_DIALECTS = ("grbl", "grblhal", "fluidnc")
_SPIN_UP_S = 4.0


class SurfaceStrategy(StrEnum):
    """How a carved surface is finished."""

    ROWS = "rows"
    WATERLINES = "waterlines"
    BY_STEEPNESS = "by steepness"
    """Rows, and waterlines as well where more than a fifth of the surface is steeper than 60°."""


@dataclass(frozen=True, slots=True)
class RouterOptions:
    """What may be chosen beside the material table."""

    climb: bool = True
    through_mm: float = 0.3
    """How far below the stock a through cut goes, into the spoilboard."""
    tab_count: int = 4
    tab_width_mm: float = 6.0
    tab_height_mm: float = 1.5
    safe_mm: float = 5.0
    arcs_within_mm: float = TOLERANCE_MM
    """How far a G2 or G3 may leave the drawn line; 0: straight lines only."""
    surface: SurfaceStrategy = SurfaceStrategy.BY_STEEPNESS
    scallop_mm: float = 0.02
    """Height of the ridges that a ball end mill may leave on a carved surface."""


def refuse_other_machines(profile: MachineProfile, stock: Stock) -> None:
    """Raises CannotMake where the machine is no router we can write for, or the board has no thickness."""
    if profile.process is not ProcessKind.CNC or profile.dialect.lower() not in _DIALECTS:
        raise CannotMake(
            f"{profile.model} cannot run a router program",
            f"it is a {profile.process.value} machine speaking {profile.dialect}",
            "Router programs are made for GRBL, grblHAL and FluidNC.",
        )
    if stock.thickness_mm is None or stock.thickness_mm <= 0.0:
        raise CannotMake(f"The board of {stock.material} has no thickness", "depths depend on it", "State it in mm.")


def begin(
    writer: GcodeWriter,
    profile: MachineProfile,
    stock: Stock,
    tool: ToolSpec,
    recipe: RouterRecipe,
    options: RouterOptions,
) -> None:
    """Header, tool, safe height, spindle up to speed; the bit stays over the origin."""
    offcut = f", offcut {stock.label}" if stock.label else ""
    writer.comment(f"{MADE_BY}: {stock.material} {stock.thickness_mm or 0:g} mm{offcut} on {profile.model}")
    writer.comment(f"origin: lower left corner of the stock, z 0 its top; bit {tool.number}: {tool.diameter_mm:g} mm")
    writer.raw(HEADER)
    writer.raw("M5 S0")
    writer.rapid(z=options.safe_mm)
    if changes_bits(profile):
        writer.raw(f"T{tool.number} M6")
    _spin_up(writer, profile, recipe)


def change_bit(
    writer: GcodeWriter, profile: MachineProfile, tool: ToolSpec, recipe: RouterRecipe, options: RouterOptions
) -> None:
    """Up, spindle off, the controller's own tool change (its length included), up again, spindle to speed."""
    writer.rapid(z=options.safe_mm)
    writer.raw("M5 S0")
    writer.comment(f"bit {tool.number}: {tool.diameter_mm:g} mm")
    writer.raw(f"T{tool.number} M6")
    writer.forget_place()
    writer.rapid(z=options.safe_mm)
    _spin_up(writer, profile, recipe)


def _spin_up(writer: GcodeWriter, profile: MachineProfile, recipe: RouterRecipe) -> None:
    speed = recipe.rpm / (profile.spindle_max_rpm or 24000.0) * profile.power_s_max
    writer.raw(f"M3 S{round(min(speed, profile.power_s_max))}")
    writer.dwell(_SPIN_UP_S)


def end(writer: GcodeWriter, options: RouterOptions) -> None:
    """Up, spindle off, home to the origin."""
    writer.rapid(z=options.safe_mm)
    writer.raw("M5 S0")
    writer.rapid(0.0, 0.0)


def finish(
    writer: GcodeWriter,
    profile: MachineProfile,
    stock: Stock,
    tool: ToolSpec,
    recipe: RouterRecipe,
    options: RouterOptions,
    used_mm: tuple[float, float],
    pieces: int,
    findings: Sequence[Finding],
    *,
    through_mm: float,
    tabs: bool,
    how: str = "",
    before: Sequence[tuple[ToolSpec, RouterRecipe]] = (),
) -> MadeToolpath:
    """The toolpath with lint, time, bounds and card. Raises CannotMake where lint finds an error for this machine.

    `before`: the bits that work before `tool`, in order.
    """
    gcode = writer.gcode()
    told = lint(gcode, MachineLimits.of(profile))
    wrong = [f for f in told if f.severity is Severity.ERROR]
    if wrong:
        raise CannotMake(
            "The program would not be safe on this machine", wrong[0].text.rstrip("."), "Use another machine."
        )
    width, height = used_mm
    density = density_g_cm3(stock.material)
    tab_mm = options.tab_height_mm if tabs else None
    volume_cm3 = width * height * (stock.thickness_mm or 0.0) / 1000.0
    return MadeToolpath(
        gcode=gcode,
        dialect=profile.dialect,
        made_by=MADE_BY,
        settings=_settings(recipe, tool, how or ("climb" if options.climb else "conventional"), before),
        duration_s=estimate(gcode, Kinematics.of(profile)).duration_s,
        lines=writer.line_count,
        bounds_mm=motion_bounds(gcode, profile.dialect),
        material_g=None if density is None else volume_cm3 * density,
        stock_used_mm=(round(width + 1.0, 1), round(height + 1.0, 1)),
        pieces=pieces,
        work_card=router_card(stock, [*before, (tool, recipe)], used_mm, options.safe_mm, through_mm, tab_mm),
        findings=(*findings, *told),
    )


def _settings(recipe: RouterRecipe, tool: ToolSpec, how: str, before: Sequence[tuple[ToolSpec, RouterRecipe]]) -> str:
    said = f"{recipe.material}: {tool.diameter_mm:g} mm {tool.kind.replace('_', ' ')}, {recipe.rpm:g} rpm, "
    said += f"{recipe.feed_mm_min:g} mm/min, {recipe.stepdown_mm:g} mm a pass, {how}"
    return said + "".join(f"; before it {t.diameter_mm:g} mm {t.kind.replace('_', ' ')}" for t, _ in before)

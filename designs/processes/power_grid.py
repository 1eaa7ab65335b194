"""A test grid: one square a power and speed, so that a shop finds its own settings for a sheet in ten minutes.

Columns are powers, rows are speeds; the figures are engraved beside them in strokes.
`python -m designs.processes.power_grid plywood 3 GRID.nc --watts 40 --bed 300x200 [--cut]` writes one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from shapely.geometry import box

from designs.processes import raster
from designs.processes.gcode_writer import HEADER, GcodeWriter
from designs.processes.materials import BeamUse, density_g_cm3, laser_recipe
from designs.processes.model import CannotMake, MachineProfile, MadeToolpath, ProcessKind, Severity, Stock
from designs.toolpath.lint import MachineLimits, lint
from designs.toolpath.program_bounds import motion_bounds
from designs.toolpath.timetable import Kinematics, estimate

_LABEL_MM = 12.0
_DIGIT_MM = 2.4
# Seven strokes of a digit on a 1 × 2 cell: (x0, y0, x1, y1), and which of them each digit has.
_STROKES = ((0, 2, 1, 2), (1, 2, 1, 1), (1, 1, 1, 0), (1, 0, 0, 0), (0, 0, 0, 1), (0, 1, 0, 2), (0, 1, 1, 1))
_DIGITS = ("012345", "12", "01346", "01236", "1256", "02356", "023456", "012", "0123456", "012356")


def make_grid(
    profile: MachineProfile,
    stock: Stock,
    powers: Sequence[float] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0),
    speeds_mm_min: Sequence[float] = (600.0, 1200.0, 2400.0, 3600.0, 6000.0),
    *,
    cell_mm: float = 8.0,
    cut: bool = False,
) -> MadeToolpath:
    """The grid's program: filled squares, or (`cut`) outlines on the line. `powers` are shares of full power.

    Raises CannotMake for machines that are no GRBL laser, for forbidden materials, and where the grid does not fit.
    """
    if profile.process is not ProcessKind.LASER or not profile.dialect.lower().startswith(("grbl", "fluidnc")):
        raise CannotMake("A test grid is for GRBL lasers", f"{profile.model} is something else")
    if not powers or not speeds_mm_min or not all(0.0 < p <= 1.0 for p in powers) or min(speeds_mm_min) <= 0.0:
        raise CannotMake("The grid makes no sense", "powers go from 0 to 1 and speeds are above 0", "Choose others.")
    recipe = laser_recipe(stock.material, stock.thickness_mm, profile.laser_power_w)
    pitch = cell_mm + 3.0
    width, height = _LABEL_MM + pitch * len(powers), _LABEL_MM + pitch * len(speeds_mm_min)
    if width > profile.envelope_mm[0] or height > profile.envelope_mm[1]:
        raise CannotMake(
            "The grid does not fit", f"it needs {width:.0f} × {height:.0f} mm", "Use fewer or smaller cells."
        )
    writer = GcodeWriter()
    writer.comment(f"Workshed test grid: {stock.material} {stock.thickness_mm:g} mm on {profile.model}")
    for line in (HEADER, "M5 S0", *(["M8"] if recipe.air else []), "M4 S0"):
        writer.raw(line)
    for column, power in enumerate(powers):
        _write_number(writer, round(power * 100), _LABEL_MM + column * pitch, 2.0, recipe.mark, profile.power_s_max)
    for row, speed in enumerate(speeds_mm_min):
        _write_number(writer, round(speed), 0.5, _LABEL_MM + row * pitch + 2.0, recipe.mark, profile.power_s_max)
    for row, speed in enumerate(speeds_mm_min):
        for column, power in enumerate(powers):
            x, y = _LABEL_MM + column * pitch, _LABEL_MM + row * pitch
            use = BeamUse(power, min(speed, profile.max_feed_mm_min or speed))
            _cell(writer, (x, y), cell_mm, use, profile.power_s_max, cut=cut)
    for line in ("M5 S0", *(["M9"] if recipe.air else [])):
        writer.raw(line)
    writer.rapid(0.0, 0.0)
    writer.raw("M5 S0")
    return _made(writer, profile, stock, (width, height), len(powers) * len(speeds_mm_min))


def _cell(writer: GcodeWriter, at: tuple[float, float], size: float, use: BeamUse, s_max: float, *, cut: bool) -> None:
    x, y = at
    if not cut:
        raster.write_rows(writer, raster.hatch([box(x, y, x + size, y + size)], 0.2), use, s_max)
        return
    writer.rapid(x, y)
    for px, py in ((x + size, y), (x + size, y + size), (x, y + size), (x, y)):
        writer.feed(px, py, feed_mm_min=use.speed_mm_min, power=round(use.power * s_max))


def _write_number(writer: GcodeWriter, value: int, x: float, y: float, use: BeamUse, s_max: float) -> None:
    half = _DIGIT_MM / 2.0
    for digit in str(value):
        for stroke in _DIGITS[int(digit)]:
            x0, y0, x1, y1 = _STROKES[int(stroke)]
            writer.rapid(x + x0 * half, y + y0 * half)
            writer.feed(x + x1 * half, y + y1 * half, feed_mm_min=use.speed_mm_min, power=round(use.power * s_max))
        x += half * 1.8


def _made(
    writer: GcodeWriter, profile: MachineProfile, stock: Stock, size: tuple[float, float], cells: int
) -> MadeToolpath:
    gcode = writer.gcode()
    told = lint(gcode, MachineLimits.of(profile))
    if any(f.severity is Severity.ERROR for f in told):
        raise CannotMake("The grid would not be safe on this machine", told[0].text.rstrip("."))
    density = density_g_cm3(stock.material)
    grams = None if density is None else size[0] * size[1] * (stock.thickness_mm or 0.0) / 1000.0 * density
    return MadeToolpath(
        gcode=gcode,
        dialect=profile.dialect,
        made_by="Workshed test grid 1",
        settings=f"{cells} cells",
        duration_s=estimate(gcode, Kinematics.of(profile)).duration_s,
        lines=writer.line_count,
        bounds_mm=motion_bounds(gcode, profile.dialect),
        material_g=grams,
        stock_used_mm=size,
        work_card="Columns: power in percent. Rows: speed in mm/min. Take the lightest cell that does what you want.",
        findings=told,
    )


def main(argv: list[str]) -> int:
    """Exit code 0 when the grid was written; 1 with a sentence where it cannot be made."""
    parser = argparse.ArgumentParser(prog="python -m designs.processes.power_grid", description=__doc__)
    parser.add_argument("material")
    parser.add_argument("thickness_mm", type=float)
    parser.add_argument("out", type=Path)
    parser.add_argument("--watts", type=float, required=True, help="power of the beam")
    parser.add_argument("--bed", default="300x200", help="what the laser reaches, mm")
    parser.add_argument("--s-max", type=float, default=1000.0, help="S for full power (GRBL $30)")
    parser.add_argument("--cut", action="store_true", help="outlines to be cut, instead of filled squares")
    given = parser.parse_args(argv)
    width, _, height = given.bed.partition("x")
    bed = (float(width), float(height), 50.0)
    profile = MachineProfile(
        "this laser", ProcessKind.LASER, "grbl", bed, laser_power_w=given.watts, power_s_max=given.s_max
    )
    try:
        made = make_grid(profile, Stock(given.material, thickness_mm=given.thickness_mm), cut=given.cut)
    except CannotMake as refused:
        print(refused, file=sys.stderr)
        return 1
    given.out.write_bytes(made.gcode)
    print(f"{given.out}: {made.lines} lines, {made.duration_s / 60.0:.0f} min. {made.work_card}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

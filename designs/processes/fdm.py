"""Printing: meshes and a class of printers in, a plate's program out, by whichever slicer is there.

PrusaSlicer when it is on PATH, else CuraEngine with its definitions, else mandoline. The record says which, with
version and profile. Time, reach and danger are measured on the finished program, not taken from the slicer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import trimesh

from designs.nesting import NestPart
from designs.processes.footprints import SUPPORT_FROM_MM2, Ready, ring, shadow, standing
from designs.processes.model import (
    CannotMake,
    Finding,
    MachineProfile,
    MadeToolpath,
    Piece,
    PlacedPiece,
    Severity,
    SheetLayout,
    Stock,
)
from designs.processes.plates import Box, arrange, lay_on_bed, room_mm
from designs.processes.print_program import end_lines, start_lines
from designs.processes.profiles import DEFAULT_QUALITY, PrintSettings, print_settings
from designs.processes.slicers.curaengine import CuraEngine
from designs.processes.slicers.mandoline import Mandoline
from designs.processes.slicers.prusaslicer import PrusaSlicer
from designs.processes.slicers.slicer import Plate, Slicer
from designs.toolpath import Kinematics, MachineLimits, estimate, lint
from designs.toolpath.program_bounds import motion_bounds

SPEAKS: Final = frozenset({"marlin", "prusa", "klipper", "reprapfirmware", "repetier", "smoothie"})
MOST_COPIES: Final = 500


def slicers() -> tuple[Slicer, ...]:
    """Slicers in order of preference, installed or not."""
    return (PrusaSlicer(), CuraEngine(), Mandoline())


def make(
    pieces: Sequence[Piece],
    profile: MachineProfile,
    stock: Stock,
    *,
    quality: str = DEFAULT_QUALITY,
    slicer: Slicer | None = None,
) -> MadeToolpath:
    """Arrange the pieces on one plate, slice it, and measure the program.

    Raises CannotMake when a piece is no solid, does not fit, the material has no profile, or no slicer is there.
    """
    if profile.dialect.lower() not in SPEAKS:
        raise CannotMake(
            "It cannot be printed there", f"{profile.model} speaks {profile.dialect}, not a printer's G-code"
        )
    ready = [standing(piece.file) for piece in pieces]
    support = sum(each.overhang_mm2 for each in ready) >= SUPPORT_FROM_MM2
    settings = print_settings(profile, stock, quality, support=support)
    plate, layout = _plate(pieces, ready, settings, profile)
    chosen = slicer or next((each for each in slicers() if each.version() is not None), None)
    if chosen is None:
        raise CannotMake(
            "It cannot be sliced", "no slicer is installed", "Install PrusaSlicer, or pip install mandoline-py."
        )
    top = math.ceil(plate.height_mm / settings.layer_mm) * settings.layer_mm
    sliced = chosen.slice(plate, settings, start_lines(settings), end_lines(settings, top))
    findings = tuple(finding for each in ready for finding in each.findings)
    made = _measured(sliced.gcode, sliced.made_by, settings, profile, len(plate.copies), findings, stock)
    return replace(made, layout=layout)


def plate_capacity(piece: Piece, profile: MachineProfile) -> int:
    """How many copies of a piece fit on one plate of this printer; 0 when not even one does. Raises BadGeometry."""
    ready = standing(piece.file)
    width, depth, height = (float(side) for side in ready.mesh.extents)
    if height > profile.envelope_mm[2]:
        return 0
    room = room_mm(profile.envelope_mm)
    most = min(MOST_COPIES, int(room[0] * room[1] // max(width * depth, 1.0)) + 1)
    layout = arrange([Box(number, width, depth) for number in range(most)], profile.envelope_mm)
    return len(layout.placed)


def _plate(
    pieces: Sequence[Piece], ready: Sequence[Ready], settings: PrintSettings, profile: MachineProfile
) -> tuple[Plate, SheetLayout]:
    if not pieces or any(piece.quantity < 1 for piece in pieces):
        raise CannotMake("There is nothing to print", "no piece, or a quantity below 1, is asked for")
    if sum(piece.quantity for piece in pieces) > MOST_COPIES:
        raise CannotMake(
            "It does not fit on one plate", f"more than {MOST_COPIES} pieces are asked for", "Split the order."
        )
    room = room_mm(settings.bed_mm)
    for each in ready:
        width, depth, height = (float(side) for side in each.mesh.extents)
        if height > settings.bed_mm[2] or width > room[0] or depth > room[1]:
            raise CannotMake(
                f"{each.name} does not fit into {profile.model}",
                f"it measures {width:.1f} × {depth:.1f} × {height:.1f} mm and there is room for "
                f"{room[0]:.0f} × {room[1]:.0f} × {settings.bed_mm[2]:.0f} mm",
                "Use a larger printer, or cut the part in two.",
            )
    return _laid(pieces, ready, settings.bed_mm, profile.model)


def _laid(
    pieces: Sequence[Piece], ready: Sequence[Ready], bed_mm: tuple[float, float, float], model: str
) -> tuple[Plate, SheetLayout]:
    """The plate as slicers take it, and where each piece lies on it. Turned pieces are meshes of their own."""
    shadows = [shadow(each.mesh) for each in ready]
    parts = [NestPart(str(k), shadows[k], piece.quantity) for k, piece in enumerate(pieces)]
    found = lay_on_bed(parts, bed_mm)
    if found.left_over:
        count = len(found.placements)
        raise CannotMake(
            "They do not all fit on one plate",
            f"{count} of {sum(piece.quantity for piece in pieces)} pieces fit on the bed of {model}",
            f"Make plates of {count} or fewer.",
        )
    meshes = [each.mesh for each in ready]
    names = [each.name for each in ready]
    turned: dict[tuple[int, float, float], int] = {(k, 1.0, 0.0): k for k in range(len(ready))}
    copies, placed = [], []
    for spot in sorted(found.placements, key=lambda each: (int(each.key), each.copy)):
        k, (c, _, s, _, right, up) = int(spot.key), spot.matrix
        way = (k, float(round(c)), float(round(s)))
        if way not in turned:
            turned[way] = len(meshes)
            meshes.append(_turned(ready[k].mesh, math.atan2(way[2], way[1])))
            names.append(f"{ready[k].name} turned")
        lying = spot.apply(shadows[k])
        width, depth, _ = ready[k].mesh.extents
        corners = [(c * x - s * y, s * x + c * y) for x in (0.0, width) for y in (0.0, depth)]
        corner_x, corner_y = min(x for x, _ in corners), min(y for _, y in corners)
        copies.append((turned[way], round(right + corner_x, 3), round(up + corner_y, 3)))
        placed.append(PlacedPiece(k, spot.copy, ready[k].name, ring(lying)))
    plate = Plate(tuple(meshes), tuple(copies), tuple(names), all(each.watertight for each in ready))
    bed = ((0.0, 0.0), (bed_mm[0], 0.0), (bed_mm[0], bed_mm[1]), (0.0, bed_mm[1]))
    return plate, SheetLayout(
        (bed,), tuple(placed), sum(spot.apply(shadows[int(spot.key)]).area for spot in found.placements)
    )


def _turned(mesh: trimesh.Trimesh, angle: float) -> trimesh.Trimesh:
    c, s = math.cos(angle), math.sin(angle)
    found = mesh.copy()
    found.vertices = np.asarray(mesh.vertices) @ np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])
    found.apply_translation(-found.bounds[0])
    return found


def _measured(
    gcode: bytes,
    made_by: str,
    settings: PrintSettings,
    profile: MachineProfile,
    copies: int,
    findings: tuple[Finding, ...],
    stock: Stock,
) -> MadeToolpath:
    linted = lint(gcode, MachineLimits.of(profile))
    wrong = next((each for each in linted if each.severity is Severity.ERROR), None)
    if wrong is not None:
        where = f" (line {wrong.line})" if wrong.line else ""
        raise CannotMake(
            "The sliced program was refused", f"{made_by} wrote what {profile.model} must not run: {wrong.text}{where}"
        )
    times = estimate(gcode, Kinematics.of(profile))
    grams = times.filament_mm * math.pi * settings.filament_mm**2 / 4 * settings.density_g_cm3 / 1000
    colour = f" {stock.colour}" if stock.colour else ""
    return MadeToolpath(
        gcode=gcode,
        dialect=profile.dialect,
        made_by=made_by,
        settings=settings.summary,
        duration_s=times.duration_s,
        lines=gcode.count(b"\n"),
        bounds_mm=motion_bounds(gcode, profile.dialect),
        material_g=round(grams, 2),
        pieces=copies,
        work_card=(
            f"Load {settings.material}{colour}, at least {math.ceil(grams + 1)} g. Bed clean and empty. "
            f"Nozzle {settings.nozzle_mm:g} mm. {copies} piece{'s' if copies != 1 else ''} on the plate."
        ),
        findings=findings + linted,
    )

"""Printing: meshes and a class of printers in, a plate's program out, by whichever slicer is there.

PrusaSlicer when it is on PATH, else CuraEngine with its definitions, else mandoline. The record says which, with
version and profile. Time, reach and danger are measured on the finished program, not taken from the slicer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import trimesh

from designs.geometry import checked_mesh
from designs.mesh_checks import overhang_area_mm2
from designs.meshes import MESH_KINDS
from designs.orientation import FIRM_MM2, rate, suggest
from designs.processes.model import (
    CannotMake,
    Finding,
    MachineProfile,
    MadeToolpath,
    Piece,
    Severity,
    Stock,
)
from designs.processes.plates import Box, arrange, room_mm
from designs.processes.print_program import end_lines, start_lines
from designs.processes.profiles import DEFAULT_QUALITY, PrintSettings, print_settings
from designs.processes.slicers.curaengine import CuraEngine
from designs.processes.slicers.mandoline import Mandoline
from designs.processes.slicers.prusaslicer import PrusaSlicer
from designs.processes.slicers.slicer import Plate, Slicer
from designs.toolpath import Kinematics, MachineLimits, estimate, lint
from designs.toolpath.program_bounds import motion_bounds

SPEAKS: Final = frozenset({"marlin", "prusa", "klipper", "reprapfirmware", "repetier", "smoothie"})
SUPPORT_FROM_MM2: Final = 40.0
"""Less hanging area than this is printed without support (small bridges hold themselves)."""
MOST_COPIES: Final = 500
_SUGGEST_FACES: Final = 100_000


@dataclass(frozen=True)
class _Ready:
    """A piece's mesh, standing at 0, 0 on z = 0 the way it will be printed."""

    name: str
    mesh: trimesh.Trimesh
    watertight: bool
    overhang_mm2: float
    findings: tuple[Finding, ...]


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
    ready = [_prepare(piece) for piece in pieces]
    support = sum(each.overhang_mm2 for each in ready) >= SUPPORT_FROM_MM2
    settings = print_settings(profile, stock, quality, support=support)
    plate = _plate(pieces, ready, settings, profile)
    chosen = slicer or next((each for each in slicers() if each.version() is not None), None)
    if chosen is None:
        raise CannotMake(
            "It cannot be sliced", "no slicer is installed", "Install PrusaSlicer, or pip install mandoline-py."
        )
    top = math.ceil(plate.height_mm / settings.layer_mm) * settings.layer_mm
    sliced = chosen.slice(plate, settings, start_lines(settings), end_lines(settings, top))
    findings = tuple(finding for each in ready for finding in each.findings)
    return _measured(sliced.gcode, sliced.made_by, settings, profile, len(plate.copies), findings, stock)


def plate_capacity(piece: Piece, profile: MachineProfile) -> int:
    """How many copies of a piece fit on one plate of this printer; 0 when not even one does. Raises BadGeometry."""
    ready = _prepare(piece)
    width, depth, height = (float(side) for side in ready.mesh.extents)
    if height > profile.envelope_mm[2]:
        return 0
    room = room_mm(profile.envelope_mm)
    most = min(MOST_COPIES, int(room[0] * room[1] // max(width * depth, 1.0)) + 1)
    layout = arrange([Box(number, width, depth) for number in range(most)], profile.envelope_mm)
    return len(layout.placed)


def _prepare(piece: Piece) -> _Ready:
    file = piece.file
    if file.kind not in MESH_KINDS:
        raise CannotMake(
            f"{file.name} cannot be printed", f"it is {file.kind.value}, not a solid", "Use STL, 3MF or OBJ."
        )
    checked = checked_mesh(file)
    findings = list(checked.findings)
    findings += [Finding(Severity.NOTE, "repaired", f"{file.stem}: {said}.") for said in checked.repaired]
    mesh = checked.mesh.copy()
    modelled = rate(mesh)
    if modelled.contact_mm2 < FIRM_MM2 or not modelled.stable:
        better = suggest(mesh)
        if better.score < modelled.score:
            mesh.vertices = np.asarray(mesh.vertices) @ better.turn.T
            text = f"{file.stem} was turned: as modelled it would stand on {modelled.contact_mm2:.0f} mm²."
            findings.append(Finding(Severity.NOTE, "turned", text))
    elif modelled.overhang_mm2 >= SUPPORT_FROM_MM2 and len(mesh.faces) <= _SUGGEST_FACES:
        better = suggest(mesh)
        if better.overhang_mm2 < SUPPORT_FROM_MM2:
            text = f"{file.stem} would need no support another way up; turn it in the model if looks allow."
            findings.append(Finding(Severity.NOTE, "better_way_up", text))
    mesh.apply_translation(-mesh.bounds[0])
    return _Ready(file.stem, mesh, checked.watertight, overhang_area_mm2(mesh), tuple(findings))


def _plate(pieces: Sequence[Piece], ready: Sequence[_Ready], settings: PrintSettings, profile: MachineProfile) -> Plate:
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
    boxes = [
        Box(index, float(each.mesh.extents[0]), float(each.mesh.extents[1]))
        for index, (piece, each) in enumerate(zip(pieces, ready, strict=True))
        for _ in range(piece.quantity)
    ]
    layout = arrange(boxes, settings.bed_mm)
    if layout.left_over:
        raise CannotMake(
            "They do not all fit on one plate",
            f"{len(layout.placed)} of {len(boxes)} pieces fit on the bed of {profile.model}",
            f"Make plates of {len(layout.placed)} or fewer.",
        )
    return Plate(
        tuple(each.mesh for each in ready),
        layout.placed,
        tuple(each.name for each in ready),
        all(each.watertight for each in ready),
    )


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

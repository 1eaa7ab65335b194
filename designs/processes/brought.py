"""G-code that somebody brings: unpacked, checked against the machine class, measured, and otherwise left as it is."""

from __future__ import annotations

import math
from typing import Final

from designs.gcode_metadata import GcodeMetadata, gcode_of, read_gcode_metadata
from designs.processes.model import CannotMake, MachineProfile, MadeToolpath, PartFile, ProcessKind, Severity, Stock
from designs.processes.profiles import known_density_g_cm3, same_material
from designs.toolpath import Kinematics, MachineLimits, estimate, lint
from designs.toolpath.program_bounds import motion_bounds

_FILAMENT_MM: Final = 1.75


def brought_toolpath(file: PartFile, profile: MachineProfile, stock: Stock) -> MadeToolpath:
    """The program for this class of machines. Raises CannotMake when it is dangerous there or for another material.

    Comments that are not ASCII are made ASCII (bytes above 127 can trigger overrides in GRBL); nothing else changes.
    """
    told = read_gcode_metadata(file)
    _same_material(file, told, stock)
    gcode = ascii_comments(gcode_of(file))
    findings = lint(gcode, MachineLimits.of(profile))
    wrong = [each for each in findings if each.severity is Severity.ERROR]
    if wrong:
        where = f" (line {wrong[0].line})" if wrong[0].line else ""
        more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise CannotMake(
            f"{file.name} must not run on {profile.model}",
            f"{wrong[0].text.rstrip('.')}{where}{more}",
            "Make it again for this machine.",
        )
    times = estimate(gcode, Kinematics.of(profile))
    by = " ".join(filter(None, [told.slicer or "an unknown program", told.slicer_version]))
    grams = None
    if profile.process is ProcessKind.FDM:
        density = known_density_g_cm3(stock.material)
        grams = round(times.filament_mm * math.pi * _FILAMENT_MM**2 / 4 * density / 1000, 2) if density else None
    claims = f"; it claims {told.estimated_s / 60:.0f} min" if told.estimated_s else ""
    return MadeToolpath(
        gcode=gcode,
        dialect=profile.dialect,
        made_by=f"{by} (brought as {file.name})",
        settings=f"As brought{claims}",
        duration_s=times.duration_s,
        lines=gcode.count(b"\n"),
        bounds_mm=motion_bounds(gcode, profile.dialect),
        material_g=grams,
        work_card=(
            f"A program brought by its requester, made by {by} for {told.printer or 'a machine it does not name'}. "
            f"Load {stock.material}. Look at its picture before you start it."
        ),
        findings=findings,
    )


def _same_material(file: PartFile, told: GcodeMetadata, stock: Stock) -> None:
    if told.material and not same_material(told.material, stock.material):
        raise CannotMake(
            f"{file.name} was sliced for {told.material}",
            f"the order says {stock.material}",
            "Order it in the material it was sliced for, or slice it again.",
        )


def ascii_comments(gcode: bytes) -> bytes:
    """Line ends as LF, and bytes above 127 as `?` inside comments only; a program's words are never changed."""
    plain = gcode.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if plain.isascii():
        return plain if plain.endswith(b"\n") else plain + b"\n"
    lines = []
    for line in plain.split(b"\n"):
        code, semicolon, comment = line.partition(b";")
        lines.append(code + semicolon + bytes(byte if byte < 128 else 0x3F for byte in comment))
    text = b"\n".join(lines)
    return text if text.endswith(b"\n") else text + b"\n"

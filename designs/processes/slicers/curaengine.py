"""CuraEngine by its command line (4.13 is LGPL, 5 and later AGPL: run as a program, never linked).

Needs its definitions (`fdmprinter.def.json`, in Debian's package `cura`): looked for in CURA_ENGINE_SEARCH_PATH and
where distributions put them. Traps: the engine does not derive one setting from another (Cura's front end does), so
counts, distances and speeds are all given; its header claims `;TIME:6666`, `;Filament used: 0m` and extents of two
million, so those lines are taken out; it puts heating of its own before the start code unless told not to.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

from designs.meshes import write_stl
from designs.processes.model import CannotMake
from designs.processes.profiles import SKIRT_LOOPS, SKIRT_MM, PrintSettings
from designs.processes.slicers.slicer import Plate, SlicedPlate, one_mesh, run_slicer, scratch

_PLACES: Final = ("/usr/share/cura/resources/definitions", "/usr/local/share/cura/resources/definitions")
_VERSION: Final = re.compile(r"Cura_SteamEngine version (\S+)")
_CLAIMS: Final = re.compile(rb"^;(?:TIME|Filament used|MIN[XYZ]|MAX[XYZ]):.*\n", re.MULTILINE)


def definitions() -> Path | None:
    """The folder with CuraEngine's definitions, or None."""
    asked = os.environ.get("CURA_ENGINE_SEARCH_PATH", "").split(os.pathsep)
    return next(
        (Path(each) for each in (*asked, *_PLACES) if each and (Path(each) / "fdmprinter.def.json").exists()), None
    )


@cache
def _version_of(program: str) -> str | None:
    with scratch() as folder:
        try:
            found = _VERSION.search(run_slicer([program, "help"], Path(folder), "CuraEngine", limit_s=30.0))
        except CannotMake:
            return None
    return found.group(1) if found else None


class CuraEngine:
    """`CuraEngine slice`, when it and its definitions are there."""

    name = "CuraEngine"

    def version(self) -> str | None:
        """Its version, or None where it or its definitions are not installed."""
        program = shutil.which("CuraEngine")
        return _version_of(program) if program and definitions() else None

    def slice(self, plate: Plate, settings: PrintSettings, start: Sequence[str], end: Sequence[str]) -> SlicedPlate:
        """Slice a plate arranged by us. Raises CannotMake."""
        version, folder_of_definitions = self.version(), definitions()
        program = shutil.which("CuraEngine")
        if version is None or program is None or folder_of_definitions is None:
            raise CannotMake("It could not be sliced", "CuraEngine or its definitions are not installed")
        with scratch() as name:
            folder = Path(name)
            (folder / "plate.stl").write_bytes(write_stl(one_mesh(plate), "plate"))
            command = [program, "slice", "-j", str(folder_of_definitions / "fdmprinter.def.json")]
            command += _words(engine_settings(settings, start, end))
            command += ["-e0", *_words(extruder_settings(settings)), "-o", "plate.gcode", "-l", "plate.stl"]
            env = os.environ | {"CURA_ENGINE_SEARCH_PATH": str(folder_of_definitions)}
            said = run_slicer(command, folder, "CuraEngine", env=env)
            made = folder / "plate.gcode"
            gcode = made.read_bytes() if made.exists() else b""
        if b";LAYER:0" not in gcode:
            raise CannotMake("It could not be sliced", "CuraEngine wrote no layers: " + " ".join(said.split())[-200:])
        return SlicedPlate(only_what_is_true(gcode, end), f"CuraEngine {version}")


def only_what_is_true(gcode: bytes, end: Sequence[str]) -> bytes:
    """The program without the header's placeholders, ending with our end code and nothing after it."""
    plain = _CLAIMS.sub(b"", gcode.replace(b"\r\n", b"\n"))
    ending = "\n".join(end).encode()
    body, found, _ = plain.rpartition(ending)
    return (body if found else plain) + ending + b"\n"


def _words(table: dict[str, object]) -> list[str]:
    return [word for key, value in table.items() for word in ("-s", f"{key}={_said(value)}")]


def _said(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def engine_settings(settings: PrintSettings, start: Sequence[str], end: Sequence[str]) -> dict[str, object]:
    """The settings in Cura's words (resources/definitions/fdmprinter.def.json), derived ones included."""
    line, walls = settings.line_mm, settings.perimeters
    density = settings.infill_percent / 100
    return {
        "machine_start_gcode": "\n".join(start),
        "machine_end_gcode": "\n".join(end),
        "machine_gcode_flavor": "RepRap (Marlin/Sprinter)",
        "machine_width": settings.bed_mm[0],
        "machine_depth": settings.bed_mm[1],
        "machine_height": settings.bed_mm[2],
        "machine_center_is_zero": True,  # else half the bed is added to every coordinate
        "center_object": False,
        "mesh_position_x": 0,
        "mesh_position_y": 0,
        "mesh_position_z": 0,
        "material_print_temp_prepend": False,
        "material_bed_temp_prepend": False,
        "relative_extrusion": True,
        "adhesion_type": settings.adhesion.value,
        "skirt_line_count": SKIRT_LOOPS,
        "skirt_gap": SKIRT_MM,
        "skirt_brim_minimal_length": 0,
        "brim_width": settings.brim_mm,
        "brim_line_count": round(settings.brim_mm / line),
        "layer_height": settings.layer_mm,
        "layer_height_0": settings.first_layer_mm,
        "support_enable": settings.support,
        "support_structure": "normal",
        "support_angle": 90 - settings.support_deg,  # Cura measures from the vertical
        "support_line_distance": line / (settings.support_percent / 100),
        "support_top_distance": settings.support_gap_mm,
        "speed_travel": settings.travel_mm_s,
        "speed_travel_layer_0": settings.travel_mm_s,
        "acceleration_enabled": False,
        "jerk_enabled": False,
        "line_width": line,
        "wall_line_width_0": line,
        "wall_line_width_x": line,
        "skin_line_width": line,
        "infill_line_width": line,
        "wall_line_count": walls,
        "wall_thickness": walls * line,
        "top_layers": settings.top_layers,
        "bottom_layers": settings.bottom_layers,
        "initial_bottom_layers": settings.bottom_layers,
        "infill_pattern": "lines" if settings.infill_percent < 30 else "gyroid",
        "infill_line_distance": line / density if density > 0 else 0,
        "infill_sparse_thickness": settings.layer_mm,
        "retraction_combing": "noskin",
    }


def extruder_settings(settings: PrintSettings) -> dict[str, object]:
    """What CuraEngine reads per extruder: filament, temperatures, speeds, retraction, fan."""
    speed, first = settings.perimeter_mm_s, settings.first_layer_mm_s
    return {
        "machine_nozzle_size": settings.nozzle_mm,
        "material_diameter": settings.filament_mm,
        "material_print_temperature": settings.nozzle_c,
        "material_print_temperature_layer_0": settings.first_nozzle_c,
        "material_initial_print_temperature": settings.first_nozzle_c,
        "material_final_print_temperature": settings.nozzle_c,
        "material_bed_temperature": settings.bed_c,
        "material_bed_temperature_layer_0": settings.bed_c,
        "speed_print": speed,
        "speed_wall_0": speed * 0.7,
        "speed_wall_x": speed,
        "speed_topbottom": speed,
        "speed_infill": settings.infill_mm_s,
        "speed_support": speed,
        "speed_print_layer_0": first,
        "retraction_enable": settings.retract_mm > 0,
        "retraction_amount": settings.retract_mm,
        "retraction_retract_speed": settings.retract_mm_s,
        "retraction_prime_speed": settings.retract_mm_s,
        "retraction_min_travel": 1.5,
        "cool_fan_enabled": settings.fan_percent > 0,
        "cool_fan_speed_min": settings.fan_percent,
        "cool_fan_speed_max": settings.fan_percent,
        "cool_fan_full_layer": settings.fan_from_layer,
        "cool_min_layer_time": 8,
        "cool_min_speed": 12,
    }

"""Runs mandoline in a process of its own and writes down the lines it found, layer by layer.

Why not its G-code: mandoline 0.8.3 writes each move twice, `M28` (Marlin: begin writing to the SD card) for a servo,
feeds in mm/s where G-code has mm/min, and lines of no G-code at all. And why not its offsets: it tells outlines from
holes by coordinates cut to whole millimetres, and squares every corner of a round hole. So its slicing, shells and
infill are used with an offset that is sound, and `designs.processes.slicers.layer_gcode` writes the program.

Usage: python -m designs.processes.slicers.mandoline_worker MODEL.stl SETTINGS.json LAYERS.json
"""

from __future__ import annotations

import json
import math
import resource
import sys
from pathlib import Path
from typing import Any, Final

import pyclipper
from mandoline import geometry2d
from mandoline.slicer import Slicer
from mandoline.stl_data import StlData

_MEMORY_BYTES: Final = 3 << 30
_EXTRUSION_RATIO: Final = 1.25
"""mandoline's fixed line width over nozzle width (slicer.py, slice_to_file)."""


_SUPPORT_GAP_MM: Final = 0.6
_UNITS_PER_MM: Final = 1000
_NUDGES: Final = (0.0, 0.013, -0.017, 0.07, -0.11, 0.23, -0.29)
"""Shares of a layer."""
_CLEAN_MM: Final = 0.015
"""Points nearer than this are one point; finer than any printer resolves."""


def sound_offset(paths: list[Any], amount_mm: float) -> list[Any]:
    """Grow (or shrink) outlines with their holes; even-odd, so the direction of the paths does not matter."""
    scaled = pyclipper.scale_to_clipper(paths, _UNITS_PER_MM)
    clean = [path for path in pyclipper.CleanPolygons(scaled, _CLEAN_MM * _UNITS_PER_MM) if len(path) > 2]
    simple = pyclipper.SimplifyPolygons(clean, pyclipper.PFT_EVENODD) if clean else []
    if not simple:
        return []
    offset = pyclipper.PyclipperOffset(2.0, 0.01 * _UNITS_PER_MM)
    offset.AddPaths(simple, pyclipper.JT_MITER, pyclipper.ET_CLOSEDPOLYGON)
    grown = pyclipper.CleanPolygons(offset.Execute(amount_mm * _UNITS_PER_MM), _CLEAN_MM * _UNITS_PER_MM)
    found: list[Any] = pyclipper.scale_from_clipper([path for path in grown if len(path) > 2], _UNITS_PER_MM)
    return found


class _Model(StlData):  # type: ignore[misc]  # mandoline has no types
    """A model whose cuts are tried a little higher or lower where a cut through a corner does not close."""

    def slice_at_z(self, z: float, layer_h: float) -> tuple[list[Any], list[Any]]:
        best: tuple[list[Any], list[Any]] | None = None
        for nudge in _NUDGES:
            found: tuple[list[Any], list[Any]] = super().slice_at_z(z + nudge * layer_h, layer_h)
            if not found[1]:
                return found
            best = best or found
        return best or ([], [])


class _Layers(Slicer):  # type: ignore[misc]  # mandoline has no types
    """mandoline up to the point where it would order the paths."""

    found: dict[str, Any]
    support_deg: float
    support_share: float

    def _slicer_task_support(self) -> None:
        """Support under all that overhangs further than the limit; mandoline's own misses level undersides."""
        self.support_outline: list[Any] = [[] for _ in range(self.layers)]
        self.support_infill: list[Any] = [[] for _ in range(self.layers)]
        if self.conf["support_type"] == "None":
            return
        hanging: list[Any] = []
        bearing = self.layer_h / math.tan(math.radians(self.support_deg))
        for layer in reversed(range(self.layers - 1)):
            above, here = self.layer_paths[layer + 1], self.layer_paths[layer]
            sticks_out = geometry2d.diff(above, sound_offset(here, bearing)) if here else above
            firm = sound_offset(sound_offset(sticks_out, -self.layer_h / 2), self.layer_h / 2)
            hanging = geometry2d.union(hanging, firm)
            near = sound_offset(geometry2d.union(here, above), _SUPPORT_GAP_MM)
            area = sound_offset(geometry2d.diff(hanging, near), -self.support_width / 2)
            self.support_outline[layer] = geometry2d.close_paths(area)
            inside = sound_offset(area, -self.support_width / 2)
            if inside:
                bounds = geometry2d.paths_bounds(inside)
                lines = geometry2d.make_infill_lines(bounds, 0, self.support_share, self.support_width)
                self.support_infill[layer] = geometry2d.clip(lines, inside, subj_closed=False)

    def _slicer_task_pathing(self) -> None:
        layers = []
        for index, height in enumerate(self.layer_zs):
            layers.append(
                {
                    "z": round(height, 4),
                    "support": self._of(self.support_outline, index) + self._of(self.support_infill, index),
                    "perimeter": [path for shell in self.perimeter_paths[index] for path in shell],
                    "solid": self.solid_infill[index],
                    "sparse": self.sparse_infill[index],
                }
            )
        dead = sum(1 for paths in self.dead_paths if paths)
        self.found = {"width_mm": self.extrusion_width, "layers": layers, "broken_layers": dead}

    def _slicer_task_gcode(self, filename: str) -> None:
        Path(filename).write_text(json.dumps(self.found), encoding="utf-8")

    @staticmethod
    def _of(table: list[Any], index: int) -> list[Any]:
        return list(table[index]) if index < len(table) else []


def main(argv: list[str]) -> int:
    """Slice one model that stands on z = 0; coordinates in the answer are the model's own."""
    model, settings_file, answer = argv
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    wanted = json.loads(Path(settings_file).read_text(encoding="utf-8"))
    geometry2d.offset = sound_offset
    stl = _Model()
    stl.read_file(model)
    points = stl.points
    height = points.maxz - points.minz
    # int(height / layer) would lose the top layer to the last bit of a float (8.7 / 0.3 = 28.999…)
    layer = wanted["layer_mm"] * (1 - 1e-9)
    if math.floor(height / layer) < 1:
        layer = height * (1 - 1e-9)
    slicer = _Layers(
        [stl],
        layer_height=layer,
        nozzle_0_diam=wanted["line_mm"] / _EXTRUSION_RATIO,
        shell_count=wanted["perimeters"],
        top_layers=wanted["top_layers"],
        bottom_layers=wanted["bottom_layers"],
        infill_density=wanted["infill_percent"],
        infill_type="Lines",
        random_starts=False,
        support_type="External" if wanted["support"] else "None",
        adhesion_type="None",
        prime_length=0.0,
        bed_center_x=(points.minx + points.maxx) / 2,
        bed_center_y=(points.miny + points.maxy) / 2,
        bed_temp=wanted["bed_c"],
    )
    slicer.support_deg, slicer.support_share = wanted["support_deg"], wanted["support_percent"] / 100
    slicer.slice_to_file(answer)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

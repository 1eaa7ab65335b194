"""Brims, skirts and supports are profile data, and both slicers do what the data say."""

from __future__ import annotations

import math

import numpy as np
import pytest
import trimesh

from designs.processes import fdm
from designs.processes.model import MachineProfile, Piece, ProcessKind, Stock, ToolSpec
from designs.processes.plates import GAP_MM
from designs.processes.print_program import SIDE_MM
from designs.processes.profiles import SKIRT_MM, Adhesion, known_materials, print_settings
from designs.processes.slicers.curaengine import engine_settings
from designs.processes.slicers.prusaslicer import profile_ini
from designs.processes.slicers.slicer import Slicer
from designs.toolpath.strokes import StrokeKind, read_segments
from tests.designs.processes.test_fdm import PRINTER, RING, part, slicer

__all__ = ["slicer"]


def first_layer(gcode: bytes, height_mm: float) -> np.ndarray:
    """Ends (n, 2) of what is extruded in the first layer, the primed line at the front left out."""
    rows = np.concatenate([s.ends[s.kinds == int(StrokeKind.WORK)] for s in read_segments(gcode, "marlin")])
    on = (np.abs(rows[:, 5] - height_mm) < 1e-6) & (rows[:, 4] > 6.0)
    return np.asarray(rows[on][:, 3:5])


@pytest.mark.parametrize(("material", "beyond"), [("PLA", 0.0), ("ABS", 4.0), ("PETG", SKIRT_MM + 2 * 0.45)])
def test_what_is_around_the_first_layer(material: str, beyond: float, slicer: Slicer) -> None:
    made = fdm.make([Piece(part(RING), 2)], PRINTER, Stock(material), slicer=slicer)
    points = first_layer(made.gcode, 0.3)
    wide = points.max(axis=0) - points.min(axis=0)
    two = np.array([2 * 16 + GAP_MM, 16.0])
    assert wide == pytest.approx(two + 2 * beyond, abs=1.3)  # centres of lines; slicers round to whole lines
    assert ("brim" in made.settings) == (material == "ABS")


def test_neighbours_share_a_brim_that_no_line_crosses(slicer: Slicer) -> None:
    """Brims of 4 mm in a gap of 5 mm: no place is filled twice. Plastic is what the area of the layer needs."""
    made = fdm.make([Piece(part(trimesh.creation.box((16, 16, 3))), 2)], PRINTER, Stock("ABS"), slicer=slicer)
    rows = np.concatenate([s.ends[s.kinds == int(StrokeKind.WORK)] for s in read_segments(made.gcode, "marlin")])
    low = rows[(np.abs(rows[:, 5] - 0.3) < 1e-6) & (np.abs(rows[:, 2] - 0.3) < 1e-6) & (rows[:, 4] > 6.0)]
    length = float(np.hypot(low[:, 3] - low[:, 0], low[:, 4] - low[:, 1]).sum())
    apart = 2 * 16 + GAP_MM
    around = 2 * (apart + 16) * 4.0 + math.pi * 16.0 + 16 * GAP_MM
    assert length * 0.45 == pytest.approx(2 * 256 + around, rel=0.2)


@pytest.mark.parametrize("material", known_materials())
def test_brims_fit_the_edge_that_plates_keep_free(material: str) -> None:
    hot = MachineProfile("Voron 2.4", ProcessKind.FDM, "klipper", (300, 300, 300), (ToolSpec(0, "nozzle", 0.4),))
    settings = print_settings(hot, Stock(material))
    assert (settings.brim_mm > 0.0) == (settings.adhesion is Adhesion.BRIM)
    assert settings.brim_mm <= SIDE_MM
    assert 0.1 <= settings.support_gap_mm <= 0.4


def test_slicers_are_told_what_the_profile_says() -> None:
    settings = print_settings(PRINTER, Stock("ABS"), "standard", support=True)
    ini = dict(line.split(" = ", 1) for line in profile_ini(settings, ("G28",), ("M84",)).splitlines())
    assert (ini["brim_type"], ini["brim_width"], ini["skirts"]) == ("outer_only", "4", "0")
    assert (ini["support_material_threshold"], ini["support_material_contact_distance"]) == ("45", "0.2")
    assert float(ini["support_material_spacing"]) == pytest.approx(0.45 * 4)
    cura = engine_settings(settings, ("G28",), ("M84",))
    assert (cura["adhesion_type"], cura["brim_line_count"], cura["support_angle"]) == ("brim", 9, 45)

"""Printing: both slicers make programs a Marlin printer can trust; what cannot be printed says why."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import trimesh

from designs.meshes import write_stl
from designs.processes import fdm, make_toolpath
from designs.processes.model import (
    CannotMake,
    GeometryKind,
    MachineProfile,
    MadeToolpath,
    PartFile,
    Piece,
    ProcessKind,
    Severity,
    Stock,
    ToolSpec,
)
from designs.processes.plates import GAP_MM, Box, arrange
from designs.processes.profiles import known_materials, print_settings
from designs.processes.slicers.curaengine import engine_settings, extruder_settings, only_what_is_true
from designs.processes.slicers.layer_gcode import Feature, Layer, LayerWriter
from designs.processes.slicers.mandoline import Mandoline
from designs.processes.slicers.mandoline_worker import sound_offset
from designs.processes.slicers.prusaslicer import PrusaSlicer, profile_ini
from designs.processes.slicers.slicer import Plate, Slicer, run_slicer

PRINTER = MachineProfile("Prusa MK3S", ProcessKind.FDM, "marlin", (250.0, 210.0, 210.0), (ToolSpec(0, "nozzle", 0.4),))
PLA = Stock("PLA", "black")


def part(mesh: trimesh.Trimesh, name: str = "ring.stl") -> PartFile:
    return PartFile(name, GeometryKind.STL, write_stl(mesh))


RING = trimesh.creation.box((16, 16, 3)).difference(trimesh.creation.cylinder(4, 20, sections=16))


HERE = {each.name: each for each in fdm.slicers() if each.version()}
"""CuraEngine is tried where it is installed; no package of ours asks for it."""


@pytest.fixture(params=sorted({"PrusaSlicer", "mandoline", *HERE}))
def slicer(request: pytest.FixtureRequest, real_part: Callable[[str], Path]) -> Slicer:
    if request.param == "PrusaSlicer":
        real_part("prusa-slicer")
    return HERE[request.param]


def words(made: MadeToolpath) -> list[str]:
    lines = (line.split(";")[0].strip() for line in made.gcode.decode("ascii").splitlines())
    return [line for line in lines if line]


def test_a_plate_is_sliced_heated_and_ended_as_a_printer_needs_it(slicer: Slicer) -> None:
    made = fdm.make([Piece(part(RING), 2)], PRINTER, PLA, slicer=slicer)
    lines = words(made)
    order = [
        next(n for n, line in enumerate(lines) if line.startswith(code)) for code in ("G28", "M190 S60", "M109 S215")
    ]
    assert order == sorted(order)
    first_extrusion = next(n for n, line in enumerate(lines) if re.search(r"\bE\d", line))
    assert first_extrusion > order[-1]
    assert lines[-7:-3] == ["M104 S0", "M140 S0", "M107", "G0 Z13.000 F600"]
    assert lines[-1] == "M84"
    assert not any(line.startswith(("M500", "M502", "M999", "M112", "M28", "M280")) for line in lines)
    assert made.made_by.startswith(slicer.name)
    assert made.made_by.split()[-1] == slicer.version()
    assert made.pieces == 2
    assert [each for each in made.findings if each.severity is Severity.ERROR] == []
    low_x, low_y, low_z, high_x, high_y, high_z = made.bounds_mm
    assert 0 <= low_x < high_x <= 250
    assert 0 <= low_y < high_y <= 210
    assert 0 <= low_z < high_z <= 210
    assert 120 < made.duration_s < 3600
    assert made.lines == made.gcode.count(b"\n")


def test_the_filament_is_about_the_volume_of_the_part(slicer: Slicer) -> None:
    """3 mm at 0.3 mm a layer is 6 solid layers of 10, and walls: more than half of the solid's mass."""
    made = fdm.make([Piece(part(RING), 3)], PRINTER, PLA, slicer=slicer)
    solid_g = 3 * RING.volume * 1.24 / 1000
    assert made.material_g is not None
    assert 0.6 * solid_g < made.material_g - 0.03 < 1.15 * solid_g


def test_every_extrusion_stays_within_its_piece(slicer: Slicer) -> None:
    """No line is printed outside the footprint, nor into the hole: the trap of offsets that go the wrong way."""
    made = fdm.make([Piece(part(RING), 1)], PRINTER, PLA, slicer=slicer)
    x = y = 0.0
    outside = []
    for line in words(made):
        found = dict(re.findall(r"([XYE])(-?\d*\.?\d+)", line))
        if "X" in found or "Y" in found:
            x, y = float(found.get("X", x)), float(found.get("Y", y))
            middle = ((x - 125) ** 2 + (y - 107) ** 2) ** 0.5
            inside = max(abs(x - 125), abs(y - 107)) <= 8 and middle >= 4 * 0.98
            if "E" in found and float(found["E"]) > 0 and not inside and y > 3.5:
                outside.append(line)
    assert outside == []


def test_the_same_plate_is_the_same_bytes(slicer: Slicer) -> None:
    first = fdm.make([Piece(part(RING))], PRINTER, PLA, slicer=slicer)
    assert fdm.make([Piece(part(RING))], PRINTER, PLA, slicer=slicer).sha256 == first.sha256


def test_the_best_slicer_that_is_there_is_used() -> None:
    made = make_toolpath([Piece(part(RING))], PRINTER, PLA)
    expected = "PrusaSlicer" if PrusaSlicer().version() else "mandoline"
    assert made.made_by.startswith(expected)
    assert "Prusa MK3S / PLA / draft" in made.settings
    assert "Load PLA black" in made.work_card


def test_without_prusaslicer_mandoline_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert make_toolpath([Piece(part(RING))], PRINTER, PLA).made_by.startswith("mandoline ")


@pytest.mark.parametrize(
    ("pieces", "profile", "stock", "says"),
    [
        ([Piece(part(trimesh.creation.box((300, 20, 20))))], PRINTER, PLA, "does not fit into Prusa MK3S"),
        ([Piece(part(trimesh.creation.box((20, 20, 220))))], PRINTER, PLA, "does not fit"),
        ([Piece(part(trimesh.creation.box((100, 100, 5))), 6)], PRINTER, PLA, "of 6 pieces fit"),
        ([Piece(part(RING))], PRINTER, Stock("unobtainium"), "Known are PLA, PETG"),
        ([Piece(part(RING), 0)], PRINTER, PLA, "quantity is below 1"),
        ([Piece(part(RING), 501)], PRINTER, PLA, "more than 500"),
        ([], PRINTER, PLA, "no pieces"),
        ([Piece(PartFile("a.svg", GeometryKind.SVG, b"<svg/>"))], PRINTER, PLA, "not a solid"),
        ([Piece(part(RING))], MachineProfile("Odd", ProcessKind.FDM, "grbl", (200, 200, 200)), PLA, "speaks grbl"),
        (
            [Piece(part(RING))],
            MachineProfile("Ender 3", ProcessKind.FDM, "marlin", (220, 220, 250)),
            Stock("ASA"),
            "reaches 245 °C and 250 °C are needed",
        ),
        ([Piece(part(RING))], MachineProfile("Bench", ProcessKind.MANUAL, "", (1, 1, 1)), PLA, "by hand"),
    ],
)
def test_what_cannot_be_printed_says_why(pieces: list[Piece], profile: MachineProfile, stock: Stock, says: str) -> None:
    with pytest.raises(CannotMake, match=says):
        make_toolpath(pieces, profile, stock)


def test_an_open_mesh_is_refused_by_mandoline_with_a_way_out() -> None:
    ball = trimesh.creation.icosphere(subdivisions=2, radius=10)
    opened = trimesh.Trimesh(ball.vertices, ball.faces[ball.triangles_center[:, 2] < 4], process=False)
    with pytest.raises(CannotMake, match="not watertight"):
        fdm.make([Piece(part(opened))], PRINTER, PLA, slicer=Mandoline())


def test_a_part_on_its_point_is_turned_and_said() -> None:
    cone = trimesh.creation.cone(10, 15, sections=16)
    cone.apply_transform(trimesh.transformations.rotation_matrix(3.14159265, (1, 0, 0)))
    made = fdm.make([Piece(part(cone))], PRINTER, PLA, slicer=Mandoline())
    assert any(finding.code == "turned" for finding in made.findings)
    assert "with support" not in made.settings


def test_an_overhang_gets_support() -> None:
    table = (
        trimesh.creation.box((20, 20, 2))
        .apply_translation((0, 0, 7))
        .union(trimesh.creation.box((8, 8, 6)).apply_translation((0, 0, 3)))
    )
    made = fdm.make([Piece(part(table))], PRINTER, PLA, slicer=Mandoline())
    assert made.settings.endswith("with support")
    assert b";TYPE:support" in made.gcode


def test_how_many_fit_on_a_plate() -> None:
    assert fdm.plate_capacity(Piece(part(trimesh.creation.box((100, 90, 5)))), PRINTER) == 4
    assert fdm.plate_capacity(Piece(part(trimesh.creation.box((300, 90, 5)))), PRINTER) == 0
    assert fdm.plate_capacity(Piece(part(trimesh.creation.box((50, 50, 250)))), PRINTER) == 0


def test_curaengine_is_told_every_derived_setting_and_its_false_claims_are_taken_out() -> None:
    settings = print_settings(PRINTER, PLA)
    told = engine_settings(settings, ("G28",), ("M84",)) | extruder_settings(settings)
    assert told["infill_line_distance"] == pytest.approx(4.5)
    assert told["wall_line_count"] == 2
    assert told["material_print_temp_prepend"] is False
    raw = b";TIME:6666\n;Filament used: 0m\n;MINX:2.14748e+06\nG28\n;LAYER:0\nG1 X1\nM84\nM82\nM104 S0\n;End\n"
    assert only_what_is_true(raw, ("M84",)) == b"G28\n;LAYER:0\nG1 X1\nM84\n"


def test_plates_keep_their_gaps_and_edges() -> None:
    boxes = [Box(n, 20 + n, 30 - n) for n in range(12)]
    layout = arrange(boxes, (250, 210, 210))
    assert layout.left_over == ()
    rectangles = [(x, y, x + boxes[key].width_mm, y + boxes[key].depth_mm) for key, x, y in layout.placed]
    for n, (x0, y0, x1, y1) in enumerate(rectangles):
        assert min(x0 - 4, y0 - 8, 246 - x1, 206 - y1) >= 0
        for a0, b0, a1, b1 in rectangles[n + 1 :]:
            gap = max(a0 - x1, x0 - a1, b0 - y1, y0 - b1)
            assert gap >= GAP_MM - 0.01


@pytest.mark.parametrize("material", known_materials())
def test_every_material_has_sane_settings(material: str) -> None:
    hot = MachineProfile("Voron 2.4", ProcessKind.FDM, "klipper", (300, 300, 300))
    settings = print_settings(hot, Stock(material.lower()))
    assert 180 <= settings.nozzle_c <= 290
    assert 0 <= settings.bed_c <= 115
    assert "temperature = " in profile_ini(settings, ("G28",), ("M84",))


def test_other_nozzles_scale_the_layers() -> None:
    thick = MachineProfile("x", ProcessKind.FDM, "marlin", (200, 200, 200), (ToolSpec(0, "nozzle", 0.6),))
    assert print_settings(thick, PLA).layer_mm == pytest.approx(0.45)
    with pytest.raises(CannotMake, match="draft, standard"):
        print_settings(thick, PLA, "glorious")


def test_offsets_of_holes_go_the_right_way_whatever_the_direction_of_the_path() -> None:
    square = [[0, 0], [20, 0], [20, 20], [0, 20]]
    hole = [[8, 8], [12, 8], [12, 12], [8, 12]]
    for inner in (hole, hole[::-1]):
        found = sound_offset([square, inner], -1.0)
        sizes = sorted(max(p[0] for p in path) - min(p[0] for p in path) for path in found)
        assert sizes == pytest.approx([6.0, 18.0])


def test_flow_is_the_volume_of_the_line() -> None:
    settings = print_settings(PRINTER, PLA)
    writer = LayerWriter(settings, 0.3)
    line = Layer(0.3, (Feature("perimeter", (((0.0, 0.0), (100.0, 0.0)),)),))
    writer.layer(0, 0.3, [((0.0, 0.0), line)])
    extruded = sum(float(word) for word in re.findall(r"X\S+ Y\S+ E(\S+)", "\n".join(writer.lines)))
    assert extruded * 3.14159265 * 1.75**2 / 4 == pytest.approx(
        100 * ((0.45 - 0.3) * 0.3 + 3.14159265 * 0.3**2 / 4), rel=1e-3
    )


def test_small_layers_are_printed_slower_to_cool() -> None:
    settings = print_settings(PRINTER, PLA)

    def feed(length: float) -> float:
        writer = LayerWriter(settings, 0.3)
        writer.layer(1, 0.6, [((0.0, 0.0), Layer(0.6, (Feature("perimeter", (((0.0, 0.0), (length, 0.0)),)),)))])
        return float(re.findall(r"E\S+ F(\d+)", writer.lines[-1])[0])

    assert feed(20) == 12 * 60
    assert feed(1000) == settings.perimeter_mm_s * 60


def test_a_slicer_that_hangs_or_fails_is_stopped_and_said(tmp_path: Path) -> None:
    with pytest.raises(CannotMake, match="stopped after 0"):
        run_slicer(["sleep", "30"], tmp_path, "sleep", limit_s=0.2)
    with pytest.raises(CannotMake, match="failed: exit code 1"):
        run_slicer(["false"], tmp_path, "false")
    with pytest.raises(CannotMake, match="could not be started"):
        run_slicer(["/no/such/slicer"], tmp_path, "none")


def test_two_different_parts_share_a_plate() -> None:
    small = trimesh.creation.box((8, 8, 1.2))
    made = fdm.make([Piece(part(RING), 1), Piece(part(small, "small.stl"), 2)], PRINTER, PLA, slicer=Mandoline())
    assert made.pieces == 3
    plate = Plate((RING, small), ((0, 0.0, 0.0),), ("ring", "small"))
    assert plate.height_mm == pytest.approx(1.5)

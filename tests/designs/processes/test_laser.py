"""Laser programs, measured: kerf on the waste side, inner before outer, beam off at every end, zero findings."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from PIL import Image
from shapely.geometry import LineString, MultiLineString, Polygon, box
from shapely.ops import unary_union

from designs.processes import laser
from designs.processes.laser import LaserOptions
from designs.processes.materials import laser_recipe
from designs.processes.model import CannotMake, GeometryKind, MadeToolpath, PartFile, Piece, Stock
from designs.processes.raster import dithered, hatch, overscan_mm
from designs.toolpath import MachineLimits, lint
from designs.toolpath.strokes import StrokeKind, read_segments
from tests.designs import drawing_zoo as zoo

PLY = Stock("birch plywood", thickness_mm=3.0, width_mm=300.0, height_mm=200.0)


def burnt(made: MadeToolpath) -> list[tuple[tuple[float, float], tuple[float, float], float]]:
    """(from, to, S) of everything burnt, in order."""
    found = []
    for part in read_segments(made.gcode):
        for piece, kind, power in zip(part.ends.tolist(), part.kinds.tolist(), part.powers.tolist(), strict=True):
            if kind == StrokeKind.WORK:
                found.append(((piece[0], piece[1]), (piece[3], piece[4]), power))
    return found


def test_program_shape_and_lint():
    profile = zoo.laser()
    made = laser.make([Piece(zoo.laser_plate(), 3)], profile, PLY)
    lines = [line for line in made.gcode.decode("ascii").splitlines() if not line.startswith(";")]
    assert lines[0] == "G90 G21 G17 G94"
    assert lines[1] == "M5 S0"
    assert lines[-1] == "M5 S0"
    assert "M4 S0" in lines
    assert not any(line.startswith("M3") for line in lines)
    assert not any("Z" in line for line in lines)
    assert all(len(line) < 80 for line in lines)
    assert lint(made.gcode, MachineLimits.of(profile)) == ()
    assert made.pieces == 3
    assert made.lines == made.gcode.count(b"\n")
    assert made.duration_s > 10.0
    assert "3 mm" in made.work_card


def test_kerf_leaves_the_part_its_size():
    """What remains inside the outline after a beam of the kerf's width is the part, to 0.02 mm."""
    made = laser.make([Piece(zoo.laser_plate())], zoo.laser(), PLY, LaserOptions(lead_in_mm=0.0))
    recipe = laser_recipe("plywood", 3.0, 40.0)
    cuts = [LineString([a, b]) for a, b, power in burnt(made) if power == round(recipe.cut.power * 1000)]
    slot = unary_union(cuts).buffer(recipe.kerf_mm / 2.0, cap_style="square", join_style="mitre")
    outline = Polygon(max((g for g in getattr(slot, "geoms", [slot])), key=lambda g: g.area).interiors[0])
    hole = min((g for g in getattr(slot, "geoms", [slot])), key=lambda g: g.area)
    x0, y0, x1, y1 = outline.bounds
    assert (x1 - x0, y1 - y0) == pytest.approx((80.0, 40.0), abs=0.02)
    hx0, hy0, hx1, hy1 = hole.bounds
    assert (hx1 - hx0, hy1 - hy0) == pytest.approx((10.0, 10.0), abs=0.03)


def test_lead_ins_stay_in_the_waste():
    made = laser.make([Piece(zoo.laser_plate())], zoo.laser(), PLY)
    recipe = laser_recipe("plywood", 3.0, 40.0)
    cut = [(a, b) for a, b, power in burnt(made) if power == round(recipe.cut.power * 1000)]
    everything = MultiLineString([LineString(list(pair)) for pair in cut])
    x0, y0, x1, y1 = everything.bounds
    kerf = recipe.kerf_mm
    lead = 1.5
    assert x1 - x0 <= 80.0 + kerf + lead + 0.01
    assert y1 - y0 <= 40.0 + kerf + lead + 0.01
    longest = sorted(cut, key=lambda pair: -math.dist(*pair))[:4]
    outline = MultiLineString([LineString(list(pair)) for pair in longest]).envelope
    part = outline.buffer(-kerf, join_style="mitre")
    inside = [LineString(list(pair)) for pair in cut if part.contains(LineString(list(pair)))]
    hole = box(*unary_union(inside).bounds)
    assert hole.bounds[2] - hole.bounds[0] == pytest.approx(10.0 - kerf, abs=0.05)


def test_inner_before_outer():
    made = laser.make([Piece(zoo.laser_plate(), 4)], zoo.laser(), PLY, LaserOptions(lead_in_mm=0.0))
    recipe = laser_recipe("plywood", 3.0, 40.0)
    rings: list[list[tuple[float, float]]] = []
    for a, b, power in burnt(made):
        if power != round(recipe.cut.power * 1000):
            continue
        if not rings or rings[-1][-1] != a:
            rings.append([a])
        rings[-1].append(b)
    areas = [Polygon(ring) for ring in rings]
    pairs = [(k, n) for k, a in enumerate(areas) for n, b in enumerate(areas) if k != n and a.contains(b)]
    assert len(areas) == 8
    assert len(pairs) == 4
    assert all(inner < outer for outer, inner in pairs)


def test_forbidden_and_unknown_materials():
    for material, why in (("PVC", "chloride"), ("polycarbonate", "toxic"), ("unobtainium", "does not know")):
        with pytest.raises(CannotMake, match=why):
            laser.make([Piece(zoo.laser_plate())], zoo.laser(), Stock(material, thickness_mm=3.0))


def test_too_large_too_thick_no_thickness_wrong_machine_and_pockets():
    with pytest.raises(CannotMake, match="do not fit"):
        laser.make([Piece(zoo.laser_plate(), 50)], zoo.laser(), PLY)
    with pytest.raises(CannotMake, match="too thick"):
        laser.make([Piece(zoo.laser_plate())], zoo.laser(), Stock("plywood", thickness_mm=25.0))
    with pytest.raises(CannotMake, match="thickness"):
        laser.make([Piece(zoo.laser_plate())], zoo.laser(), Stock("plywood"))
    with pytest.raises(CannotMake, match="cannot run"):
        laser.make([Piece(zoo.laser_plate())], zoo.router(), PLY)
    with pytest.raises(CannotMake, match="pocket"):
        laser.make([Piece(zoo.plate())], zoo.laser(), PLY)


def test_weaker_beam_goes_slower_and_in_more_passes():
    strong = laser_recipe("plywood", 3.0, 80.0)
    normal = laser_recipe("plywood", 3.0, 40.0)
    weak = laser_recipe("plywood", 3.0, 5.0)
    assert strong.cut.speed_mm_min > normal.cut.speed_mm_min > weak.cut.speed_mm_min
    assert weak.cut.passes > normal.cut.passes
    energy = [r.cut.passes * p / r.cut.speed_mm_min for r, p in ((normal, 40.0), (weak, 5.0))]
    assert energy[1] >= 0.9 * energy[0]


def test_hatch_covers_the_area_and_leaves_the_hole():
    rows = hatch([box(0, 0, 20, 10), box(5, 3, 15, 7)], 0.2)
    length = sum(abs(b - a) for row in rows for a, b, _ in row.runs)
    assert length * 0.2 == pytest.approx(200.0 - 40.0, rel=0.01)


def test_engraving_reaches_its_speed_before_it_burns() -> None:
    """Before and after every row there is dark way enough to accelerate, as far as the machine reaches."""
    profile = zoo.laser()
    made = laser.make([Piece(zoo.laser_plate())], profile, PLY)
    recipe = laser_recipe("plywood", 3.0, 40.0)
    needed = overscan_mm(recipe.engrave, profile.accel_mm_s2 or 0.0)
    assert needed == pytest.approx(recipe.engrave.speed_mm_min**2 / 3600.0 / 2000.0 + 0.2)
    rows = np.concatenate([np.column_stack([s.ends, s.powers, s.kinds]) for s in read_segments(made.gcode)])
    power = round(recipe.engrave.power * 1000)
    burnt_at = np.flatnonzero((rows[:, 6] == power) & (rows[:, 7] == int(StrokeKind.WORK)))
    assert len(burnt_at) > 50
    for k in burnt_at.tolist():
        before, after = rows[k - 1], rows[k + 1]
        assert before[6] == after[6] == 0.0
        assert abs(before[3] - before[0]) >= min(needed, before[3]) - 1e-3
        assert abs(after[3] - after[0]) >= min(needed, after[0]) - 1e-3


@pytest.mark.parametrize("method", ["floyd_steinberg", "ordered", "threshold", "grey"])
def test_every_way_to_dither_is_engraved_dark_where_it_is_dark(method: str) -> None:
    image = Image.linear_gradient("L").resize((30, 20))
    out = io.BytesIO()
    image.save(out, "PNG", dpi=(101.6, 101.6))
    made = laser.make(
        [Piece(PartFile("ramp.png", GeometryKind.IMAGE, out.getvalue()))], zoo.laser(), PLY, LaserOptions(dither=method)
    )
    dark, light = 0.0, 0.0
    for (x0, y0), (x1, _), power in burnt(made):
        share = abs(x1 - x0) * power
        dark, light = (dark + share, light) if y0 > 2.5 else (dark, light + share)
    assert dark > 2.0 * light > 0.0 if method != "threshold" else dark > 2.0 * light >= 0.0
    levels = {power for _, _, power in burnt(made)}
    assert (len(levels) > 2) == (method == "grey")


def test_focus_air_and_dynamic_power() -> None:
    made = laser.make([Piece(zoo.laser_plate())], zoo.laser(), PLY, LaserOptions(focus_z_mm=3.5))
    lines = made.gcode.decode().splitlines()
    assert lines.index("G0 Z3.5") < lines.index("M8") < lines.index("M4 S0") < lines.index("M9")
    assert "Z moves to 3.5 mm" in made.work_card
    still = laser.make([Piece(zoo.laser_plate())], zoo.laser(), Stock("paper", thickness_mm=0.5))
    assert b"M8" not in still.gcode
    assert "Focus on the top of the sheet by hand" in still.work_card


@pytest.mark.parametrize("method", ["floyd_steinberg", "ordered", "grey"])
def test_dithering_keeps_the_mean(method: str):
    ramp = np.tile(np.linspace(0.0, 1.0, 128), (64, 1))
    assert dithered(ramp, method).mean() == pytest.approx(0.5, abs=0.02)


def test_picture_is_engraved_within_the_sheet():
    image = Image.new("L", (120, 60), 255)
    image.paste(0, (20, 10, 100, 50))
    out = io.BytesIO()
    image.save(out, "PNG", dpi=(127.0, 127.0))
    profile = zoo.laser()
    made = laser.make([Piece(PartFile("cat.png", GeometryKind.IMAGE, out.getvalue()))], profile, PLY)
    assert lint(made.gcode, MachineLimits.of(profile)) == ()
    xs = [p[0] for a, b, power in burnt(made) if power > 0 for p in (a, b)]
    ys = [a[1] for a, _, power in burnt(made) if power > 0]
    assert max(xs) - min(xs) == pytest.approx(16.0, abs=0.4)
    assert max(ys) - min(ys) == pytest.approx(8.0, abs=0.4)


def test_damaged_picture():
    with pytest.raises(CannotMake, match="cannot be read"):
        laser.make([Piece(PartFile("cat.png", GeometryKind.IMAGE, b"\x89PNG\r\n\x1a\nxxxx"))], zoo.laser(), PLY)


def test_same_drawing_same_program():
    first = laser.make([Piece(zoo.laser_plate(), 4)], zoo.laser(), PLY)
    second = laser.make([Piece(zoo.laser_plate(), 4)], zoo.laser(), PLY)
    assert first.sha256 == second.sha256

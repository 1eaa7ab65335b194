"""V-carving and surfaces, measured against geometry: no flank over the edge, no gouge in a dome."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np
import pytest
import trimesh
from shapely.geometry import LinearRing, Point, box

from designs.processes import cnc, surface, vcarve
from designs.processes.cnc_program import RouterOptions, SurfaceStrategy
from designs.processes.model import (
    CannotMake,
    GeometryKind,
    MachineProfile,
    PartFile,
    Piece,
    ProcessKind,
    Stock,
    ToolSpec,
)
from designs.processes.power_grid import main as grid_main
from designs.processes.power_grid import make_grid
from designs.toolpath import MachineLimits, lint
from designs.toolpath.strokes import read_segments
from tests.designs import drawing_zoo as zoo
from tests.designs.twin_run import grbl, run, stripped

BOARD = Stock("plywood", thickness_mm=12.0, width_mm=300.0, height_mm=300.0)


def machine(*tools: ToolSpec) -> MachineProfile:
    return MachineProfile(
        "carver", ProcessKind.CNC, "grbl", (400.0, 400.0, 80.0), tools, 3000.0, 500.0, spindle_max_rpm=24000.0
    )


V_BIT = ToolSpec(3, "v_bit", 6.0, 2, 60.0)
BALL = ToolSpec(4, "ball_end_mill", 6.0)


def test_v_rings_touch_the_edge_and_never_cross_it():
    area = box(0, 0, 20, 6).union(box(0, 0, 6, 20))
    slope = math.tan(math.radians(30.0))
    found = vcarve.rings(area, 60.0, 5.0)
    edge = area.exterior
    for points, z in found:
        reach = min(edge.distance(Point(p)) for p in points)
        assert -z * slope <= reach + 0.02
    deepest = min(z for _, z in found)
    assert -deepest * slope == pytest.approx(3.0 * math.sqrt(2) / math.sqrt(2), abs=0.6)
    nearest = min(-z * slope for _, z in found)
    assert nearest <= 0.11


def test_v_rings_stop_at_the_deepest():
    assert min(z for _, z in vcarve.rings(box(0, 0, 40, 40), 60.0, 2.0)) == pytest.approx(-2.0)


def test_engraving_only_is_v_carved():
    sign = zoo.svg(zoo.layer("ENGRAVE", '<rect x="10" y="10" width="60" height="8"/>'))
    profile = machine(ToolSpec(1, "flat_end_mill", 3.175), V_BIT)
    made = cnc.make([Piece(sign)], profile, BOARD)
    assert "V-carving" in made.settings
    assert lint(made.gcode, MachineLimits.of(profile)) == ()
    assert made.bounds_mm[2] >= -12.0 * 0.6 - 1e-6
    tips = np.concatenate([s.ends for s in read_segments(made.gcode)])
    deep = tips[(tips[:, 2] < -0.01) & (tips[:, 5] < -0.01)]
    x0, y0 = deep[:, 0].min() - 0.1, deep[:, 1].min() - 0.1
    outline = LinearRing([(x0, y0), (x0 + 60, y0), (x0 + 60, y0 + 8), (x0, y0 + 8)])
    for piece in deep.tolist():
        assert -piece[2] * math.tan(math.radians(30.0)) <= outline.distance(Point(piece[0], piece[1])) + 0.03


def dome(radius: float, cap: float) -> bytes:
    """A spherical cap of height `cap` on a square base, as binary STL."""
    steps = 24
    half = math.sqrt(radius**2 - (radius - cap) ** 2) / math.sqrt(2) * 0.98
    axis = np.linspace(-half, half, steps)
    heights = np.sqrt(radius**2 - axis[:, None] ** 2 - axis[None, :] ** 2) - (radius - cap)
    triangles = []
    for i in range(steps - 1):
        for j in range(steps - 1):
            p = [(axis[a], axis[b], heights[a, b]) for a, b in ((i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1))]
            triangles += [(p[0], p[1], p[2]), (p[0], p[2], p[3])]
    out = bytearray(80) + struct.pack("<I", len(triangles))
    for corners in triangles:
        out += struct.pack("<12fH", 0.0, 0.0, 1.0, *(float(v) for corner in corners for v in corner), 0)
    return bytes(out)


def test_a_dome_is_carved_without_gouging():
    pytest.importorskip("opencamlib", reason="opencamlib is not installed: pip install workshed[cam]")
    radius, cap = 30.0, 5.0
    profile = machine(BALL)
    made = cnc.make([Piece(PartFile("dome.stl", GeometryKind.STL, dome(radius, cap)))], profile, BOARD)
    assert lint(made.gcode, MachineLimits.of(profile)) == ()
    assert made.gcode.decode().splitlines()[-2:] == ["M5 S0", "X0 Y0"]
    tips = np.concatenate([s.ends for s in read_segments(made.gcode)])
    cutting = tips[(tips[:, 5] < 0.0)]
    middle = (cutting[:, 3:5].min(axis=0) + cutting[:, 3:5].max(axis=0)) / 2.0
    ball = BALL.diameter_mm / 2.0
    far = np.hypot(cutting[:, 3] - middle[0], cutting[:, 4] - middle[1])
    inside = far < 12.0
    lowest_allowed = np.sqrt((radius + ball) ** 2 - far[inside] ** 2) - ball - radius
    assert (cutting[inside, 5] >= lowest_allowed - 0.05).all()
    assert (cutting[inside, 5] - lowest_allowed).min() < 0.05


def cone(radius: float, top: float, height: float) -> trimesh.Trimesh:
    """A truncated cone standing on z = 0: walls of atan(height / (radius − top)) from level."""
    ring = np.linspace(0.0, 2 * np.pi, 97)[:-1]
    low = np.column_stack([radius * np.cos(ring), radius * np.sin(ring), np.zeros(96)])
    high = np.column_stack([top * np.cos(ring), top * np.sin(ring), np.full(96, height)])
    mesh = trimesh.convex.convex_hull(np.vstack([low, high]))
    assert mesh.is_watertight
    return mesh


def stl(mesh: trimesh.Trimesh) -> Piece:
    return Piece(PartFile("part.stl", GeometryKind.STL, mesh.export(file_type="stl")))


@pytest.mark.parametrize("strategy", [SurfaceStrategy.ROWS, SurfaceStrategy.WATERLINES])
def test_no_strategy_gouges_where_the_twin_goes(strategy: SurfaceStrategy) -> None:
    """Wherever the twin's bit is seen, the ball is outside the cone, and it touches the walls it finishes."""
    pytest.importorskip("opencamlib", reason="opencamlib is not installed: pip install workshed[cam]")
    radius, top, height = 14.0, 10.0, 9.0
    profile = machine(BALL)
    options = RouterOptions(surface=strategy, scallop_mm=0.1)
    made = cnc.make([stl(cone(radius, top, height))], profile, BOARD, options)
    assert strategy.value in made.settings
    assert lint(made.gcode, MachineLimits.of(profile)) == ()
    seen: list[tuple[float, float, float]] = []
    twin = grbl("router")
    done = run(twin, stripped(made.gcode), window=127, seen=seen)
    assert done.answers == ()
    assert done.position == pytest.approx((0.0, 0.0, 5.0), abs=1e-6)
    assert done.state["spindle"]["power"] == 0.0
    ends = np.concatenate([part.ends for part in read_segments(made.gcode)])
    tips = np.vstack([np.array(seen), ends[:, 3:]])
    middle = BALL.diameter_mm + 1.0 + radius
    ball = BALL.diameter_mm / 2.0
    far = np.hypot(tips[:, 0] - middle, tips[:, 1] - middle)
    up = tips[:, 2] + ball + height
    slope = np.array([radius - top, height]) / math.hypot(radius - top, height)
    off_wall = (far - radius) * slope[1] + up * slope[0]
    beside = (up * slope[1] - (far - radius) * slope[0] > 0.0) & (up * slope[1] - (far - radius) * slope[0] < 9.8)
    assert (off_wall[beside] > ball - 0.03).all()
    over = far < top
    assert (up[over] > height + ball - 0.03).all()
    assert off_wall[beside].min() == pytest.approx(ball, abs=0.03)
    if strategy is SurfaceStrategy.WATERLINES:
        touching = sorted({round(float(z), 2) for z, near, b in zip(tips[:, 2], off_wall, beside, strict=True)
                           if b and abs(near - ball) < 0.03})  # fmt: skip
        gaps = np.diff(touching)
        assert gaps.max() <= surface.step_mm(BALL, 0.1) + 0.02


def test_scallops_decide_the_step() -> None:
    assert surface.step_mm(BALL, 0.02) == pytest.approx(2 * math.sqrt(2 * 3.0 * 0.02 - 0.02**2))
    assert surface.step_mm(BALL, 0.2) > surface.step_mm(BALL, 0.02)
    assert surface.step_mm(ToolSpec(1, "flat_end_mill", 4.0), 0.02) == pytest.approx(0.48)


def test_steepness_chooses_the_strategy() -> None:
    steep, gentle = np.asarray(cone(12.0, 10.0, 10.0).triangles), np.asarray(cone(30.0, 5.0, 6.0).triangles)
    assert surface.strategies(SurfaceStrategy.BY_STEEPNESS, steep) == (
        SurfaceStrategy.ROWS,
        SurfaceStrategy.WATERLINES,
    )
    assert surface.strategies(SurfaceStrategy.BY_STEEPNESS, gentle) == (SurfaceStrategy.ROWS,)
    assert surface.strategies(SurfaceStrategy.WATERLINES, gentle) == (SurfaceStrategy.WATERLINES,)


def test_waterline_of_a_box_is_its_outline_grown_by_the_bit():
    pytest.importorskip("opencamlib", reason="opencamlib is not installed: pip install workshed[cam]")
    block = trimesh.creation.box(extents=(20, 10, 8))
    triangles = np.asarray(block.triangles) - np.array([0.0, 0.0, 4.0])
    work = surface.carving(triangles, ToolSpec(1, "flat_end_mill", 4.0))
    (loop,) = surface.waterline(work, -4.0)
    assert loop[:, 0].max() - loop[:, 0].min() == pytest.approx(24.0, abs=0.05)
    assert loop[:, 1].max() - loop[:, 1].min() == pytest.approx(14.0, abs=0.05)


def test_surfaces_that_cannot_be_carved():
    mesh = PartFile("dome.stl", GeometryKind.STL, dome(30.0, 5.0))
    with pytest.raises(CannotMake, match="too high"):
        cnc.make([Piece(mesh)], machine(BALL), Stock("plywood", thickness_mm=4.0))
    with pytest.raises(CannotMake, match="one by one"):
        cnc.make([Piece(mesh, 2)], machine(BALL), BOARD)
    with pytest.raises(CannotMake, match="no milling bit"):
        cnc.make([Piece(mesh)], machine(V_BIT), BOARD)
    with pytest.raises(CannotMake, match="does not fit"):
        cnc.make([Piece(mesh)], machine(BALL), Stock("plywood", thickness_mm=12.0, width_mm=20.0, height_mm=20.0))


def test_thinning_keeps_the_shape():
    x = np.linspace(0.0, 10.0, 200)
    points = np.column_stack([x, np.zeros(200), np.sin(x)])
    thin = surface.thinned(points)
    assert len(thin) < 150
    back = np.interp(x, thin[:, 0], thin[:, 2])
    assert np.abs(back - points[:, 2]).max() <= 0.0045
    flat = surface.thinned(np.column_stack([x, np.zeros(200), np.zeros(200)]))
    assert len(flat) == 2


@pytest.mark.parametrize("cut", [False, True])
def test_power_grid(cut: bool):
    profile = zoo.laser()
    made = make_grid(profile, Stock("plywood", thickness_mm=3.0), (0.1, 0.5, 1.0), (1200.0, 3000.0), cut=cut)
    assert lint(made.gcode, MachineLimits.of(profile)) == ()
    text = made.gcode.decode()
    for word in ("S100", "S500", "S1000", "F1200", "F3000"):
        assert word in text
    assert text.rstrip().endswith("M5 S0")
    with pytest.raises(CannotMake, match="does not fit"):
        make_grid(profile, Stock("plywood", thickness_mm=3.0), [k / 40 for k in range(1, 40)])
    with pytest.raises(CannotMake, match="chloride"):
        make_grid(profile, Stock("pvc", thickness_mm=3.0))


def test_a_grid_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "grid.nc"
    assert grid_main(["plywood", "3", str(out), "--watts", "40", "--bed", "300x200"]) == 0
    assert lint(out.read_bytes(), MachineLimits.of(zoo.laser())) == ()
    assert "Columns: power in percent" in capsys.readouterr().out
    assert grid_main(["pvc", "3", str(out), "--watts", "40"]) == 1
    assert "chloride" in capsys.readouterr().err

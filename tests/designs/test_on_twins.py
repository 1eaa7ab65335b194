"""Programs made here run on the matching twin: no complaint, an end where it should be, the time that was estimated."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from designs.processes import cnc, laser
from designs.processes.model import GeometryKind, PartFile, Piece, Stock
from designs.toolpath import estimate
from firmware_bridges.twins.run import TwinOptions, make_twin
from tests.designs import drawing_zoo as zoo
from tests.designs.twin_run import MARLIN_TWIN, grbl, grbl_kinematics, run, stripped

PLY = Stock("plywood", thickness_mm=6.0, width_mm=350.0, height_mm=300.0)


def picture() -> PartFile:
    image = Image.linear_gradient("L").resize((40, 20))
    out = io.BytesIO()
    image.save(out, "PNG", dpi=(101.6, 101.6))
    return PartFile("ramp.png", GeometryKind.IMAGE, out.getvalue())


@pytest.mark.parametrize("what", ["plate", "picture"])
def test_laser_program_on_the_laser_twin(what: str):
    piece = Piece(zoo.laser_plate(), 2) if what == "plate" else Piece(picture())
    made = laser.make([piece], zoo.laser(), Stock("plywood", thickness_mm=3.0, width_mm=300.0, height_mm=200.0))
    twin = grbl("laser")
    lines = stripped(made.gcode)
    done = run(twin, lines, window=127)
    assert done.answers == ()
    assert done.state["consumed"] == len(lines)
    assert done.position == pytest.approx((0.0, 0.0, 0.0), abs=1e-6)
    assert done.state["spindle"]["power"] == 0.0
    assert done.state["stationary_burn_ms"] == 0.0
    assert estimate(made.gcode, grbl_kinematics(twin)).duration_s == pytest.approx(done.seconds, rel=0.05)


def test_router_program_on_the_router_twin():
    made = cnc.make([Piece(zoo.plate())], zoo.router(), PLY)
    twin = grbl("router")
    lines = stripped(made.gcode)
    done = run(twin, lines, window=127)
    assert done.answers == ()
    assert done.state["consumed"] == len(lines)
    assert done.position == pytest.approx((0.0, 0.0, 5.0), abs=1e-6)
    assert done.state["spindle"]["power"] == 0.0
    assert estimate(made.gcode, grbl_kinematics(twin)).duration_s == pytest.approx(done.seconds, rel=0.05)


def test_a_print_on_the_marlin_twin():
    layers = "".join(
        f"G1 Z{0.2 * (k + 1):.2f} F300\nG1 X20 Y20 F6000\n"
        + "".join(f"G1 X{x} Y{y} E{0.05 * (4 * k + n + 1):.3f} F1800\n" for n, (x, y) in enumerate(
            [(60, 20), (60, 60), (20, 60), (20, 20)]))
        for k in range(5)
    )  # fmt: skip
    text = (
        f"M140 S50\nM104 S200\nG28\nM190 S50\nM109 S200\nG90\nM82\nG92 E0\n{layers}M104 S0\nM140 S0\nG1 X0 Y180 F6000\n"
    )
    twin = make_twin(TwinOptions("marlin"))
    done = run(twin, stripped(text.encode()), window=90)
    assert estimate(text.encode(), MARLIN_TWIN).duration_s == pytest.approx(done.seconds, rel=0.08)
    assert done.position[:2] == pytest.approx((0.0, 180.0), abs=1e-6)

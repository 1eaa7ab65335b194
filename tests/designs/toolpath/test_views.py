"""Pictures, previews and slices of programs."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from PIL import Image

from designs.processes import cnc
from designs.processes.model import Piece, Stock
from designs.toolpath import picture, preview
from designs.toolpath.picture import picture_svg
from designs.toolpath.program_bounds import motion_bounds
from designs.toolpath.slices import from_line, state_at
from tests.designs import drawing_zoo as zoo

SQUARE = b"G90 G21\nM4 S500\nG0 X10 Y10\nG1 X60 F1000\nY40\nX10\nY10\nM5\nG0 X0 Y0\n"


def test_picture_shows_the_square_and_nothing_else():
    image = Image.open(io.BytesIO(picture(SQUARE, width_px=200, height_px=160))).convert("L")
    assert image.size == (200, 160)
    dark = image.point(lambda v: 255 if v < 170 else 0).getbbox()
    assert dark is not None
    width, height = dark[2] - dark[0], dark[3] - dark[1]
    assert width / height == pytest.approx(50 / 30, rel=0.03)
    assert image.getpixel((100, 80)) > 200


def test_a_hole_drilled_straight_down_is_seen():
    holes = b"".join(b"G0 X%d Y%d\nG1 Z-6 F100\nG0 Z5\n" % spot for spot in ((10, 10), (50, 10), (10, 40)))
    drilled = b"G90 G21\nM3 S500\nG0 Z5\n" + holes + b"M5\n"
    image = Image.open(io.BytesIO(picture(drilled, width_px=200, height_px=160))).convert("L")
    ink = sum(count for count, value in image.getcolors(1000) or [] if value < 120)
    assert 15 < ink < 200


def test_picture_of_nothing_is_an_empty_sheet():
    assert len(Image.open(io.BytesIO(picture(b"; nothing\n"))).getcolors() or []) == 1
    assert picture_svg(b"").startswith(b"<svg")


def test_svg_picture_holds_work_and_travel():
    text = picture_svg(SQUARE).decode()
    work = text.split('stroke="#1a365d"')[1]
    assert work.count("M") == 4
    assert text.split('stroke="#1a365d"')[0].count("L") == 2


def test_preview_rebuilds_the_positions():
    whole = json.loads(preview(SQUARE))
    runs = whole["runs"]
    assert [run["kind"] for run in runs] == ["travel", "work", "travel"]
    points, at = [], [0, 0, 0]
    flat = runs[1]["points"]
    for k in range(0, len(flat), 3):
        at = [a + d for a, d in zip(at, flat[k : k + 3], strict=True)]
        points.append(
            tuple(round(o + v * whole["unit_um"] / 1000, 3) for o, v in zip(whole["origin_mm"], at, strict=True))
        )
    assert points == [(10, 10, 0), (60, 10, 0), (60, 40, 0), (10, 40, 0), (10, 10, 0)]
    assert runs[1]["line"] == 4


def test_preview_of_many_moves_is_thinned():
    data = b"G1 F600\n" + b"".join(b"G1 X%d Y%d\n" % (k % 97, k % 89) for k in range(30_000))
    assert len(json.loads(preview(data, most_points=3000))["runs"][0]["points"]) <= 3 * 3100


def test_bounds_include_arcs():
    assert motion_bounds(b"G0 X10 Y0\nG3 X-10 Y0 I-10 J0 F100\n") == pytest.approx((-10, 0, 0, 10, 10, 0))
    assert motion_bounds(b"G0 X10 Y0\nG2 X10 Y0 I-10 J0 F100\n") == pytest.approx((-10, -10, 0, 10, 10, 0))
    assert motion_bounds(b"; none\n") == (0.0,) * 6


GOLDEN = Path(__file__).parent.parent / "golden"


@pytest.mark.parametrize("line", [8, 60, 200])
def test_slices_match_their_golden_files(line: int):
    """The program from a line on, as it was reviewed once; `golden/` holds program and slices."""
    program = (GOLDEN / "router.nc").read_bytes()
    wanted = (GOLDEN / f"router-from-{line}.nc").read_bytes()
    assert from_line(program, line) == wanted


def test_the_router_still_makes_its_golden_file():
    made = cnc.make([Piece(zoo.plate())], zoo.router(), Stock("plywood", thickness_mm=6.0))
    assert made.gcode == (GOLDEN / "router.nc").read_bytes()


@pytest.mark.parametrize("line", [30, 100, 250])
def test_a_slice_ends_where_the_program_ends_and_lifts_first(line: int):
    program = (GOLDEN / "router.nc").read_bytes()
    whole = state_at(program, program.count(b"\n"))
    part = from_line(program, line)
    last = state_at(part, part.count(b"\n"))
    assert (last.x_mm, last.y_mm, last.z_mm, last.spin) == (whole.x_mm, whole.y_mm, whole.z_mm, whole.spin)
    before = state_at(program, line)
    head = part.split(b"\n")[:6]
    assert head[:2] == [b"G90 G21 G17 G94", b"M5 S0"]
    assert head[2].startswith(b"G0 Z")
    assert head[3].startswith(b"G0 X")
    assert (head[4] == b"M3 S667") == (before.spin == 3)


def test_slices_refuse_what_cannot_be_done():
    with pytest.raises(ValueError, match="count from 1"):
        from_line(SQUARE, 0)
    with pytest.raises(ValueError, match="after the program"):
        from_line(SQUARE, 99)
    with pytest.raises(ValueError, match="print"):
        from_line(SQUARE, 3, "marlin")


def test_state_carries_units_distance_and_plane():
    state = state_at(b"G20 G91 G18\nG1 X1 F10\nX1\n", 3)
    assert (state.x_mm, state.inches, state.absolute, state.plane) == (25.4, True, False, 18)
    assert from_line(b"G20 G91 G18\nG1 X1 F10\nX1\n", 3, safe_z_mm=None).startswith(
        b"G90 G20 G18 G94\nM5 S0\nG0 X1 Y0\nF10\nG1\nG91\n"
    )


def test_a_laser_slice_goes_on_burning():
    assert from_line(SQUARE, 6, safe_z_mm=None) == (
        b"G90 G21 G17 G94\nM5 S0\nG0 X60 Y40\nM4 S500\nF1000\nG1\nX10\nY10\nM5\nG0 X0 Y0\n"
    )


def test_a_slice_within_an_arc_chain_is_refused():
    chain = b"G90\nM4 S5\nG2 X10 I5 F100\nX20 I5\nG1 X0\nM5\n"
    with pytest.raises(ValueError, match="arc"):
        from_line(chain, 4)
    assert b"G1 X0" in from_line(chain, 5)

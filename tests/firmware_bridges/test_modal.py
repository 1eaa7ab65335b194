"""What a program means: modal state, positions, arcs, refusals."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridges.arcs import Arc, by_offsets, by_radius
from firmware_bridges.modal import Dialect, Dwell, Homing, Motion, Offsets, Problem, Step, Stop, interpreter


def run(dialect: Dialect, *lines: str, offsets: Offsets | None = None) -> list[Step]:
    reader = interpreter(dialect, offsets=offsets)
    return [reader.step(line) for line in lines]


def last(dialect: Dialect, *lines: str, offsets: Offsets | None = None) -> Motion:
    step = run(dialect, *lines, offsets=offsets)[-1]
    assert isinstance(step, Motion), step
    return step


def test_units_and_distance_mode_hold_for_later_lines() -> None:
    assert last(Dialect.GRBL, "G20 G91 F10", "G1 X1", "X1 Y-0.5").end == pytest.approx((50.8, -12.7, 0))
    assert last(Dialect.GRBL, "G21 G90", "G0 X5", "(G91) ; G91", "x7").end == (7, 0, 0)


def test_work_systems_and_g92_add_up_to_machine_coordinates() -> None:
    offsets = Offsets(systems=((10, 20, 30), (-100, 0, 0), *[(0.0, 0.0, 0.0)] * 4), g92=(1, 1, 1))
    assert last(Dialect.GRBL, "G0 X1", offsets=offsets).end == (12, 0, 0)
    assert last(Dialect.GRBL, "G0 X1", "G55 Y2", offsets=offsets).end == (12, 3, 0)
    assert last(Dialect.GRBL, "G92.1", "G0X0", offsets=offsets).end == (10, 0, 0)
    moved = interpreter(Dialect.GRBL, (5, 5, 5))
    moved.step("G92 X0 Y0")
    step = moved.step("G0 X1 Y1")
    assert isinstance(step, Motion)
    assert step.end == (6, 6, 5)
    assert moved.state().position[:2] == (1, 1)


def test_g53_moves_in_machine_coordinates_for_one_line() -> None:
    offsets = Offsets(systems=((10, 0, 0), *[(0.0, 0.0, 0.0)] * 5))
    move = last(Dialect.GRBL, "G53 G0 X3", offsets=offsets)
    assert (move.end, move.elsewhere) == ((3, 0, 0), True)


@pytest.mark.parametrize(
    ("lines", "number"),
    [
        (["G5"], 20),
        (["Q"], 2),
        (["G1X1"], 22),
        (["G1F0X1"], 22),
        (["G2X1F100"], 35),
        (["G0 X1 X2"], 25),
        (["S-1"], 4),
        (["1X"], 1),
        (["G0 G1 X1"], 21),
        (["G92 G0 X1"], 24),
        (["G92"], 26),
        (["G53 G2 X1 I1 F1"], 30),
        (["G2 F1 I1"], 32),
        (["G2 F1 X10 R1"], 34),
        (["G2 F1 X10 I1"], 33),
        (["G4"], 28),
        (["G93", "G1 X1 F2", "X2"], 22),
        (["G80", "X1"], 31),
        (["M6.5"], 20),
        (["G0 X1_0"], 2),
        (["G0 X"], 2),
    ],
)
def test_lines_that_grbl_refuses_come_back_with_its_number(lines: list[str], number: int) -> None:
    step = run(Dialect.GRBL, *lines)[-1]
    assert isinstance(step, Problem)
    assert step.number == number


def test_a_refused_line_changes_nothing() -> None:
    reader = interpreter(Dialect.GRBL)
    reader.step("G21 G90 M4 S100 G1 F500 X1 Y1")
    before = (reader.position, reader.state())
    for bad in ("G20 G91 S5 M5 G2 X9 I1", "G91 X1 X2", "G55 G92", "M5 G38.2 Z-5"):
        assert isinstance(reader.step(bad), Problem)
        assert (reader.position, reader.state()) == before


def test_program_end_falls_back_to_the_defaults_of_grbl() -> None:
    reader = interpreter(Dialect.GRBL)
    for line in ("G20 G91 G18 G55 M3 S10 M8 G1 F10 X1",):
        reader.step(line)
    assert reader.step("M30") == Stop("M30", final=True)
    state = reader.state()
    assert (state.absolute, state.plane, state.system, state.spindle, state.flood) == (True, 17, 54, "M5", False)
    assert not state.millimetres


def test_beam_is_on_only_when_feeding_with_spindle_and_value() -> None:
    steps = run(Dialect.GRBL, "M4 S0 F100", "G1 X1", "G1 X2 S5", "G0 X3", "G4 P1", "M5", "G1 X4")
    beams = [step.beam_on for step in steps if isinstance(step, Motion)]
    assert beams == [False, True, False, False]
    assert steps[4] == Dwell(1.0, beam_on=True)


@given(
    st.tuples(*[st.floats(-50, 50)] * 2),
    st.floats(0.5, 40),
    st.floats(-math.pi, math.pi),
    st.floats(0.01, 2 * math.pi),
    st.booleans(),
)
def test_the_extent_of_an_arc_holds_all_of_it_and_is_tight(
    centre: tuple[float, float], radius: float, angle: float, turn: float, clockwise: bool
) -> None:
    start = (centre[0] + radius * math.cos(angle), centre[1] + radius * math.sin(angle), 0.0)
    to = angle - turn if clockwise else angle + turn
    end = (centre[0] + radius * math.cos(to), centre[1] + radius * math.sin(to), 3.0)
    arc = by_offsets(start, end, 17, clockwise, centre[0] - start[0], centre[1] - start[1])
    assert isinstance(arc, Arc)
    low, high = arc.extent()
    points = [arc.at(i / 400) for i in range(401)]
    for axis in range(3):
        assert low[axis] == pytest.approx(min(p[axis] for p in points), abs=radius * 1e-3 + 1e-6)
        assert high[axis] == pytest.approx(max(p[axis] for p in points), abs=radius * 1e-3 + 1e-6)
        assert low[axis] <= min(p[axis] for p in points) + 1e-9
    middle = arc.at(0.4)
    assert arc.share_near(middle) == pytest.approx(0.4, abs=1e-6)


def test_radius_arcs_take_the_short_or_the_long_way() -> None:
    short = by_radius((0, 0, 0), (10, 0, 0), 17, True, 10)
    long = by_radius((0, 0, 0), (10, 0, 0), 17, True, -10)
    assert isinstance(short, Arc)
    assert isinstance(long, Arc)
    assert short.sweep == pytest.approx(-math.pi / 3)
    assert long.sweep == pytest.approx(-2 * math.pi + math.pi / 3)


def test_a_full_circle_reaches_all_four_sides() -> None:
    move = last(Dialect.GRBL, "G2 X0 Y0 I10 F100")
    assert move.low == pytest.approx((0, -10, 0))
    assert move.high == pytest.approx((20, 10, 0))
    assert move.distance_mm((10, 0, 0)) == pytest.approx(10)


# --- printers ------------------------------------------------------------------------------------------------------


def test_a_printer_follows_extrusion_temperatures_and_homing() -> None:
    reader = interpreter(Dialect.PRINTER)
    for line in ("M104 S210 ; warm", "M140 S60", "M109 S205", "M82", "G92 E0", "M106 S128", "M204 P500", "T1"):
        assert reader.step(line) is None, line
    assert reader.step("G28 X Y") == Homing("XY")
    first = reader.step("G1 X10 Y0 E1.5 F1200")
    second = reader.step("G1 X20 E2")
    assert isinstance(first, Motion)
    assert isinstance(second, Motion)
    assert (first.extruded_mm, second.extruded_mm) == (1.5, 0.5)
    state = reader.state()
    assert state.hotends_c == ((0, 205.0),)
    assert (state.bed_c, state.tool, state.fans, state.sticky) == (60, 1, ((0, 128.0),), (("M204", "M204 P500"),))


def test_text_and_numbered_lines_are_not_taken_for_motion() -> None:
    steps = run(Dialect.PRINTER, "M117 G1 X100", "N12 G1 X5*99", "EXCLUDE_OBJECT_START NAME=x", "M486 Apart X5")
    assert steps[0] is None
    assert isinstance(steps[1], Motion)
    assert steps[1].end[0] == 5
    assert isinstance(steps[2], Problem)
    assert steps[2].unknown
    assert steps[3] is None


def test_relative_extrusion_and_g92() -> None:
    move = last(Dialect.PRINTER, "G90", "M83", "G92 X100 Y100", "G1 X101 E0.4", "G91", "G1 X1 E0.2")
    assert move.end == (102, 100, 0)
    assert move.extruded_mm == 0.2


@given(st.text(max_size=60))
def test_no_text_makes_an_interpreter_raise(text: str) -> None:
    for dialect in Dialect:
        interpreter(dialect).step(text)

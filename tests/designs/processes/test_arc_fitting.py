"""Arcs stay within their tolerance of the line, go the same way round, and what is drawn with corners keeps them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import LineString

from designs.processes import cnc, laser
from designs.processes.arc_fitting import TOLERANCE_MM, Arc, Point, Straight, fitted
from designs.processes.cnc import RouterOptions
from designs.processes.gcode_writer import GcodeWriter
from designs.processes.laser import LaserOptions
from designs.processes.model import Piece, Stock
from designs.toolpath.strokes import read_segments
from tests.designs import drawing_zoo as zoo
from tests.designs.twin_run import grbl, run, stripped

GOLDEN = Path(__file__).parent.parent / "golden"
PLY = Stock("plywood", thickness_mm=3.0, width_mm=300.0, height_mm=200.0)
BOARD = Stock("plywood", thickness_mm=6.0, width_mm=350.0, height_mm=300.0)


def ring(radius: float, count: int, turn: float = 2 * math.pi) -> list[Point]:
    return [(radius * math.cos(turn * k / count), radius * math.sin(turn * k / count)) for k in range(count + 1)]


def walked(start: Point, steps: list[Straight | Arc]) -> LineString:
    """The way as fine chords."""
    points = [start]
    for step in steps:
        if isinstance(step, Straight):
            points.append(step.end)
            continue
        (x, y), at = step.centre, points[-1]
        first = math.atan2(at[1] - y, at[0] - x)
        sweep = (math.atan2(step.end[1] - y, step.end[0] - x) - first) % (2 * math.pi)
        sweep -= 2 * math.pi if step.clockwise else 0.0
        radius = math.dist(at, step.centre)
        points += [(x + radius * math.cos(first + sweep * k / 64), y + radius * math.sin(first + sweep * k / 64))
                   for k in range(1, 64)]  # fmt: skip
        points.append(step.end)
    return LineString(points)


def test_a_flattened_circle_is_a_few_arcs_of_its_own_radius() -> None:
    steps = fitted(ring(10.0, 72))
    assert 2 <= len(steps) <= 3
    for step in steps:
        assert isinstance(step, Arc)
        assert not step.clockwise
        assert step.centre == pytest.approx((0.0, 0.0), abs=1e-6)
    backward = fitted(ring(10.0, 72)[::-1])
    assert all(isinstance(step, Arc) and step.clockwise for step in backward)


@pytest.mark.parametrize("points", [ring(20.0, 6), ring(20.0, 24), [(float(k), 0.0) for k in range(40)]])
def test_polygons_and_straight_lines_stay_what_they_are(points: list[Point]) -> None:
    assert fitted(points) == [Straight(k, p) for k, p in enumerate(points) if k]


def test_a_tolerance_of_nothing_keeps_the_lines() -> None:
    assert fitted(ring(10.0, 72), 0.0) == [Straight(k, p) for k, p in enumerate(ring(10.0, 72)) if k]


pieces = st.lists(
    st.tuples(st.floats(-3.0, 3.0), st.floats(0.3, 80.0), st.integers(1, 60), st.floats(0.0, 0.004)),
    min_size=1,
    max_size=5,
)


@settings(max_examples=80, deadline=None)
@given(pieces)
def test_the_way_is_the_same_within_the_tolerance(parts: list[tuple[float, float, int, float]]) -> None:
    points: list[Point] = [(0.0, 0.0)]
    heading, x, y = 0.0, 0.0, 0.0
    for turn, length, count, wobble in parts:
        for k in range(count):
            heading += turn / count
            side = wobble * (1 if k % 2 else -1)
            x, y = x + length / count * math.cos(heading), y + length / count * math.sin(heading)
            points.append((x - side * math.sin(heading), y + side * math.cos(heading)))
    steps = fitted(points)
    assert steps[-1].end == points[-1]
    assert all(step.end == points[step.to] for step in steps)
    assert len(steps) <= len(points) - 1
    drawn, made = LineString(points), walked(points[0], steps)
    assert all(made.distance(p) <= TOLERANCE_MM + 1e-6 for p in _points(drawn))
    assert all(drawn.distance(p) <= TOLERANCE_MM + 1e-6 for p in _points(made))


def _points(line: LineString):  # type: ignore[no-untyped-def]
    from shapely.geometry import Point as Spot

    return [Spot(p) for p in line.coords]


def test_arcs_are_written_from_where_the_tool_really_is() -> None:
    """Rounded ends must still fit the centre to 0.005 mm, or the controller refuses the arc (error 33)."""
    writer = GcodeWriter()
    points = [(x * 1.00037 + 3.33333, y * 1.00037 + 7.77777) for x, y in ring(7.123456, 90)]
    writer.rapid(*points[0])
    writer.follow(points, feed_mm_min=600.0, power=300.0, arcs_within_mm=TOLERANCE_MM)
    writer.feed(0.0, 0.0, feed_mm_min=600.0, power=300.0)
    lines = writer.gcode().decode().splitlines()
    assert lines[0].startswith("G0 X")
    assert all(line.startswith("G3 X") and " I" in line and " J" in line for line in lines[1:-1])
    assert lines[1].endswith("F600 S300")
    assert lines[-1] == "G1 X0 Y0"
    twin = grbl("laser")
    done = run(twin, ["G90 G21 G17", "M4 S0", *lines, "M5 S0"], window=127)
    assert done.answers == ()
    assert done.position == pytest.approx((0.0, 0.0, 0.0), abs=1e-6)


def _way(gcode: bytes) -> np.ndarray:
    return np.concatenate([part.ends for part in read_segments(gcode)])


@pytest.mark.parametrize("process", ["laser", "router"])
def test_programs_with_arcs_follow_those_without(process: str) -> None:
    """Fewer lines, the same way to 0.03 mm, and the twin ends at the origin with the tool off."""
    if process == "laser":
        arcs = laser.make([Piece(zoo.laser_plate(), 2)], zoo.laser(), PLY)
        lines = laser.make([Piece(zoo.laser_plate(), 2)], zoo.laser(), PLY, LaserOptions(arcs_within_mm=0.0))
    else:
        arcs = cnc.make([Piece(zoo.plate())], zoo.router(), BOARD)
        lines = cnc.make([Piece(zoo.plate())], zoo.router(), BOARD, RouterOptions(arcs_within_mm=0.0))
    assert b"G2" in arcs.gcode or b"G3" in arcs.gcode
    assert b"G2 " not in lines.gcode
    assert b"G3 " not in lines.gcode
    assert arcs.lines < 0.85 * lines.lines
    assert arcs.bounds_mm == pytest.approx(lines.bounds_mm, abs=0.03)
    one, other = (LineString(_way(made.gcode)[:, 3:5]) for made in (arcs, lines))
    assert one.hausdorff_distance(other) < 0.03
    assert one.length == pytest.approx(other.length, rel=0.002)
    assert arcs.duration_s == pytest.approx(lines.duration_s, rel=0.05)
    done = run(grbl(process), stripped(arcs.gcode), window=127)
    assert done.answers == ()
    assert done.position[:2] == pytest.approx((0.0, 0.0), abs=1e-6)
    assert done.state["spindle"]["power"] == 0.0


def test_the_laser_still_makes_its_golden_file() -> None:
    made = laser.make([Piece(zoo.laser_plate())], zoo.laser(), PLY)
    assert made.gcode == (GOLDEN / "laser.nc").read_bytes()

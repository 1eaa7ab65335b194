"""Time: closed forms for simple motion, monotonic tables and compact tables that agree."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from designs.processes.model import MachineProfile, ProcessKind
from designs.toolpath import Consumers, Kinematics, ProgressTable, compact, estimate, usage
from designs.toolpath.usage import filament_mass_g

MACHINE = Kinematics(max_speed_mm_s=(100.0, 100.0, 10.0, 100.0), max_accel_mm_s2=(500.0, 500.0, 100.0, 500.0))


def seconds(text: str, kinematics: Kinematics = MACHINE) -> float:
    return estimate(text.encode(), kinematics).duration_s


def test_trapezoid_and_triangle_by_hand():
    assert seconds("G1 X100 F3000\n") == pytest.approx(100 / 50 + 50 / 500)
    assert seconds("G1 X1 F6000\n") == pytest.approx(2 * math.sqrt(1 / 500))
    assert seconds("G0 X100\n") == pytest.approx(100 / 100 + 100 / 500)


def test_axis_limits_hold_along_the_direction():
    assert seconds("G1 Z10 F6000\n") == pytest.approx(10 / 10 + 10 / 100)
    diagonal = seconds("G0 X100 Y100\n")
    assert diagonal == pytest.approx(100 / 100 + 100 / 500)


def test_a_straight_line_in_pieces_takes_as_long_as_whole():
    whole = seconds("G1 X100 F3000\n")
    pieces = "G1 F3000\n" + "".join(f"G1 X{k}\n" for k in range(1, 101))
    assert seconds(pieces) == pytest.approx(whole, rel=1e-6)


def test_a_short_queue_makes_tiny_segments_slow():
    pieces = "G1 F6000\n" + "".join(f"G1 X{k / 50:.2f}\n" for k in range(1, 5001))
    slow, fast = seconds(pieces, replace(MACHINE, queue_blocks=4)), seconds(pieces, replace(MACHINE, queue_blocks=100))
    assert slow > 2.0 * fast


def test_a_reversal_stops_and_a_corner_slows():
    there_and_back = seconds("G1 X50 F3000\nG1 X0\n")
    assert there_and_back == pytest.approx(2 * seconds("G1 X50 F3000\n"))
    corner = seconds("G1 X50 F3000\nG1 X50 Y50\n")
    straight = seconds("G1 X100 F3000\n")
    assert straight < corner < there_and_back


def test_junction_speed_is_that_of_the_deviation():
    """A right angle: v² = a·δ·sin(θ/2) / (1 − sin(θ/2)) with a along the change of direction (grbl/planner.c)."""
    table = estimate(b"G1 X50 F3000\nG1 X50 Y50\n", MACHINE)
    accel = 500.0 * math.sqrt(2.0)
    half = math.sqrt(0.5)
    v = math.sqrt(accel * 0.01 * half / (1 - half))
    one = 50 / 50 + 50 / (2 * 500) + (50 - v) ** 2 / (2 * 500 * 50)
    assert table.duration_s == pytest.approx(2 * one, rel=1e-6)


def test_dwell_tool_change_and_inches():
    assert seconds("G4 P1.5\n") == pytest.approx(1.5)
    assert seconds("G4 P1500\n", replace(MACHINE, dialect="marlin")) == pytest.approx(1.5)
    assert seconds("T2 M6\n") == pytest.approx(60.0)
    assert seconds("G20\nG1 X1 F100\n") == pytest.approx(seconds("G1 X25.4 F2540\n"))


def test_heating_is_waited_for_once():
    printer = replace(MACHINE, dialect="marlin", nozzle_c_s=2.0, bed_c_s=1.0, residency_s=0.0)
    assert seconds("M109 S222\n", printer) == pytest.approx(100.0)
    assert seconds("M104 S222\nM190 S62\nM109 S222\n", printer) == pytest.approx(100.0)
    assert seconds("M109 S222\nM109 S222\n", printer) == pytest.approx(100.0)


def test_program_limits_are_obeyed_where_the_firmware_does():
    printer = replace(MACHINE, dialect="marlin", accel_mm_s2=500.0)
    assert seconds("M204 P50 T50\nG1 X100 F6000\n", printer) > 1.5 * seconds("G1 X100 F6000\n", printer)
    deaf = replace(printer, obeys_program=False)
    assert seconds("M204 P50 T50\nG1 X100 F6000\n", deaf) == pytest.approx(seconds("G1 X100 F6000\n", deaf))


def test_limits_read_from_the_machine():
    grbl = Kinematics.from_grbl([("$110", "6000.000"), ("$120", "250.000"), ("$11", "0.020"), ("$32", "1"), ("x", "?")])
    assert grbl.max_speed_mm_s[0] == 100.0
    assert grbl.max_accel_mm_s2[0] == 250.0
    assert grbl.junction_deviation_mm == 0.02
    marlin = Kinematics.from_marlin(
        "echo:  M201 X1000.00 Y900.00 Z100.00 E5000.00\necho:  M203 X200.00 Y150.00 Z5.00 E25.00\n"
        "echo:  M204 P800.00 R700.00 T1200.00\necho:  M205 B20000.00 S0.00 T0.00 J0.02\n"
    )
    assert marlin.max_accel_mm_s2 == (1000.0, 900.0, 100.0, 5000.0)
    assert marlin.max_speed_mm_s == (200.0, 150.0, 5.0, 25.0)
    assert (marlin.accel_mm_s2, marlin.travel_accel_mm_s2, marlin.retract_accel_mm_s2) == (800.0, 1200.0, 700.0)
    assert marlin.junction_deviation_mm == 0.02
    assert marlin.jerk_mm_s is None


def test_profiles_give_limits():
    printer = MachineProfile("p", ProcessKind.FDM, "marlin", (200, 200, 200), max_feed_mm_min=6000, accel_mm_s2=800)
    assert Kinematics.of(printer).accel_mm_s2 == 800
    laser = MachineProfile("l", ProcessKind.LASER, "grbl", (300, 200, 0))
    assert Kinematics.of(laser).max_speed_mm_s[2] == Kinematics.of(laser).max_speed_mm_s[0]


PROGRAM = b"G90 G21\n" + b"".join(b"G1 X%d Y%d F%d\n" % (k * 7 % 100, k * 13 % 90, 500 + k % 3000) for k in range(3000))


def test_the_table_is_monotonic_and_ends_at_the_duration():
    table = estimate(PROGRAM, MACHINE)
    times = [table.at_line(n) for n in range(3002)]
    assert times == sorted(times)
    assert times[-1] == table.duration_s
    assert table.remaining_s(0) == pytest.approx(table.duration_s, rel=0.01)
    assert table.total_lines == 3001


def test_the_compact_table_is_small_and_agrees():
    table = estimate(PROGRAM, MACHINE)
    data = compact(table)
    assert len(data) < 6000
    assert json.loads(data)["v"] == 1
    read = ProgressTable(data)
    worst = max(abs(read.elapsed_s(n) - table.at_line(n)) for n in range(3002))
    assert worst < 0.01 * table.duration_s
    assert read.remaining_s(3001) == 0.0


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b'{"v":2}', b"\xff"])
def test_a_damaged_compact_table_is_refused(data: bytes):
    with pytest.raises(ValueError, match=r"\w"):
        ProgressTable(data)


def test_usage_counts_filament_once_and_energy_by_power():
    printer = replace(MACHINE, dialect="marlin", home_s=0.0)
    table = estimate(b"G92 E0\nG1 X10 E5 F600\nG1 E3\nG1 E5\nG1 X20 E7\nG92 E0\nG1 X30 E1\n", printer)
    assert table.filament_mm == pytest.approx(8.0)
    assert filament_mass_g(1000.0) == pytest.approx(2.98, abs=0.01)
    laser = estimate(b"M4 S500\nG1 X100 F600\nM5\nG0 X0\n", MACHINE)
    used = usage(laser, Consumers(idle_w=0.0, motion_w=0.0, heaters_w=0.0, tool_w=360.0), 1000.0)
    assert used.energy_wh == pytest.approx(360.0 * 0.5 * used.tool_on_s / 3600.0)
    assert used.tool_on_s == pytest.approx(10.0, abs=0.2)


def test_a_machines_own_limits_count_before_the_usual_ones():
    laser = MachineProfile("k40", ProcessKind.LASER, "grbl", (300.0, 200.0, 0.0), max_feed_mm_min=9000.0)
    program = b"G21 G90\nG1 X200 F9000\nG1 X0\n" * 3
    told = (("$110", "3000"), ("$111", "3000"), ("$112", "500"), ("$120", "100"), ("$121", "100"), ("$122", "50"))
    usual, own = (estimate(program, Kinematics.of(p)).duration_s for p in (laser, replace(laser, limits=told)))
    # Each of six moves: 200 mm at 50 mm/s, and 0.5 s up to speed and 0.5 s down at 100 mm/s².
    moves = 6
    assert own == pytest.approx(moves * (200.0 / 50.0 + 0.5), rel=0.02)
    assert usual < own / 1.8


def test_a_printers_own_limits_come_from_its_m503():
    printer = MachineProfile("mk3", ProcessKind.FDM, "marlin", (200.0, 200.0, 200.0))
    told = (("M203", "X50 Y50 Z5 E25"), ("M201", "X100 Y100 Z100 E1000"), ("M204", "P100 R100 T100"), ("M205", "J0.01"))
    own = Kinematics.of(replace(printer, limits=told))
    assert own.max_speed_mm_s[:2] == (50.0, 50.0)
    assert (own.accel_mm_s2, own.junction_deviation_mm, own.dialect) == (100.0, 0.01, "marlin")
    assert Kinematics.of(replace(printer, limits=told[:1])) == Kinematics.of(printer), "half an answer is none"

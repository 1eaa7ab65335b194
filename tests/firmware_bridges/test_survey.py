"""The agent's own look at a toolpath before anything moves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from firmware_bridges.modal import Dialect
from firmware_bridges.survey import Survey, survey


class Lines:
    """A toolpath in memory."""

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines()

    @property
    def total_lines(self) -> int:
        return len(self._lines)

    def lines(self, from_line: int = 1) -> Iterator[tuple[int, str]]:
        yield from list(enumerate(self._lines, start=1))[from_line - 1 :]


def look(text: str, process: str = "laser", dialect: Dialect | None = None) -> Survey:
    return survey(Lines(text), process, dialect=dialect)


def codes(found: Survey) -> set[str]:
    return {finding.code for finding in found.dangers}


def test_a_clean_laser_job() -> None:
    found = look("G21 G90\nM4 S0\nG0 X10 Y10\nG1 X20 F1000 S500\nG2 X20 Y30 I0 J10\nG1 X10 Y10\nM5 S0\nG0 X0 Y0\nM2\n")
    assert found.safe
    assert found.cutting_mm is not None
    assert found.bounds_mm is not None
    assert found.cutting_mm.low == pytest.approx((10, 10, 0))
    assert found.cutting_mm.high == pytest.approx((20, 30, 0))
    assert found.bounds_mm.low == (0, 0, 0)
    assert found.final.position == (0, 0, 0)
    assert (found.highest_spindle, found.first_cut_line, found.lines) == (500, 4, 9)


def test_an_arc_bulges_beyond_its_ends() -> None:
    found = look("G21G90\nG0X0Y0\nG1F500\nM4S1\nG3 X0 Y20 I0 J10\nM5\n")
    assert found.cutting_mm is not None
    assert found.cutting_mm.high[0] == pytest.approx(10)


@pytest.mark.parametrize(
    ("text", "process", "code"),
    [
        ("M4 S100\nG1 F100 X1\n", "laser", "beam_left_on"),
        ("M3 S100\nG1 F100 X1\n", "cnc", "spindle_left_on"),
        ("M3 S9000\nG4 P2\nG1 F100 X1\nM3 S100\nG4 P3\nM5\n", "laser", "beam_stands_still"),
        ("G10 L2 P1 X5\n", "cnc", "eeprom_write"),
        ("G10 P1 L20 X5\n", "cnc", "eeprom_write"),
        ("G28.1\n", "cnc", "eeprom_write"),
        ("$32=0\n", "laser", "controller_setting"),
        ("G1 X5\n", "laser", "refused_line"),
        ("G5 X5\n", "cnc", "refused_line"),
        ("G53 G0 Z0\n", "cnc", "machine_coordinates"),
        ("G28 X0\n", "cnc", "machine_coordinates"),
        ("G0 X1?\n", "cnc", "real_time_character"),
        ("G0 X1!\n", "cnc", "real_time_character"),
        ("G1 F1 X1." + "0" * 90 + "\n", "cnc", "line_too_long"),
        ("M500\n", "fdm", "eeprom_write"),
        ("M502 ; factory\n", "fdm", "eeprom_write"),
        ("M112\n", "fdm", "reset"),
        ("G28\nG1 X10 E1\n", "fdm", "cold_extrusion"),
        ("M104 S100\nG1 X10 E1\nM104 S0\n", "fdm", "cold_extrusion"),
        ("M104 S210\nG1 X10 E1\n", "fdm", "heaters_left_on"),
        ("M140 S60\nG1 X10\n", "fdm", "heaters_left_on"),
        ("M104 S420\nM104 S0\n", "fdm", "too_hot"),
        ("M302 P1\n", "fdm", "safety_off"),
        ("M211 S0\n", "fdm", "safety_off"),
        ("M303 E0 S200\n", "fdm", "safety_off"),
    ],
)
def test_each_danger_is_found(text: str, process: str, code: str) -> None:
    assert code in codes(look(text, process))


def test_a_clean_print() -> None:
    found = look(
        "M140 S60\nM104 S215\nG28\nM190 S60\nM109 S215\nG92 E0\nG1 X10 Y10 Z0.2 F3000\nG1 X60 E5 F1200\n"
        "G1 E4 F2400\nG1 X100 Y100\nM104 S0\nM140 S0\nM107\nM84\n",
        "fdm",
    )
    assert found.safe, found.dangers
    assert found.cutting_mm is not None
    assert found.cutting_mm.high == (60, 10, 0.2)
    assert (found.hottest_hotend_c, found.hottest_bed_c, found.filament_mm) == (215, 60, 4)


def test_what_a_person_should_see() -> None:
    found = look("M3 S100\nG1 F100 X1\nM0\nM5\n", "laser")
    assert found.pauses == (3,)
    assert {finding.code for finding in found.suspicions} == {"constant_beam", "waits_for_person"}
    klipper = look("PRINT_START BED=60\nG1 X10 E1\nPRINT_END\n", "fdm")
    assert klipper.safe
    assert {finding.code for finding in klipper.suspicions} >= {"klipper_macro", "cold_extrusion"}


def test_findings_are_kept_in_bounds() -> None:
    found = look("G5\n" * 1000, "cnc")
    assert len(found.dangers) == 5
    assert found.dangers[0].line == 1


def test_it_can_be_cancelled() -> None:
    with pytest.raises(InterruptedError):
        survey(Lines("G0 X1\n" * 10_000), "cnc", cancelled=lambda: True)

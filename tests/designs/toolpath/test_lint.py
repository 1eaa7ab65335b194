"""Lint: each danger is found on its line, and a good program has no findings."""

from __future__ import annotations

from dataclasses import replace

import pytest

from designs.processes.model import Finding, ProcessKind, Severity
from designs.toolpath import MachineLimits, lint

LASER = MachineLimits(ProcessKind.LASER, "grbl", (0.0, 0.0, -50.0), (300.0, 200.0, 50.0))
ROUTER = MachineLimits(ProcessKind.CNC, "grbl", (0.0, 0.0, -80.0), (400.0, 400.0, 80.0), tools=(1, 2))
CHANGER = MachineLimits(
    ProcessKind.CNC, "grblhal", (0.0, 0.0, -80.0), (400.0, 400.0, 80.0), tools=(1, 2), has_tool_changer=True
)
PRINTER = MachineLimits(ProcessKind.FDM, "marlin", (0.0, 0.0, 0.0), (220.0, 220.0, 250.0), max_nozzle_c=260.0)

PRINT = """M140 S60
M104 S210
G28
M190 S60
M109 S210
G90
M82
G92 E0
G1 X10 Y10 Z0.2 F3000
G1 X50 E2 F1200
M104 S0
M140 S0
M107
G1 X0 Y200 F3000
M84
"""
GOOD = {
    "laser": (LASER, "G90 G21 G17 G94\nM5 S0\nM8\nM4 S0\nG0 X10 Y10\nG1 X50 F1000 S500\nM5 S0\nM9\nG0 X0 Y0\nM5 S0\n"),
    "router": (ROUTER, "G90 G21\nG0 Z5\nM3 S800\nG4 P3\nG0 X10 Y10\nG1 Z-2 F200\nX50 F800\nG0 Z5\nM5 S0\nX0 Y0\n"),
    "changer": (CHANGER, "G90 G21\nT2 M6\nG0 Z5\nM3 S800\nG1 Z-1 F100\nG0 Z5\nM5\n"),
    "printer": (PRINTER, PRINT),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_program_has_no_findings(name: str):
    limits, text = GOOD[name]
    assert lint(text.encode(), limits) == ()


def first(limits: MachineLimits, text: str, code: str) -> Finding | None:
    return next((f for f in lint(text.encode(), limits) if f.code == code), None)


@pytest.mark.parametrize(
    ("limits", "text", "code", "line"),
    [
        (LASER, "G90\nM4 S0\nG1 X301 F100 S5\nM5\n", "outside", 3),
        (LASER, "G90\nG0 X290 Y100\nM4 S5\nG2 X290 Y80 I0 J-10 F100\nG2 Y60 X290 I0 J-10\nM5\n", None, 0),
        (LASER, "G90\nG0 X295 Y100\nM4 S5\nG2 X295 Y80 I0 J-10 F100\nM5\n", "outside", 4),
        (LASER, "G90\nM4 S5\nG1 X20 F100\nG0 X0\n", "left_on", 4),
        (LASER, "G90\nM4 S1200\nG1 X20 F100\nM5\n", "power_over", 3),
        (LASER, "G90\nM3 S100\nG1 X20 F100\nM5\n", "constant_power", 3),
        (LASER, "G90\nM4 S100\nG1 X20\nM5\n", "no_feed", 3),
        (LASER, "G90\nM3 S100\nG4 P2\nG1 X5 F100\nM5\n", "beam_stands", 3),
        (LASER, "$32=0\nG0 X1\n", "setting_write", 1),
        (LASER, "G0 X1\n?\n", "realtime_byte", 2),
        (LASER, "G0 X1 ~\n", "realtime_byte", 1),
        (LASER, "G10 L20 P1 X0\nG0 X1\n", "forbidden_word", 1),
        (LASER, "G28.1\nG0 X1\n", "forbidden_word", 1),
        (LASER, "G0 X1\nM999\n", "unknown_word", 2),
        (LASER, "G5 X1 Y1\nG0X1\n", "unknown_word", 1),
        (LASER, "G2 X10 Y0 R1 F100\n", "bad_arc", 1),
        (LASER, "; nothing\n", "no_motion", None),
        (ROUTER, "G90\nG0 Z5\nG1 Z-1 F100\nG1 X10\nG0 Z5\n", "spindle_off", 3),
        (ROUTER, "G90\nM3 S0\nG1 Z-1 F100\nG0 Z5\nM5\n", "spindle_off", 3),
        (ROUTER, "G90\nM3 S500\nG1 Z-1 F100\nG0 X10\nG0 Z5\nM5\n", "rapid_in_stock", 4),
        (ROUTER, "G90\nM3 S500\nG0 Z-1\nG1 X10 F100\nG0 Z5\nM5\n", "rapid_in_stock", 3),
        (ROUTER, "G90\nM3 S500\nG1 Z-1 F100\nM5\n", "ends_in_stock", 4),
        (ROUTER, "T3 M6\nG0 X1\n", "unknown_word", 1),
        (CHANGER, "T3 M6\nG0 X1\n", "tool_missing", 1),
        (ROUTER, "G0 X1\nM81\n", "unknown_word", 2),
        (PRINTER, "G28\nG1 X10 E5 F100\n", "cold_extrusion", 2),
        (PRINTER, "G1 X10 F100\nG28\n", "not_homed", 1),
        (PRINTER, "G28\nM104 S290\nG1 X1 F100\n", "too_hot", 2),
        (PRINTER, "G28\nG1 X10 F100\nM500\n", "forbidden_word", 3),
        (PRINTER, "M302 P1\nG28\nG1 X1 F100\n", "forbidden_word", 1),
        (PRINTER, "G28\nM112\nG1 X1\n", "forbidden_word", 2),
        (PRINTER, "G28\nG1 X1\nM999\n", "forbidden_word", 3),
        (PRINTER, "G28\nG1 X221 F100\n", "outside", 2),
        (PRINTER, "M109 S200\nG28\nG1 X1 E1 F100\n", "left_hot", 3),
        (PRINTER, "G28\nEXCLUDE_OBJECT_START NAME=a\nG1 X1\n", "named_command", 2),
    ],
)
def test_dangers_are_found_on_their_line(limits: MachineLimits, text: str, code: str | None, line: int | None):
    if code is None:
        assert [f for f in lint(text.encode(), limits) if f.severity is Severity.ERROR] == []
        return
    found = first(limits, text, code)
    assert found is not None, lint(text.encode(), limits)
    assert found.line == line
    assert found.text.endswith(".")


_CUT = "G90 G21\nG0 Z5\nM3 S800\nG0 X10 Y10\nG1 Z-2 F200\nX50 F800\nG0 Z5\nM5 S0\n"
_BURN = "G90 G21\nM4 S0\nG0 X290 Y100\nG1 X295 F1000 S500\n{}M5 S0\nG0 X0 Y0\nM5 S0\n"
ONE_NOZZLE = replace(PRINTER, tools=(1,))
DANGERS = {
    "envelope, line": ("outside", LASER, _BURN.format("G1 X301\n"), _BURN.format("G1 X299\n")),
    "envelope, arc whose ends are inside": (
        "outside", LASER, _BURN.format("G2 X295 Y80 I0 J-10\n"), _BURN.format("G3 X295 Y80 I0 J-10\n")
    ),
    "envelope, whole circle": (
        "outside", LASER, _BURN.format("G2 X295 Y100 I2.6 J0\n"), _BURN.format("G2 X295 Y100 I2.4 J0\n")
    ),
    "envelope, in inches": (
        "outside", LASER, _BURN.format("G20\nG1 X12\nG21\n"), _BURN.format("G20\nG1 X11\nG21\n")
    ),
    "cold extrusion": ("cold_extrusion", PRINTER, PRINT.replace("S210", "S150"), PRINT),
    "unhomed": ("not_homed", PRINTER, PRINT.replace("G28\n", ""), PRINT),
    "homed in part only": ("not_homed", PRINTER, PRINT.replace("G28\n", "G28 X Y\n"), PRINT),
    "unknown word": ("unknown_word", ROUTER, _CUT.replace("M5 S0", "M5 S0\nM777"), _CUT),
    "forbidden word": ("forbidden_word", ROUTER, _CUT.replace("G0 Z5", "G53 G0 Z0\nG0 Z5", 1), _CUT),
    "laser without M5": ("left_on", LASER, _BURN.format("").replace("M5 S0\n", ""), _BURN.format("")),
    "spindle off in a cut": ("spindle_off", ROUTER, _CUT.replace("M3 S800\n", ""), _CUT),
    "tool not in the machine": (
        "tool_missing", CHANGER, "T7 M6\n" + _CUT, "T2 M6\n" + _CUT
    ),
    "nozzle not in the machine": ("tool_missing", ONE_NOZZLE, PRINT.replace("G90", "T3\nG90"), PRINT),
    "EEPROM write, GRBL": ("forbidden_word", ROUTER, "G10 L2 P1 X5\n" + _CUT, _CUT),
    "settings, GRBL": ("setting_write", ROUTER, "$100=250\n" + _CUT, _CUT),
    "EEPROM write, Marlin": ("forbidden_word", PRINTER, PRINT.replace("M84", "M500"), PRINT),
    "reset, GRBL": ("realtime_byte", ROUTER, _CUT.replace("M5 S0", "M5 S0\n\x18"), _CUT),
    "reset, Marlin": ("forbidden_word", PRINTER, PRINT.replace("M84", "M999"), PRINT),
    "firmware update": ("forbidden_word", PRINTER, PRINT.replace("M84", "M997"), PRINT),
}  # fmt: skip


@pytest.mark.parametrize("name", DANGERS)
def test_every_danger_is_found_and_its_clean_sibling_is_not_blamed(name: str):
    code, limits, bad, clean = DANGERS[name]
    assert bad != clean
    found = [f for f in lint(bad.encode(), limits) if f.code == code]
    assert found, lint(bad.encode(), limits)
    assert found[0].severity is Severity.ERROR
    assert lint(clean.encode(), limits) == ()


def test_the_same_fault_on_many_lines_is_counted_not_repeated():
    text = "G90\nM4 S5\nG1 F100\n" + "G1 X400\nG1 X10\n" * 50 + "M5\n"
    found = [f for f in lint(text.encode(), LASER) if f.code == "outside"]
    assert len(found) == 6
    assert "45 more" in found[-1].text


def test_errors_come_first():
    ranks = [f.severity for f in lint(b"; \xc3\xa4\nM3 S5\nG1 X1 F1\nG0 X999\n", LASER)]
    assert ranks == sorted(ranks, key=[Severity.ERROR, Severity.WARNING, Severity.NOTE].index)

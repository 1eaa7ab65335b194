"""Bits chosen by diameter, in an order that keeps the part held, changed only where the controller knows how."""

from __future__ import annotations

import math
import re

import pytest

from designs.processes import cnc, make_toolpath
from designs.processes.cnc_bits import bit_for_hole
from designs.processes.model import CannotMake, MachineProfile, Piece, ProcessKind, Stock, ToolSpec
from designs.toolpath import MachineLimits, lint
from designs.toolpath import motions as m
from designs.toolpath.parser import read_motions
from designs.toolpath.program_bounds import moving
from firmware_bridges.twins.run import TwinOptions, make_twin
from tests.designs import drawing_zoo as zoo
from tests.designs.twin_run import grbl, run, stripped

PLY = Stock("plywood", thickness_mm=6.0, width_mm=350.0, height_mm=300.0)
MILL = ToolSpec(1, "flat_end_mill", 3.175)
THIN = ToolSpec(2, "flat_end_mill", 1.5)
DRILL_2 = ToolSpec(5, "drill", 2.0)
DRILL_5 = ToolSpec(6, "drill", 5.0)


def machine(*tools: ToolSpec, dialect: str = "grbl") -> MachineProfile:
    return MachineProfile(
        "router", ProcessKind.CNC, dialect, (400.0, 400.0, 80.0), tools, 3000.0, 500.0, spindle_max_rpm=24000.0
    )


def plate(*diameters: float) -> Piece:
    holes = "".join(f'<circle cx="{20 + 15 * k}" cy="30" r="{d / 2}"/>' for k, d in enumerate(diameters))
    return Piece(zoo.svg(zoo.layer("CUT", '<rect x="10" y="10" width="80" height="40"/>') + zoo.layer("DRILL", holes)))


def depths_by_tool(gcode: bytes) -> dict[int, tuple[float, set[tuple[float, float]]]]:
    """For each tool number its lowest z, and the places (to 1 mm) it went below the surface."""
    found: dict[int, tuple[float, set[tuple[float, float]]]] = {}
    for block in read_motions(gcode):
        table = block.table()
        for row in table[moving(table)]:
            low, places = found.get(int(row[m.TOOL]), (0.0, set()))
            if row[m.Z] < -0.1:
                places = places | {(round(row[m.X]), round(row[m.Y]))}
            found[int(row[m.TOOL])] = (min(low, row[m.Z]), places)
    return found


@pytest.mark.parametrize(
    ("diameter", "dialect", "tools", "wanted"),
    [
        (3.2, "grbl", (MILL,), MILL),
        (8.0, "grbl", (MILL,), MILL),
        (5.0, "grbl", (MILL, DRILL_5), MILL),
        (5.0, "grblhal", (MILL, DRILL_5), DRILL_5),
        (2.0, "grbl", (MILL, DRILL_2), DRILL_2),
        (2.1, "grblhal", (MILL, THIN, DRILL_2), DRILL_2),
        (2.6, "grblhal", (MILL, THIN, DRILL_2), THIN),
    ],
)
def test_the_bit_for_a_hole(diameter: float, dialect: str, tools: tuple[ToolSpec, ...], wanted: ToolSpec) -> None:
    assert bit_for_hole("plate", diameter, MILL, machine(*tools, dialect=dialect)) == wanted


def test_no_bit_for_a_hole_names_the_bits_there() -> None:
    with pytest.raises(CannotMake) as refused:
        cnc.make([plate(1.0)], machine(MILL, DRILL_2, dialect="grblhal"), PLY)
    said = str(refused.value)
    assert "1.00 mm hole" in said
    assert "1 (3.175 mm flat end mill), 5 (2 mm drill)" in said
    assert "drill of 1 mm" in said


def test_one_bit_that_does_it_all_is_preferred_where_none_can_be_changed() -> None:
    made = cnc.make([plate(2.0)], machine(MILL, THIN), PLY)
    assert "1.5 mm" in made.settings
    assert b"M6" not in made.gcode
    assert b"M0" not in made.gcode


def test_a_changer_drills_first_and_frees_the_part_last() -> None:
    profile = machine(MILL, DRILL_2, DRILL_5, dialect="grblhal")
    made = cnc.make([plate(2.0, 5.0, 8.0)], profile, PLY)
    assert lint(made.gcode, MachineLimits.of(profile)) == ()
    assert re.findall(rb"T(\d) M6", made.gcode) == [b"5", b"6", b"1"]
    lines = [line for line in made.gcode.decode().splitlines() if not line.startswith(";")]
    for at, line in enumerate(lines):
        if "M6" in line:
            assert lines[at - 1] == "M5 S0" or lines[at - 2 : at] == ["M5 S0", "G0 Z5"]
            assert [each[:4] for each in lines[at + 1 : at + 3]] in (["M3 S", "G4 P"], ["G0 Z", "M3 S"])
    done = depths_by_tool(made.gcode)
    assert len(done[5][1]) == len(done[6][1]) == 1
    assert [done[tool][0] for tool in (5, 6, 1)] == pytest.approx([-6.3] * 3)
    assert "Bit 5: 2 mm drill" in made.work_card
    assert made.work_card.index("Bit 5") < made.work_card.index("Bit 6") < made.work_card.index("Bit 1")
    twin = make_twin(TwinOptions("grblhal", profile="router", settings=(("$22", "0"), ("$20", "0"))))
    ran = run(twin, stripped(made.gcode), window=127)
    assert ran.answers == ()
    assert ran.position[:2] == pytest.approx((0.0, 0.0), abs=1e-6)
    assert ran.state["spindle"]["power"] == 0.0


def test_plain_grbl_gets_one_program_a_bit_with_a_person_between() -> None:
    profile = machine(MILL, DRILL_2)
    with pytest.raises(CannotMake, match="2 bits one after the other"):
        make_toolpath([plate(2.0, 8.0)], profile, PLY)
    first, second = cnc.make_by_bit([plate(2.0, 8.0)], profile, PLY)
    for made in (first, second):
        assert lint(made.gcode, MachineLimits.of(profile)) == ()
        assert b"M6" not in made.gcode
        assert b"M0" not in made.gcode
        ran = run(grbl("router"), stripped(made.gcode), window=127)
        assert ran.answers == ()
        assert ran.position == pytest.approx((0.0, 0.0, 5.0), abs=1e-6)
        assert ran.state["spindle"]["power"] == 0.0
    assert "2 mm drill" in first.settings
    assert first.work_card.startswith("Program 1 of 2 on one board, which stays clamped")
    assert "touch off z 0" in second.work_card.splitlines()[0]
    assert first.bounds_mm[3] - first.bounds_mm[0] < 30.0
    assert second.bounds_mm[3] - second.bounds_mm[0] > 80.0


def test_bits_that_share_a_number_are_still_two_bits() -> None:
    """A shop that calls every bit in its one collet number 1: a 2 mm hole is not made with the 3 mm mill."""
    made = cnc.make_by_bit([plate(2.0)], machine(MILL, ToolSpec(1, "drill", 2.0)), PLY)
    assert ["2 mm drill" in each.settings for each in made] == [True, False]


def test_a_drill_is_pecked_in_steps_and_comes_up_between() -> None:
    made = cnc.make_by_bit([plate(2.0)], machine(MILL, DRILL_2), PLY)[0]
    heights = [
        float(row[m.Z]) for block in read_motions(made.gcode) for row in block.table() if row[m.KIND] == m.LINEAR
    ]
    downs = [z for z in heights if z < 0.0]
    assert downs[-1] == pytest.approx(-6.3)
    steps = [a - b for a, b in zip([0.0, *downs], downs, strict=False)]
    assert max(steps) <= 0.8 * 2.0 + 1e-6
    assert sum(z == pytest.approx(0.5) for z in heights) >= len(downs)


def test_a_v_bit_may_name_its_angle_in_its_kind() -> None:
    sign = Piece(zoo.svg(zoo.layer("ENGRAVE", '<rect x="10" y="10" width="60" height="8"/>')))
    made = cnc.make([sign], machine(MILL, ToolSpec(3, "v_bit_90", 6.0)), PLY)
    assert "90 degrees" in made.settings
    assert made.bounds_mm[2] >= -6.0 * 0.6 - 1e-6
    unsaid = cnc.make([sign], machine(MILL, ToolSpec(3, "v_bit", 6.0)), PLY)
    assert "V-carving" not in unsaid.settings
    assert math.isclose(unsaid.bounds_mm[2], -0.5)

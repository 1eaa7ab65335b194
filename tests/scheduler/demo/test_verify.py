"""The comparison of programs with what machines executed can fail, and fails for the right reasons."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from scheduler.demo.shops import TOWN
from scheduler.demo.verify import (
    Ran,
    check_machine,
    explained,
    last_position,
    printer_lines,
    router_lines,
    runs_on,
    work_position,
)

LASER = next(machine for shop in TOWN for machine in shop.machines if machine.process == "laser")
PROGRAM = "G21 ; mm\nG90\n(a comment)\n\nM4 S0\ng1 x10 y5 s300 f600\nM5\nG0 X2 Y3\n"


def digest(lines: list[str]) -> str:
    return hashlib.sha256("".join(line + "\n" for line in lines).encode()).hexdigest()


def test_lines_are_kept_as_the_firmwares_keep_them() -> None:
    assert router_lines(PROGRAM) == ["G21", "G90", "M4S0", "G1X10Y5S300F600", "M5", "G0X2Y3"]
    assert printer_lines("G28 ; home\n;LAYER:1\nM105\nM104 S200\n G1 X1\n") == ["G28", "M104 S200", "G1 X1"]


def test_only_safe_lines_may_stand_between_programs() -> None:
    one, two = ["G1X1", "M5"], ["G1X2"]
    safe = ("M5S0",)
    assert explained([one, two], 0, digest(one + two), safe)
    assert explained([one, two], 2, digest(["M5S0", *one, "M5S0", *two]), safe)
    assert not explained([one, two], 1, digest([*one, "G1X9", *two]), safe)
    assert not explained([one, two], 1, digest(["G1X1", "M5S0", "M5", *two]), safe), (
        "inside a program nothing may stand"
    )
    assert not explained([one, two], 0, digest(two + one), safe)
    assert not explained([one, two], -1, digest(one), safe)
    assert not explained([one], 1, digest(["M5S0", *one]), ())


@pytest.mark.parametrize(
    ("program", "end"),
    [
        ("G90\nG0 X1 Y2 Z3\nG1 X4", (4.0, 2.0, 3.0)),
        ("G90\nG0 X1 Y1\nG91\nG1 X2 Y-1\nG90\nG1 Z5", (3.0, 0.0, 5.0)),
        ("G28\nG1 X5", (5.0, 0.0, 0.0)),
        ("G1 X5 Y6\nG28 X", (0.0, 6.0, None)),
        ("G1 X5\nM104 S200 X9\nG92 X0 Y0", (5.0, None, None)),
        ("G1 X5 ; X7\n(X8)", (5.0, None, None)),
    ],
)
def test_the_end_of_a_program(program: str, end: tuple[float | None, ...]) -> None:
    assert last_position(program) == end


def twin(lines: list[str], at: list[float]) -> dict[str, Any]:
    offset = [-399.0, -399.0, -1.0]
    position = [here + shift for here, shift in zip(at, offset, strict=True)]
    return {"consumed": len(lines), "consumed_sha256": digest(lines), "position": position, "work_offset": offset}


def test_a_machine_that_did_what_it_was_told_passes_and_any_other_fails() -> None:
    run = [Ran("j1", "t", "h", whole=True)]
    good = twin(["M5S0", *router_lines(PROGRAM)], [2.0, 3.0, 0.0])
    assert work_position(good) == (2.0, 3.0, 0.0)
    assert all(check.agrees for check in check_machine(LASER, run, [PROGRAM], good))
    short = twin(router_lines(PROGRAM)[:-1], [2.0, 3.0, 0.0])
    assert [check.agrees for check in check_machine(LASER, run, [PROGRAM], short)] == [False, True]
    astray = twin(router_lines(PROGRAM), [2.0, 3.4, 0.0])
    assert [check.agrees for check in check_machine(LASER, run, [PROGRAM], astray)] == [True, False]


def test_a_run_that_ended_early_may_not_have_executed_more_than_asked() -> None:
    run = [Ran("j1", "t", "h", whole=False)]
    assert [c.agrees for c in check_machine(LASER, run, [PROGRAM], twin(["G21", "G90"], [0, 0, 0]))] == [True]
    many = twin(["G1X1"] * 50, [0, 0, 0])
    assert [c.agrees for c in check_machine(LASER, run, [PROGRAM], many)] == [False]


def test_runs_are_taken_from_the_record_in_the_order_they_began() -> None:
    def event(at: str, before: str, after: str, machine: str = "m1") -> dict[str, Any]:
        return {"at": at, "from_state": before, "to_state": after, "agent": "barn.pi", "machine": machine}

    pages = {
        "late": {
            "toolpath": {"sha256": "b"},
            "history": [event("3", "starting", "running"), event("4", "running", "finished")],
        },
        "early": {
            "toolpath": {"sha256": "a"},
            "history": [
                event("1", "starting", "running"),
                event("1", "running", "held"),
                event("1", "held", "running"),
                event("2", "running", "failed"),
                event("5", "starting", "running", "m2"),
            ],
        },
    }
    assert runs_on("barn.pi.m1", pages) == [Ran("early", "1", "a", whole=False), Ran("late", "3", "b", whole=True)]

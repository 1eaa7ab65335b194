"""The judge of real processes finds what it is there for: each rule is broken once, by hand."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.faults import reckoning
from tests.faults.reckoning import NotKept, runs_of
from tests.faults.watching import MachineRecord, Permit, Program, Watch, moves

TOOLPATH = "G21\nM104 S200 ; warm\nG28\nG1 X1 Y1 E1\nG1 X2 Y2 E2\nG1 X3 Y3 E3\nM104 S0\nM84\n"
LINES = ("G21", "M104 S200", "G28", "G1 X1 Y1 E1", "G1 X2 Y2 E2", "G1 X3 Y3 E3", "M104 S0")


class Told:
    """What a town would show: one job "j" on one machine, and a record that tests write."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "m1.record"
        self.records = {"m1": MachineRecord(self._file)}
        self.ordered_at = {"j": 0.0}
        self.watch = Watch()
        self.people = SimpleNamespace(rearmed={"m1": []}, decided=set())

    def machine_of(self, job: str) -> str:
        return "m1"

    def program(self, job: str) -> Program:
        return Program.of(TOOLPATH)

    def carried_out(self, at: float, *lines: str) -> None:
        """Lines that the machine carried out, a tenth of a second apart."""
        with self._file.open("a") as file:
            file.writelines(f"{at + number / 10:.4f} {line}\n" for number, line in enumerate(lines))

    def permitted(self, fence: int, at: float) -> None:
        self.watch.permits.append(Permit("j", fence, at))

    def granted(self, fence: int, at: float) -> None:
        self.watch.grants.append(Permit("j", fence, at))


@pytest.fixture
def town(tmp_path: Path) -> Any:
    return Told(tmp_path)


def judged(town: Any, seen: dict[int, float] | None = None) -> None:
    """All rules that the record and the lines decide."""
    runs = runs_of(town, "j")
    under = reckoning._permitted(town, "j", runs)
    reckoning._fences(town, "j", runs, under)
    reckoning._no_phantom(town, "j", seen or {})


def test_a_run_as_it_should_be(town: Any) -> None:
    town.granted(1, 1.0)
    town.permitted(1, 2.0)
    town.carried_out(3.0, *LINES)
    judged(town, seen={1: 3.5})
    (run,) = runs_of(town, "j")
    assert run.whole
    assert (run.began, run.last) == (3.1, 3.5)


def test_a_start_that_nobody_permitted(town: Any) -> None:
    town.carried_out(3.0, *LINES)
    with pytest.raises(NotKept, match="no scheduler had permitted it"):
        judged(town)


def test_a_start_before_its_permission(town: Any) -> None:
    town.carried_out(3.0, *LINES)
    town.permitted(1, 3.2)
    with pytest.raises(NotKept, match="no scheduler had permitted it"):
        judged(town)


def test_a_second_start_under_one_permission(town: Any) -> None:
    town.permitted(1, 2.0)
    town.carried_out(3.0, *LINES[:3])
    town.carried_out(5.0, *LINES)
    with pytest.raises(NotKept, match="a second time under fence 1"):
        judged(town)


def test_lines_under_an_old_fence(town: Any) -> None:
    town.permitted(1, 2.0)
    town.granted(2, 3.25)
    town.carried_out(3.0, *LINES)
    with pytest.raises(NotKept, match="fence 2 had been granted"):
        judged(town)


def test_shown_as_running_before_the_machine_had_a_line(town: Any) -> None:
    town.permitted(1, 2.0)
    town.carried_out(3.0, *LINES)
    with pytest.raises(NotKept, match="before its machine had a line"):
        judged(town, seen={1: 2.5})


@pytest.mark.parametrize("line", ["M140 S60", "G28", "G1 X5 Y5"])
def test_motion_and_heat_before_a_person_came(tmp_path: Path, line: str) -> None:
    town: Any = Told(tmp_path)
    town.permitted(1, 2.0)
    town.carried_out(3.0, *LINES[:4])
    town.carried_out(6.0, "M104 S0", "M140 S0", line)
    struck: Any = SimpleNamespace(town=town, job="j", lost_at={"m1": 4.0}, back_at={"m1": 5.0})
    with pytest.raises(NotKept, match="before anybody re-armed it"):
        reckoning._still_after_loss(struck)
    town.people.rearmed["m1"].append(6.15)
    reckoning._still_after_loss(struck)


def test_what_moves_and_what_does_not() -> None:
    assert all(moves(line) for line in ("G0X5", "G1 Z5", "G28", "$H", "M104 S200", "M190S60", "G02 X1 Y1 I1"))
    assert not any(moves(line) for line in ("M104 S0", "G90", "G21", "M5", "M84", "G92 E0", "M107", "G4 P1"))

"""What shops say of their people, and what a scheduler is told of their current, reaches the plan."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents.contract.messages import MachineReport
from agents.policy import read_policy
from agents.section import ConfigError
from scheduler.carbon import CURVES, read_curves
from scheduler.config import BadSetting
from scheduler.dispatch.picture import SeenMachine, seen_machines
from scheduler.dispatch.plan_machines import crews
from scheduler.planning import Carbon, Crew
from scheduler.planning.planner import plan
from scheduler.store.content_queries import OutcomeRow
from tests.scheduler.line import START, Line
from tests.scheduler.test_picture import open_line, snapshot, telling

DAY = (START + timedelta(hours=1), START + timedelta(hours=9))


@pytest.fixture
def lines() -> Iterator[list[Line]]:
    """Lines that are closed at the end."""
    opened: list[Line] = []
    yield opened
    for line in opened:
        line.close()


def seen(line: Line) -> list[SeenMachine]:
    """The machines as the scheduler knows them."""
    with line.scheduler.store.read() as c:
        return list(seen_machines(c).values())


def ended(machine: str, at: datetime, minutes: float) -> OutcomeRow:
    """One attempt that ended."""
    return OutcomeRow(
        "j", 1, at, "d", "fdm", "plain", "shed", machine, None, None, 60 * minutes, None, 1, "finished", None
    )


def test_a_shop_that_says_nothing_of_people_is_not_counted_and_one_with_hours_has_one_person(
    lines: list[Line], tmp_path: Path
) -> None:
    line = open_line(lines, tmp_path, telling("silent"), telling("shed", attended_windows=(DAY,)))
    told = snapshot(line)
    assert told.crews == (Crew("shed", 1, 20.0, 0.0),)
    assert {machine.unload_s for machine in told.machines} == {300.0}


def test_people_hours_and_minutes_are_taken_as_they_are_said(lines: list[Line], tmp_path: Path) -> None:
    minutes = {"load_min": 4.0, "unload_min": 9.0}
    line = open_line(lines, tmp_path, telling("shed", description=minutes, people=3, hours_a_week=12.5))
    told = snapshot(line)
    assert told.crews == (Crew("shed", 3, 12.5, 0.0),)
    machine, _ = told.machines
    assert (machine.load_s, machine.unload_s) == (240.0, 540.0)


def test_what_people_gave_since_monday_counts_and_what_they_gave_before_does_not(
    lines: list[Line], tmp_path: Path
) -> None:
    line = open_line(lines, tmp_path, telling("shed", description={"load_min": 4.0, "unload_min": 9.0}, people=1))
    machine, _ = seen(line)
    monday = (START - timedelta(days=START.weekday())).replace(hour=0, minute=0, second=0, microsecond=0)
    rows = [ended(machine.key, monday + timedelta(hours=1), 50), ended(machine.key, monday - timedelta(hours=1), 50)]
    (crew,) = crews([machine], [*rows, ended("other/m", START, 70)], START)
    assert crew.spent_s == 13 * 60
    description = msgspec.structs.replace(machine.report.description, attended=True)
    beside = replace(machine, report=msgspec.structs.replace(machine.report, description=description))
    (crew,) = crews([beside], rows, START)
    assert crew.spent_s == 59 * 60


def test_one_person_is_offered_two_printers_one_after_the_other(lines: list[Line], tmp_path: Path) -> None:
    line = open_line(lines, tmp_path, telling("shed", people=1), planner=plan)
    line.order()
    line.order()
    line.plan()
    told = snapshot(line)
    first, second = sorted(plan(told).placements, key=lambda placement: placement.start)
    assert told.crews == (Crew("shed", 1, 20.0, 0.0),)
    assert second.start >= first.start + timedelta(minutes=5)


@pytest.mark.parametrize("wrong", [{"people": -1}, {"hours_a_week": 400.0}, {"description": {"load_min": -3.0}}])
def test_no_agent_can_say_what_cannot_be_counted(wrong: dict[str, Any], lines: list[Line], tmp_path: Path) -> None:
    line = open_line(lines, tmp_path, telling("shed", people=1))
    machine, _ = seen(line)
    body = msgspec.to_builtins(machine.report)
    body |= {key: value for key, value in wrong.items() if key != "description"}
    body["description"] |= wrong.get("description", {})
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(body, MachineReport)


def test_the_owner_says_people_in_the_policy(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text("people = 2\nhours_a_week = 15\n")
    policy = read_policy(file)
    assert (policy.people, policy.hours_a_week) == (2, 15.0)
    file.write_text("hours_a_week = 200\n")
    with pytest.raises(ConfigError, match="hours_a_week"):
        read_policy(file)
    file.write_text("")
    assert (read_policy(file).people, read_policy(file).hours_a_week) == (None, None)


def test_curves_beside_the_database_reach_the_planner(lines: list[Line], tmp_path: Path) -> None:
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / CURVES).write_text(f"[g_per_kwh]\nshed = {[400] * 24}\n")
    assert read_curves(tmp_path / CURVES) == (Carbon("shed", (400.0,) * 24),)
    assert read_curves(tmp_path / "none.toml") == ()
    line = open_line(lines, tmp_path, telling("shed"))
    assert snapshot(line).carbon == (Carbon("shed", (400.0,) * 24),)


@pytest.mark.parametrize(
    "text",
    ["[g_per_kwh]\nshed = [1, 2]", "[g_per_kwh]\nshed = 3", "[other]\na = 1", "no toml", "[g_per_kwh]\nshed = [true]"],
)
def test_a_file_of_curves_that_means_nothing_is_refused_with_its_name(text: str, tmp_path: Path) -> None:
    (tmp_path / CURVES).write_text(text)
    with pytest.raises(BadSetting, match="carbon"):
        read_curves(tmp_path / CURVES)

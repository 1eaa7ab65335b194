"""The stand-in does what the page asks for, in the right order, and no more."""

from __future__ import annotations

from typing import Any

from scheduler.demo.operator import decide, stock_for


def page(**machine: Any) -> dict[str, Any]:
    usual = {"machine": "m1", "bridge_state": "idle", "bed_clear": True, "disarmed": "", "jobs": [], "gates": []}
    return {"machines": [{**usual, **machine}]}


def job(state: str, **more: Any) -> dict[str, Any]:
    return {"job": "j1", "state": state, "pieces": 3, "material": {"material": "PLA"}, "card_confirmed": False, **more}


def shut(*names: str) -> list[dict[str, Any]]:
    return [{"gate": name, "open": False, "why": "w", "lift": "l"} for name in names]


def names(shown: dict[str, Any]) -> list[str]:
    return [act.name for act in decide(shown)]


def test_a_free_machine_is_left_alone() -> None:
    assert decide(page()) == ()
    assert decide(page(gates=[{"gate": "bed_clear", "open": True}])) == ()


def test_parts_are_inspected_before_the_bed_is_cleared() -> None:
    shown = page(bed_clear=False, jobs=[job("finished")])
    assert names(shown) == ["inspected"]
    assert dict(decide(shown)[0].body)["good"] == 3
    assert names(page(bed_clear=False)) == ["bed cleared"]


def test_nobody_reaches_into_a_machine_at_work() -> None:
    for state in ("intended", "starting", "running", "held"):
        assert decide(page(bed_clear=False, bridge_state="alarm", jobs=[job(state)])) == ()


def test_shut_gates_are_lifted_one_by_one() -> None:
    gates = shut("homed", "work_card", "material", "presence", "owners_hours", "lease")
    assert names(page(gates=gates, jobs=[job("staged")])) == ["homed", "work card followed", "material loaded"]
    assert names(page(gates=gates, jobs=[job("staged", card_confirmed=True)])) == ["homed", "material loaded"]
    assert names(page(gates=shut("homed"), bridge_state="running", jobs=[job("staged")])) == []


def test_a_blocked_machine_is_looked_at_and_armed() -> None:
    for state in ("alarm", "disarmed", "fault"):
        assert names(page(bridge_state=state)) == ["re-armed"]
    assert names(page(disarmed="link lost")) == ["re-armed"]


def test_the_shelf_has_what_the_job_needs() -> None:
    assert stock_for({"material": "PLA", "amount_g": 12.0, "colour": ""}) == {"material": "PLA", "remaining_g": 1000.0}
    board = stock_for({"material": "plywood", "thickness_mm": 18.0, "width_mm": 520.0})
    assert board == {"material": "plywood", "thickness_mm": 18.0, "width_mm": 520.0, "height_mm": 400.0}

"""What a machine's firmware tells of itself reaches the toolpaths made for it, and outlives its agent's restart."""

from __future__ import annotations

import json
from typing import Any

from agents.contract.messages import MachineDescription, Tool
from agents.contract.topics import MACHINE
from agents.contract.vocabulary import Process
from scheduler.orders.recipes import profile_of
from scheduler.store import queries
from tests.scheduler.line import Line

LIMITS = [["$110", "3000"], ["$120", "100"], ["$30", "255"]]


def stored(line: Line) -> Any:
    with line.scheduler.store.read() as c:
        row = queries.machine(c, "mill.pi", "m1")
    assert row is not None
    return row.report["description"].get("limits", [])


def tell(line: Line, limits: list[list[str]]) -> None:
    said = json.loads(line.agents["mill.pi"].report("m1", line.now)[1])
    said["body"]["description"]["limits"] = limits
    line.clock.pass_(seconds=1)
    said["id"] += str(len(limits)) + line.now.isoformat()
    line.hear((MACHINE.of(shop="mill", agent="pi", machine="m1"), json.dumps(said).encode()))


def test_limits_outlive_a_restart_of_the_agent(line: Line) -> None:
    line.arrive()
    assert list(stored(line)) == []
    tell(line, LIMITS)
    tell(line, [])
    assert [list(pair) for pair in stored(line)] == LIMITS, "a machine that has not answered yet did not change"
    tell(line, [["$110", "9000"], ["$120", "100"]])
    assert list(stored(line)[0]) == ["$110", "9000"]


def description(*limits: tuple[str, str]) -> MachineDescription:
    return MachineDescription(
        machine="l1",
        name="l1",
        process=Process.LASER,
        dialect="grbl",
        model="k40",
        envelope_mm=(300.0, 200.0, 0.0),
        tools=(Tool(number=1, kind="v_bit", diameter_mm=6.0, flutes=1, angle_deg=60.0),),
        limits=limits,
    )


def test_full_power_is_the_machines_own_scale() -> None:
    assert profile_of(description(("$30", "255"))).power_s_max == 255.0
    for unknown in ((), (("$30", "0"),), (("$30", "nan?"),)):
        assert profile_of(description(*unknown)).power_s_max == 1000.0


def test_a_bits_angle_and_flutes_reach_the_toolpath() -> None:
    (bit,) = profile_of(description()).tools
    assert (bit.kind, bit.flutes, bit.angle_deg) == ("v_bit", 1, 60.0)

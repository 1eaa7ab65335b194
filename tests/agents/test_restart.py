"""Going on with a half-made part, and work cards that people follow: over the agent's own HTTP, with no broker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec import structs

from agents.agent import Agent
from agents.contract.vocabulary import Process
from agents.hands import Hands, NotPossible
from agents.inputs import Wake
from agents.lease import LeaseState
from agents.spool import Lease
from firmware_bridges import bridge as b
from firmware_bridges.registry import open_bridge
from tests.agents.peer import eventually
from tests.agents.scene import PROGRAM, ScriptedBridge, grant_of, machine_settings, offer_of, shop_config
from tests.agents.test_local_api import House

KEPT = {"height_kept": True}


@pytest.fixture
def house(memory_path: Path) -> Iterator[House]:
    made = House(memory_path)
    yield made
    made.close()


def interrupted(house: House, at_line: int = 6) -> tuple[ScriptedBridge, str]:
    """An own job that lost its machine after so many lines; the machine is back and re-armed."""
    bridge = house.bridges["marlin"]
    house.call("/api/machines/m1/bed-clear", {})
    _, said, _ = house.call("/api/machines/m1/own-jobs", PROGRAM)
    eventually(lambda: bridge.runs)
    bridge.first_line()
    bridge.progress(at_line)
    bridge.fail(b.Failure.LINK_LOST, b.BridgeState.DISARMED)
    eventually(lambda: lease(house, said["said"]).state is LeaseState.FAILED)
    house.call("/api/machines/m1/rearm", {})
    return bridge, said["said"]


def lease(house: House, job: str) -> Lease:
    found = house.agent.spool.lease_of_job(job)
    assert found is not None
    return found


def test_it_goes_on_after_the_last_confirmed_line_and_the_bed_stays_occupied(house: House) -> None:
    bridge, job = interrupted(house)
    status, point, _ = house.call(f"/api/jobs/{job}/restart")
    assert (status, point["line"]) == (200, 7)
    assert "G28 X Y" in point["preamble"], "Z is not homed: the part stands there"
    assert "M109 T0 S200" in point["preamble"]
    assert len(bridge.runs) == 1, "looking moves nothing"
    status, said, _ = house.call(f"/api/jobs/{job}/restart", KEPT)
    assert (status, "line 7 of 10" in said["said"]) == (200, True)
    eventually(lambda: len(bridge.runs) == 2)
    assert bridge.from_lines == [1, 7]
    bridge.first_line()
    bridge.finish()
    eventually(lambda: house.machine("m1")["state"] == "occupied")
    assert house.call(f"/api/jobs/{job}/restart", KEPT)[0] == 409, "the part is finished: nothing half made lies there"


def test_nothing_goes_on_by_itself(house: House) -> None:
    bridge, _ = interrupted(house)
    for _ in range(3):
        house.agent.supervisors["m1"].catch_up()
    assert len(bridge.runs) == 1


def test_a_printers_height_is_the_persons_word(house: House) -> None:
    bridge, job = interrupted(house)
    status, problem, _ = house.call(f"/api/jobs/{job}/restart", {})
    assert status == 409
    assert "height" in problem["detail"]
    assert bridge.from_lines == [1]


def test_a_cleared_bed_has_no_half_made_part(house: House) -> None:
    bridge, job = interrupted(house)
    house.call("/api/machines/m1/disable", {"why": "looking at it"})
    assert house.call(f"/api/jobs/{job}/restart", KEPT)[0] == 200
    house.call("/api/machines/m1/bed-clear", {})
    house.call("/api/machines/m1/enable", {})
    gates = eventually(lambda: [g for g in house.machine("m1").get("gates", ()) if g["gate"] == "part_on_bed"])
    assert not gates[0]["open"]
    assert "gone" in gates[0]["why"]
    assert len(bridge.runs) == 1


def test_pool_work_never_starts_onto_a_half_made_part(house: House) -> None:
    bridge, job = interrupted(house)
    agent = house.agent
    offer = offer_of("pool", "o-pool", start=agent.clock.now())
    house.hear(offer)
    house.hear(grant_of(offer, start_by=agent.clock.now() + timedelta(hours=1)))
    house.call("/api/machines/m1/disable", {"why": "looking at it"})
    house.call(f"/api/jobs/{job}/restart", KEPT)
    going_on = next(one for one in agent.spool.leases("m1") if one.own)
    house.call(f"/api/jobs/{going_on.job}/cancel", {})
    house.call("/api/machines/m1/enable", {})
    eventually(lambda: lease(house, "pool").state is LeaseState.STAGED)
    agent.supervisors["m1"].catch_up()
    assert len(bridge.runs) == 1


def test_a_networks_job_goes_on_only_under_a_new_lease(house: House) -> None:
    bridge, agent = house.bridges["marlin"], house.agent
    agent.store.put(PROGRAM)
    house.call("/api/machines/m1/bed-clear", {})

    def granted(attempt: int) -> None:
        offer = offer_of("j1", f"o-{attempt}", start=agent.clock.now(), attempt=attempt)
        house.hear(offer)
        house.hear(grant_of(offer, attempt, start_by=agent.clock.now() + timedelta(hours=1)))

    granted(1)
    eventually(lambda: lease(house, "j1").start_seq)
    agent.spool.acknowledge(agent.spool.last_seq, {})
    agent.supervisors["m1"].post(Wake())
    eventually(lambda: bridge.runs)
    bridge.first_line()
    bridge.progress(6)
    bridge.fail(b.Failure.LINK_LOST, b.BridgeState.DISARMED)
    eventually(lambda: lease(house, "j1").state is LeaseState.FAILED)
    house.call("/api/machines/m1/rearm", {})
    status, problem, _ = house.call("/api/jobs/j1/restart", KEPT)
    assert status == 409
    assert "must offer it to this machine again" in problem["detail"]
    granted(2)
    eventually(lambda: lease(house, "j1").state is LeaseState.STAGED)
    assert house.call("/api/jobs/j1/restart", {"line": 6, **KEPT})[0] == 200
    eventually(lambda: lease(house, "j1").start_seq)
    assert bridge.from_lines == [1], "not before its start is committed"
    agent.spool.acknowledge(agent.spool.last_seq, {})
    agent.supervisors["m1"].post(Wake())
    eventually(lambda: len(bridge.runs) == 2)
    assert bridge.from_lines == [1, 6]


@pytest.mark.parametrize(("line", "word"), [(1, "not one to go on from"), (99, "10 lines"), (2, "height")])
def test_lines_that_cannot_be_gone_on_from_say_why(house: House, line: int, word: str) -> None:
    _, job = interrupted(house)
    status, problem, _ = house.call(f"/api/jobs/{job}/restart?line={line}")
    assert status == 409
    assert word in problem["detail"]


def test_it_goes_on_once(house: House) -> None:
    _, job = interrupted(house)
    house.call("/api/machines/m1/disable", {"why": "looking at it"})
    assert house.call(f"/api/jobs/{job}/restart", KEPT)[0] == 200
    status, problem, _ = house.call(f"/api/jobs/{job}/restart", KEPT)
    assert status == 409
    assert "already goes on" in problem["detail"]


# --- work cards -------------------------------------------------------------------------------------------------------

CARD = b"; a stool leg\nDrill 8 mm through the mark\n\nSand the edges\n"


@pytest.fixture
def bench(memory_path: Path) -> Iterator[Agent]:
    settings = machine_settings("drill")
    settings = replace(
        settings,
        description=structs.replace(settings.description, process=Process.CNC, dialect="manual", attended=False),
        bridge=b.MachineConfig("", "manual"),
    )
    agent = Agent(shop_config(memory_path, settings), open_bridge)
    agent.start()
    eventually(lambda: agent.supervisors["drill"].bridge.status().state is b.BridgeState.IDLE)
    yield agent
    agent.end()


def test_a_work_card_is_followed_step_by_step(bench: Agent) -> None:
    hands = Hands(bench)

    def card() -> tuple[int, str]:
        shown = hands.state()["machines"][0]["card"]
        return shown["line"], shown["step"]

    hands.bed_clear("drill")
    job = hands.queue_own("drill", CARD, "stool leg")
    eventually(lambda: card() == (2, "Drill 8 mm through the mark"))
    with pytest.raises(NotPossible, match="line 2, not 4"):
        hands.confirm_step("drill", 4)
    hands.confirm_step("drill", 2)
    hands.hold("drill")
    assert hands.state()["machines"][0]["card"]["asked"].startswith("Stop the machine")
    hands.confirm_standing("drill")
    eventually(lambda: (held := bench.spool.lease_of_job(job)) and held.state is LeaseState.HELD)
    hands.resume("drill")
    assert card() == (4, "Sand the edges")
    hands.confirm_step("drill", 4)
    eventually(lambda: (done := bench.spool.lease_of_job(job)) and done.state is LeaseState.FINISHED)


def test_a_machine_with_a_port_has_no_steps_to_confirm(house: House) -> None:
    status, problem, _ = house.call("/api/machines/m1/step-done", {"line": 1})
    assert status == 409
    assert "confirms its own steps" in problem["detail"]

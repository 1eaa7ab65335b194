"""The agent's end: every event is taken in once, nothing starts any more, and an upgrade's moment cannot be missed."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from agents.agent import Agent
from agents.hands import Hands
from agents.inputs import Wake
from agents.lease import LeaseState
from agents.safe_down import close_all
from firmware_bridges import bridge as b
from tests.agents.peer import eventually
from tests.agents.scene import PROGRAM, Scene, ScriptedBridge, shop_config

TOGETHER = 4


def test_turns_at_the_same_time_take_every_event_in_once(memory_path: Path) -> None:
    scene = Scene(memory_path)
    begin = threading.Barrier(TOGETHER)

    def turns() -> None:
        begin.wait()
        for _ in range(60):
            scene.supervisor.post(Wake())
            scene.supervisor.catch_up()

    with ThreadPoolExecutor(TOGETHER) as threads:
        done = [threads.submit(turns) for _ in range(TOGETHER)]
    scene.close()
    assert [one.exception() for one in done] == [None] * TOGETHER


def test_nothing_starts_once_the_machine_is_retired(memory_path: Path) -> None:
    scene = Scene(memory_path)
    scene.claim_and_grant()
    scene.supervisor.retired = True
    scene.set_flags(bed_clear=True)
    scene.acknowledge()
    assert scene.bridge.runs == []
    assert scene.spool.leases("m1")[0].state is LeaseState.STAGED, "it waits for the next agent"
    scene.supervisor.retired = False
    scene.turn()
    scene.acknowledge()
    assert len(scene.bridge.runs) == 1
    scene.close()


def test_an_agent_that_runs_something_does_not_retire_and_one_that_did_starts_nothing(memory_path: Path) -> None:
    bridge = ScriptedBridge()
    agent = Agent(shop_config(memory_path), lambda _: bridge)
    hands, supervisor = Hands(agent), agent.supervisors["m1"]
    hands.queue_own("m1", PROGRAM, "first")
    hands.bed_clear("m1")
    eventually(lambda: supervisor.catch_up() or bridge.runs)
    assert not agent.retire(), "something runs"
    bridge.first_line()
    bridge.finish()
    supervisor.catch_up()
    hands.queue_own("m1", PROGRAM, "second")
    eventually(lambda: supervisor.catch_up() or len(agent.spool.leases("m1", frozenset({LeaseState.STAGED}))) == 1)
    assert agent.retire()
    hands.bed_clear("m1")
    agent.end()
    assert len(bridge.runs) == 1
    assert bridge.snapshot.state is b.BridgeState.IDLE


class Stuck(ScriptedBridge):
    """Its port does not close."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = threading.Event()

    def close(self) -> None:
        self.let_go.wait(30)


def test_a_port_that_does_not_close_keeps_no_other_machine_on() -> None:
    stuck, other = Stuck(), ScriptedBridge()
    close_all([stuck, other], within_s=0.05)
    stuck.let_go.set()
    assert other.calls == ["close"]

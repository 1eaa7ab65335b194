"""A shop's file that changed: a machine taken out of it is waited for no more, and an agent keeps its name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agents.agent import Agent
from agents.config import MqttSettings
from agents.contract import messages as m
from agents.contract.envelope import decode
from agents.contract.topics import MACHINE
from agents.lease import LeaseState
from agents.spool import SpoolBroken
from tests.agents.scene import Scene, ScriptedBridge, machine_settings, shop_config


class Line:
    """A line to a broker that takes everything down."""

    is_up, protocol = True, "5"

    def __init__(self) -> None:
        self.said: list[tuple[str, bytes, bool]] = []

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, qos: int = 1) -> bool:
        self.said.append((topic, payload, retain))
        return True

    def subscribe(self, topics: tuple[str, ...]) -> None: ...


def without_it(folder: Path) -> Agent:
    """The agent on the same data, of a shop that has another machine now."""
    config = shop_config(folder, machine_settings("m2"), mqtt=MqttSettings(host="broker.invalid"))
    return Agent(config, lambda _: ScriptedBridge())


def told(agent: Agent, kind: type[m.Message]) -> list[m.Message]:
    bodies = [decode(payload).body for _, payload in agent.spool.unacknowledged()]
    return [body for body in bodies if isinstance(body, kind)]


def test_what_it_held_and_had_not_begun_is_given_up(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.claim_and_grant()
    scene.close()
    agent = without_it(tmp_path)
    lease = agent.spool.lease_of_job("j1")
    assert lease is not None
    assert lease.state is LeaseState.RELEASED
    (given_up,) = told(agent, m.GivenUp)
    assert isinstance(given_up, m.GivenUp)
    assert (given_up.job, given_up.fence) == ("j1", 1)
    (holdings,) = told(agent, m.Holdings)
    assert isinstance(holdings, m.Holdings)
    assert holdings.jobs == ()
    withdrawn = m.Withdrawal(job="j1", lease=lease.lease, fence=1, why="late")
    assert agent._received("inbox", scene.message(withdrawn))
    agent.end()


def test_what_ran_has_failed_and_it_moves_nothing_should_it_come_back(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.set_flags(bed_clear=True)
    scene.claim_and_grant()
    scene.acknowledge()
    scene.bridge.first_line()
    scene.turn()
    scene.close()
    agent = without_it(tmp_path)
    (failed,) = told(agent, m.Failed)
    assert isinstance(failed, m.Failed)
    assert "taken out" in failed.why
    assert agent.spool.flags("m1").disarmed
    assert not agent.spool.flags("m1").bed_clear
    agent.end()


def test_the_brokers_kept_report_of_it_is_taken_back(tmp_path: Path) -> None:
    agent = Agent(replace(shop_config(tmp_path), mqtt=MqttSettings(host="broker.invalid")), lambda _: ScriptedBridge())
    agent.end()
    agent, line = without_it(tmp_path), Line()
    agent.line = line  # type: ignore[assignment]
    agent._connected()
    gone = MACHINE.of(shop="alder", agent="pi1", machine="m1")
    assert (gone, b"", True) in line.said
    assert not any(topic.endswith("machine/m2") and not payload for topic, payload, _ in line.said)
    agent.line = None
    agent.end()


@pytest.mark.parametrize("changed", [{"agent": "pi2"}, {"shop": "oak"}])
def test_an_agent_does_not_go_on_with_the_memory_of_another_name(tmp_path: Path, changed: dict[str, str]) -> None:
    config = shop_config(tmp_path, mqtt=MqttSettings(host="broker.invalid"))
    Agent(config, lambda _: ScriptedBridge()).end()
    with pytest.raises(SpoolBroken, match="memory of agent/alder/pi1"):
        Agent(replace(config, **changed), lambda _: ScriptedBridge())  # type: ignore[arg-type]
    Agent(config, lambda _: ScriptedBridge()).end()


def test_a_memory_from_before_names_were_written_down_is_known_by_its_journal(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.claim_and_grant()
    scene.close()
    config = replace(shop_config(tmp_path), agent="pi2")
    with pytest.raises(SpoolBroken, match="memory of agent/alder/pi1"):
        Agent(config, lambda _: ScriptedBridge())

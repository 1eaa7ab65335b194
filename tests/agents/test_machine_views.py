"""What the network is told of a machine, and how often."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.contract.envelope import decode
from agents.contract.messages import AgentPresence, MachineReport
from tests.agents.den import Den


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Den, list[object]]:
    """A shop with a scheduler, and the reports that it publishes from now on."""
    den, told = Den(tmp_path, scheduler=True), []

    def publish(topic: str, payload: bytes, *, retain: bool = False, qos: int = 1) -> bool:
        body = decode(payload).body
        assert retain
        told.append(body)
        return True

    monkeypatch.setattr(den.agent.line, "publish", publish)
    den.agent.reporting.all_new()
    assert len(told) == 1
    return den, told


def test_what_is_not_new_is_said_again_after_minutes_only(reports: tuple[Den, list[object]]) -> None:
    """An older report that came late, or a second time, would stand for as long as nothing changes."""
    den, told = reports
    for _ in range(299):
        den.clock.go(1)
        den.agent.reporting.changed("m1")
    assert len(told) == 1
    den.clock.go(2)
    den.agent.reporting.changed("m1")
    assert len(told) == 2
    assert told[0] == told[1]


def test_presence_is_said_again_after_minutes(reports: tuple[Den, list[object]]) -> None:
    """The will of a line that was lost may come twice: the shop would count as gone until its next start."""
    den, told = reports
    for _ in range(299):
        den.clock.go(1)
        den.agent.machine_changed("m1")
    assert len(told) == 1
    den.clock.go(2)
    den.agent.machine_changed("m1")
    assert [said.online for said in told if isinstance(said, AgentPresence)] == [True]


def test_what_is_new_is_said_at_once(reports: tuple[Den, list[object]]) -> None:
    den, told = reports
    den.hands.enable("m1", "its belt is worn")
    den.agent.reporting.changed("m1")
    assert len(told) == 2
    first, second = told
    assert isinstance(first, MachineReport)
    assert isinstance(second, MachineReport)
    assert first.state != second.state

"""Machines that people drive keep the same contract: nothing is done before somebody says so."""

from __future__ import annotations

import threading

import pytest

from firmware_bridges.bridge import (
    BridgeState,
    Capability,
    Event,
    Failure,
    MachineConfig,
    Notice,
    NotNow,
    NotSupported,
    RunCancelled,
    RunFailed,
    RunFinished,
    RunStarted,
)
from firmware_bridges.manual import ManualBridge
from tests.firmware_bridges.simulated_line import Lines, OwnClock

CARD = ["; bracket, four holes", "Clamp the bar in the vice", "", "Drill 5 mm at the four marks", "Deburr", "; done"]


@pytest.fixture
def bridge() -> ManualBridge:
    return ManualBridge(MachineConfig("", "manual"), clock=OwnClock(), spawn=lambda t, n: threading.Thread(target=t))


@pytest.fixture
def events(bridge: ManualBridge) -> list[Event]:
    heard: list[Event] = []
    bridge.session.emit = heard.append  # type: ignore[method-assign]
    assert Capability.HUMAN_CONFIRMED in bridge.connect().capabilities
    return heard


def test_a_card_is_done_step_by_step(bridge: ManualBridge, events: list[Event]) -> None:
    bridge.run(Lines(CARD))
    assert bridge.card().line == 2
    assert bridge.status().state is BridgeState.STARTING, "nobody did anything yet"
    with pytest.raises(NotNow, match="line 2"):
        bridge.confirm_step(4)
    bridge.confirm_step(2)
    assert RunStarted(2) in events
    with pytest.raises(NotNow):
        bridge.confirm_step(2)
    bridge.confirm_step(4)
    assert not any(isinstance(event, RunFinished) for event in events)
    bridge.confirm_step(5)
    assert isinstance(events[-1], RunFinished)
    assert events[-1].lines == len(CARD)
    assert next(event.text for event in events if isinstance(event, Notice)) == "Line 2: Clamp the bar in the vice"


def test_a_hold_is_held_when_a_person_says_so(bridge: ManualBridge, events: list[Event]) -> None:
    bridge.run(Lines(CARD))
    bridge.confirm_step(2)
    bridge.hold()
    assert bridge.card().asked
    assert bridge.status().state is BridgeState.HOLDING
    with pytest.raises(NotNow):
        bridge.confirm_step(4)
    with pytest.raises(NotNow):
        bridge.resume()
    bridge.confirm_standing()
    assert bridge.status().state is BridgeState.HELD
    bridge.resume()
    bridge.confirm_step(4)
    bridge.cancel()
    assert not any(isinstance(event, RunCancelled) for event in events)
    bridge.confirm_standing()
    assert isinstance(events[-1], RunCancelled)
    assert events[-1].checkpoint.line == 4


def test_emergency_stop_says_that_it_cannot_stop_the_machine(bridge: ManualBridge, events: list[Event]) -> None:
    bridge.run(Lines(CARD))
    bridge.emergency_stop()
    failed = events[-1]
    assert isinstance(failed, RunFailed)
    assert failed.failure is Failure.EMERGENCY_STOP
    assert failed.may_be_moving
    with pytest.raises(NotNow):
        bridge.run(Lines(CARD))
    bridge.rearm()
    bridge.run(Lines(CARD), 4)
    assert bridge.card().line == 4


def test_what_people_machines_cannot_do(bridge: ManualBridge, events: list[Event]) -> None:
    with pytest.raises(NotSupported):
        bridge.home()
    with pytest.raises(NotSupported):
        bridge.run(Lines(CARD), 99)
    with pytest.raises(NotNow):
        bridge.confirm_standing()
    bridge.run(Lines(CARD))
    bridge.close()
    assert any(isinstance(event, RunFailed) and event.failure is Failure.LINK_LOST for event in events)

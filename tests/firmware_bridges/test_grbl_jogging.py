"""Jogging: a person moves a machine by hand, on a real pseudo-terminal with a twin at its other end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from firmware_bridges.bridge import BridgeError, BridgeState, Capability, NotNow, RunStarted
from firmware_bridges.grbl import GrblBridge
from tests.firmware_bridges.machines import Machine, machines
from tests.firmware_bridges.simulated_line import Lines
from tests.firmware_bridges.test_conformance import PATIENCE_S, at_work, names

that_jogs = pytest.mark.parametrize("machine", machines(Capability.JOG), ids=names)


def once(host: Any, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The twin's state as soon as it is as wanted."""
    until = time.monotonic() + PATIENCE_S
    while not wanted(state := host.state()):
        assert time.monotonic() < until, f"it does not come to that: {state['state']} at {state['position']}"
    return dict(state)


@that_jogs
def test_it_goes_by_as_much_as_was_asked_for_and_stands(machine: Machine) -> None:
    with at_work(machine) as (bridge, host, _):
        assert isinstance(bridge, GrblBridge)
        x, y, z = host.state()["position"]
        bridge.jog(7.5, -0.0, 0.0, 1_200.0)
        bridge.jog(-2.5, 0.0, 0.0, 1_200.0)
        there = once(host, lambda state: state["state"] == "Idle")
        assert there["position"] == pytest.approx([x + 5.0, y, z], abs=0.02)
        assert bridge.status().state is BridgeState.IDLE


@that_jogs
def test_it_stops_at_once_when_it_is_let_go(machine: Machine) -> None:
    with at_work(machine, speed=1.0) as (bridge, host, _):
        assert isinstance(bridge, GrblBridge)
        x = host.state()["position"][0]
        bridge.jog(50.0, 0.0, 0.0, 300.0)  # ten seconds of it
        once(host, lambda state: state["position"][0] > x + 0.1)
        bridge.cancel_jog()
        there = once(host, lambda state: state["state"] == "Idle")
        assert x < there["position"][0] < x + 25.0


@that_jogs
def test_what_the_controller_does_not_take_moves_nothing_and_is_said(machine: Machine) -> None:
    with at_work(machine) as (bridge, host, _):
        assert isinstance(bridge, GrblBridge)
        before = host.state()["position"]
        with pytest.raises(BridgeError, match="does not jog"):
            bridge.jog(0.0, 0.0, 0.0, -1.0)
        assert host.state()["position"] == before


@that_jogs
def test_nobody_jogs_under_a_run(machine: Machine) -> None:
    with at_work(machine) as (bridge, _, story):
        assert isinstance(bridge, GrblBridge)
        bridge.run(Lines(list(machine.program)))
        story.wait_for(RunStarted)
        with pytest.raises(NotNow):
            bridge.jog(1.0, 0.0, 0.0, 600.0)

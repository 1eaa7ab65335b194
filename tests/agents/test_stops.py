"""The stop button: one machine's trouble keeps no other from being stopped; what went nowhere is not called a stop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agents.agent import Agent
from agents.hands import Hands, NotPossible
from agents.spool import MachineFlags
from firmware_bridges.bridge import BridgeState, MachineConfig, NotSupported
from tests.agents.scene import FakeClock, ScriptedBridge, machine_settings, shop_config


class Stuck(ScriptedBridge):
    """Its stop does not come back before it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.free = threading.Event()

    def emergency_stop(self) -> None:
        self.free.wait(10)
        super().emergency_stop()


class WithoutStop(ScriptedBridge):
    """A cable cannot stop it (the dialect acknowledge-only)."""

    def emergency_stop(self) -> None:
        raise NotSupported("use the button on the machine")


Made = Callable[..., tuple[Agent, Hands]]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Made]:
    agents = []

    def make(*bridges: ScriptedBridge) -> tuple[Agent, Hands]:
        machines = [machine_settings(f"m{number}") for number in range(1, len(bridges) + 1)]
        waiting = iter(bridges)

        def open_bridge(config: MachineConfig) -> ScriptedBridge:
            return next(waiting)

        agents.append(Agent(shop_config(tmp_path, *machines), open_bridge, clock=FakeClock()))
        return agents[-1], Hands(agents[-1])

    yield make
    for agent in agents:
        agent.spool.close()


def test_a_machine_that_no_cable_can_stop_keeps_no_other_from_being_stopped(shop: Made) -> None:
    first, second, third = WithoutStop(), ScriptedBridge(), ScriptedBridge()
    agent, hands = shop(first, second, third)
    with pytest.raises(NotPossible, match=r"m1 was NOT stopped from here: use the button.*; m2 was stopped"):
        hands.stop_all()
    assert "emergency_stop" in second.calls
    assert "emergency_stop" in third.calls
    assert all(agent.spool.flags(name).disarmed for name in ("m1", "m2", "m3"))
    with pytest.raises(NotPossible, match="NOT stopped"):
        hands.stop("m1")


def test_a_stuck_port_keeps_no_other_machine_waiting(shop: Made) -> None:
    stuck, other = Stuck(), ScriptedBridge()
    _, hands = shop(stuck, other)
    done = threading.Thread(target=hands.stop_all, daemon=True)
    seen = threading.Event()
    stop = other.emergency_stop
    other.emergency_stop = lambda: (stop(), seen.set())  # type: ignore[assignment, func-returns-value, method-assign]
    done.start()
    assert seen.wait(5), "the second machine waited for the first"
    stuck.free.set()
    done.join(5)
    assert "emergency_stop" in stuck.calls


def test_a_stop_that_had_nowhere_to_go_is_not_called_one(shop: Made) -> None:
    bridge = ScriptedBridge()
    _, hands = shop(bridge)
    bridge.become(BridgeState.OFFLINE)
    with pytest.raises(NotPossible, match="m1 is not connected: use its own button NOW"):
        hands.stop("m1")


@pytest.mark.parametrize("act", ["bed_clear", "load", "enable"])
def test_what_a_person_says_at_the_same_moment_does_not_undo_a_stop(shop: Made, act: str) -> None:
    """The stop waits for no lock of the supervisor's, so the flags must be read and written in one transaction."""
    agent, hands = shop(ScriptedBridge())
    flags, pressed = agent.spool.flags, threading.Thread(target=lambda: hands.stop("m1"), daemon=True)

    def read(machine: str) -> MachineFlags:
        found = flags(machine)
        if threading.current_thread() is not pressed and pressed.ident is None:
            pressed.start()  # just behind the reading
            pressed.join(0.3)
        return found

    agent.spool.flags = read  # type: ignore[method-assign]
    {
        "bed_clear": lambda: hands.bed_clear("m1"),
        "load": lambda: hands.load("m1", ()),
        "enable": lambda: hands.enable("m1", "belt"),
    }[act]()
    pressed.join(5)
    assert flags("m1").disarmed == "stopped by a person"

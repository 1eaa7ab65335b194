"""Machines that lost their host: what is hot or turning goes off as soon as somebody can say so; nothing moves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from firmware_bridges import marlin_scripts, wire_bridge
from firmware_bridges.bridge import Bridge, BridgeState, MachineConfig
from firmware_bridges.registry import open_bridge
from firmware_bridges.twins.host import TwinHost
from firmware_bridges.twins.run import TwinOptions, make_twin
from tests.agents.peer import eventually
from tests.firmware_bridges.machines import machines
from tests.firmware_bridges.simulated_line import Lines

#: Long slow moves: the planner is full, and every answer comes late.
SLOW = [
    *("G21", "G90", "M140 S60", "M104 S200"),
    *(f"G1 X{20 + (i * 37) % 150} Y{20 + (i * 53) % 150} F600" for i in range(400)),
]


@contextmanager
def hot(**settings: str) -> Iterator[tuple[Bridge, TwinHost]]:
    """A printer at work and at temperature, on a board that does not start anew when its port is opened."""
    known = {"resets_on_open": "0", "keep_executed": "1", **settings}
    with TwinHost(make_twin(TwinOptions("marlin", settings=tuple(known.items()))), speed=40.0) as host:
        bridge = open_bridge(MachineConfig(port=host.port, dialect="marlin", options=(("banner_wait_s", "0.1"),)))
        bridge.connect()
        try:
            bridge.run(Lines(SLOW))
            eventually(lambda: bridge.status().line >= 20, 25.0, "it prints")
            assert targets(host) == {"E0": 200.0, "bed": 60.0}
            yield bridge, host
        finally:
            bridge.close()


def targets(host: TwinHost) -> dict[str, float]:
    return {name: target for name, (_, target) in host.state()["heaters"].items()}


def test_a_printer_whose_cable_came_back_is_switched_off_and_not_moved() -> None:
    with hot(advanced_ok="0") as (bridge, host):
        host.fault("vanish", for_s=0.3)
        eventually(lambda: bridge.status().state is BridgeState.DISARMED, 25.0, "the link is back")
        assert targets(host) == {"E0": 0.0, "bed": 0.0}
        assert bridge.status().state is BridgeState.DISARMED, "a person has not been there yet"


def test_a_print_that_somebody_started_from_the_card_meanwhile_is_left_alone() -> None:
    with hot(advanced_ok="0", sd_card="1") as (bridge, host):
        host.fault("vanish", for_s=1.0)
        eventually(lambda: bridge.status().state is BridgeState.OFFLINE, 25.0, "the link is lost")
        host.person("print_from_card", bytes=10**9)
        eventually(lambda: bridge.status().state is BridgeState.DISARMED, 25.0, "the link is back")
        assert targets(host)["E0"] == 200.0


def test_a_machine_that_was_too_busy_to_answer_when_it_came_back_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(marlin_scripts, "ANSWER_S", 0.3)
    monkeypatch.setattr(wire_bridge, "ASK_AGAIN_S", 0.2)
    with hot(advanced_ok="0") as (bridge, host):
        host.fault("vanish", for_s=0.3)
        eventually(lambda: bridge.status().state is BridgeState.OFFLINE, 25.0, "the link is lost")
        host.fault("mute")
        eventually(lambda: bridge.status().state is BridgeState.UNIDENTIFIED, 25.0, "the port is back")
        eventually(lambda: isinstance(bridge._refusal, Exception), 25.0, "nobody answered")  # type: ignore[attr-defined]
        host.fault("clear")
        eventually(lambda: bridge.status().state is BridgeState.DISARMED, 25.0, "it was asked again")
        assert targets(host) == {"E0": 0.0, "bed": 0.0}


def test_a_hold_while_the_spindle_comes_up_to_speed_stops_it_and_nothing_moves() -> None:
    """It was refused, for the machine is held by name: and then the spindle turned and the machine moved."""
    router = next(one for one in machines() if one.process == "cnc" and one.kind == "grbl")
    with router.make_host(router.make(), speed=1.0) as host:
        bridge = router.bridge(host.port, options=(("spin_up_s", "1.5"),))
        bridge.connect()
        try:
            if router.homes_first:
                host.set_speed(router.speed)
                bridge.home()
                host.set_speed(1.0)
            bridge.run(Lines(list(router.program)))
            eventually(lambda: bridge.status().line >= 8, 25.0, "it cuts")
            bridge.hold()
            eventually(lambda: bridge.status().state is BridgeState.HELD, 25.0, "it stands")
            bridge.resume()
            eventually(lambda: bool(bridge.status().spindle), 25.0, "the spindle comes up to speed")
            at = bridge.status().position
            bridge.hold()
            eventually(lambda: host.state()["spindle"] == 0, 25.0, "the spindle is stopped")
            gone_on = host.now() + 2.0
            eventually(lambda: host.now() > gone_on, 25.0, "the time at which it would have gone on")
            assert bridge.status().state is BridgeState.HELD
            assert bridge.status().position == at
            bridge.resume()
            eventually(lambda: bridge.status().state is BridgeState.RUNNING, 25.0, "it goes on when it is told to")
            assert host.state()["spindle"] > 0
        finally:
            bridge.close()

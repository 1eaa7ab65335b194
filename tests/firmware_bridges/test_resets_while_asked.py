"""A controller that starts anew while the bridge asks it something: before a toolpath's first line, or as it homes."""

from __future__ import annotations

import pytest

from firmware_bridges.bridge import BridgeError, BridgeState, Failure, RunFailed, RunFinished
from firmware_bridges.twins.grbl import GrblTwin
from firmware_bridges.twins.marlin import MarlinTwin
from tests.firmware_bridges.simulated_grbl import SimulatedGrbl
from tests.firmware_bridges.simulated_line import Lines, SimulatedLine

PROGRAM = ["M4 S0", "G0 X10 Y10", "G1 X60 Y10 F3000 S300", "M5 S0"]


def laser(dry_run: str = "no") -> SimulatedGrbl:
    line = SimulatedGrbl(GrblTwin(profile="laser", keep_lines=True), process="laser", dry_run=dry_run)
    line.start()
    return line


def steps_until_it_runs() -> int:
    """How many steps of simulated time lie between the request and the first confirmed line."""
    line = laser()
    line.bridge.run(Lines(PROGRAM))
    count = 0
    while line.bridge.session.state is BridgeState.STARTING:
        line._step()
        count += 1
    return count


def test_a_reset_at_any_moment_before_the_first_line_ends_the_start_and_nothing_moves() -> None:
    """Its position may be zero where it stands: the toolpath would burn elsewhere."""
    for moment in range(0, steps_until_it_runs(), 3):
        line = laser()
        line.bridge.run(Lines(PROGRAM))
        for _ in range(moment):
            line._step()
        consumed = line.grbl.consumed_count
        line.twin.boot(line.clock.now, "watchdog")
        assert line.run_until(lambda: not line.bridge.session.busy, 10), moment  # noqa: B023 (called in this turn)
        outcome = line.outcome
        assert isinstance(outcome, RunFailed), moment
        assert outcome.failure is Failure.CONTROLLER_RESET
        assert line.bridge.session.state is BridgeState.DISARMED
        line.run_until(lambda: False, 5)
        moved = [text for text in list(line.grbl.consumed)[consumed:] if text.startswith(("G0", "G1"))]
        assert not moved, (moment, moved)
        line.bridge.rearm()
        assert line.until_state(BridgeState.IDLE), moment


def test_the_greeting_that_ends_check_mode_ends_nothing_else() -> None:
    line = laser(dry_run="yes")
    line.bridge.run(Lines(PROGRAM))
    assert line.run_until(lambda: line.outcome is not None, 60)
    assert isinstance(line.outcome, RunFinished)


def test_a_router_that_starts_anew_while_it_homes_waits_for_a_person() -> None:
    line = SimulatedGrbl(GrblTwin(profile="router", settings={22: 1}), process="cnc")
    line.start()
    errors: list[BridgeError] = []
    line.bridge._say(line.bridge._home_script(), lambda _: None, errors.append)
    line.run_until(lambda: False, 0.5)
    line.twin.boot(line.clock.now, "watchdog")
    assert line.run_until(lambda: bool(errors), 10)
    assert line.bridge.session.state is BridgeState.DISARMED
    assert line.bridge.status().homed is False


def test_a_printer_that_starts_anew_while_it_homes_waits_for_a_person() -> None:
    line = SimulatedLine(MarlinTwin())
    line.connect()
    line.bridge._say(line.bridge._home_script(), lambda _: None)
    line.run_until(lambda: False, 0.5)
    line.twin.boot(line.clock.now, "watchdog")
    assert line.run_until(lambda: line.bridge.session.state is BridgeState.DISARMED, 10)


@pytest.mark.parametrize("kind", ["laser", "printer"])
def test_what_asks_for_a_greeting_takes_it(kind: str) -> None:
    line: SimulatedLine = laser() if kind == "laser" else SimulatedLine(MarlinTwin())
    if kind == "printer":
        line.connect()
    line.twin.boot(line.clock.now, "watchdog")
    assert line.run_until(lambda: line.bridge.session.state is BridgeState.DISARMED, 10)
    line.run_until(lambda: False, 3)
    line.bridge.rearm()
    assert line.run_until(lambda: line.bridge.session.state is BridgeState.IDLE, 20)

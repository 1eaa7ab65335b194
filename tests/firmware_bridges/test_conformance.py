"""What every bridge must do, on every machine of `machines.MACHINES`: the contract of `bridge.py`, word by word."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from firmware_bridges.bridge import (
    BUSY_STATES,
    Bridge,
    BridgeState,
    Capability,
    Event,
    Failure,
    Identified,
    NotNow,
    NotSupported,
    PortUnavailable,
    Progress,
    RunCancelled,
    RunFailed,
    RunFinished,
    RunStarted,
    StateChanged,
    WrongMachine,
)
from firmware_bridges.checkpoint import read_checkpoint
from firmware_bridges.twins.host import TwinHost
from tests.firmware_bridges.machines import Machine, machines
from tests.firmware_bridges.simulated_line import Lines

PATIENCE_S = 15.0


class Story:
    """Everything a bridge told, in order; and a way to wait for the next thing."""

    def __init__(self, bridge: Bridge) -> None:
        self.events: list[Event] = []
        self._told = threading.Condition()
        bridge.listen(self._hear)

    def _hear(self, event: Event) -> None:
        with self._told:
            self.events.append(event)
            self._told.notify_all()

    def wait(self, wanted: Callable[[Event], bool], what: str) -> Event:
        """The first event that is `wanted`; fails the test when none comes."""
        with self._told:
            found = self._told.wait_for(lambda: any(map(wanted, self.events)), PATIENCE_S)
            assert found, f"{what} did not come; the story ends with {self.events[-5:]}"
            return next(filter(wanted, self.events))

    def wait_state(self, state: BridgeState) -> None:
        self.wait(lambda e: isinstance(e, StateChanged) and e.state is state, str(state))

    def wait_for(self, kind: type) -> Event:
        return self.wait(lambda e: isinstance(e, kind), kind.__name__)

    def of(self, kind: type) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]


@contextmanager
def at_work(machine: Machine, *, speed: float | None = None, **changes: object) -> Iterator[tuple[Bridge, Any, Story]]:
    """A connected bridge, its twin's host (or the person at it) and its story."""
    with machine.make_host(machine.make(), speed=machine.speed) as host:
        bridge = machine.bridge(host.port, **changes)
        story = Story(bridge)
        bridge.connect()
        machine.connected(host, bridge)
        try:
            if machine.homes_first:
                bridge.home()
            host.set_speed(speed or machine.speed)
            yield bridge, host, story
        finally:
            bridge.close()


def names(value: object) -> str:
    return value.name if isinstance(value, Machine) else str(value)


every = pytest.mark.parametrize("machine", machines(), ids=names)
that_holds = pytest.mark.parametrize("machine", machines(Capability.HOLD, Capability.RESUME), ids=names)
that_greets = pytest.mark.parametrize("machine", [m for m in machines() if m.greets], ids=names)
that_has_a_port = pytest.mark.parametrize(
    "machine", [m for m in machines() if Capability.HUMAN_CONFIRMED not in m.can], ids=names
)
that_stops = pytest.mark.parametrize("machine", machines(Capability.EMERGENCY_STOP), ids=names)


@every
def test_connecting_identifies_and_moves_nothing(machine: Machine) -> None:
    with at_work(machine) as (bridge, host, story):
        assert bridge.status().state is BridgeState.IDLE
        identity = bridge.status().identity
        assert identity is not None
        assert identity.dialect == machine.dialect
        assert identity.capabilities >= machine.can
        story.wait_for(Identified)
        if not machine.homes_first:
            assert machine.executed(host.twin) == []


@every
def test_a_run_executes_every_line_once_and_in_order(machine: Machine) -> None:
    with at_work(machine) as (bridge, host, story):
        before = len(machine.executed(host.twin))
        bridge.run(Lines(list(machine.program)))
        finished = story.wait_for(RunFinished)
        assert isinstance(finished, RunFinished)
        assert finished.lines == len(machine.program)
        assert machine.executed(host.twin)[before:] == machine.wanted(machine.program)
        assert machine.stands(host.state()) or not machine.tells_standing
        assert bridge.status().state is BridgeState.IDLE
        assert bridge.status().line == len(machine.program)
        order = [type(e) for e in story.events if isinstance(e, RunStarted | Progress | RunFinished)]
        assert order[0] is RunStarted
        assert order[-1] is RunFinished
        lines = [e.checkpoint.line for e in story.events if isinstance(e, Progress)]
        assert lines == sorted(lines)
        assert not story.of(RunFailed)


@every
def test_requests_that_do_not_fit_the_state_are_refused_with_a_sentence(machine: Machine) -> None:
    with at_work(machine, speed=1.0) as (bridge, _, story):
        for request in (bridge.hold, bridge.resume, bridge.cancel):
            with pytest.raises((NotNow, NotSupported), match=r"\w+ .*\."):
                request()
        bridge.run(Lines(list(machine.program)))
        story.wait_state(BridgeState.RUNNING)
        with pytest.raises(NotNow, match="running"):
            bridge.run(Lines(list(machine.program)))
        with pytest.raises(NotNow):
            bridge.home() if Capability.HOMING in machine.can else bridge.run(Lines(["; nothing"]))


@that_holds
def test_a_held_run_stands_and_goes_on_where_it_stood(machine: Machine) -> None:
    with at_work(machine, speed=2.0) as (bridge, host, story):
        before = len(machine.executed(host.twin))
        bridge.run(Lines(list(machine.program)))
        story.wait(lambda e: isinstance(e, Progress) and e.checkpoint.line >= machine.seen_working, "work")
        bridge.hold()
        host.set_speed(machine.speed)  # its buffer empties
        story.wait_state(BridgeState.HELD)
        first, at = host.state(), len(machine.executed(host.twin))
        threading.Event().wait(0.1)
        assert len(machine.executed(host.twin)) == at
        assert host.state()["position"] == first["position"] or not machine.tells_standing
        assert first["spindle"] == 0
        bridge.resume()
        story.wait_for(RunFinished)
        assert machine.executed(host.twin)[before:] == machine.wanted(machine.program)


@every
def test_a_cancelled_run_stands_and_is_off_and_another_may_start(machine: Machine) -> None:
    with at_work(machine, speed=2.0) as (bridge, host, story):
        bridge.run(Lines(list(machine.program)))
        story.wait(lambda e: isinstance(e, Progress) and e.checkpoint.line >= machine.seen_working, "work")
        host.set_speed(machine.speed)
        bridge.cancel()
        cancelled = story.wait_for(RunCancelled)
        assert isinstance(cancelled, RunCancelled)
        assert machine.seen_working <= cancelled.checkpoint.line < len(machine.program)
        state = host.state()
        assert machine.stands(state) or not machine.tells_standing
        assert machine.is_off(state)
        assert not story.of(RunFinished)
        bridge.run(Lines(list(machine.program)))
        story.wait_for(RunFinished)


@that_stops
def test_an_emergency_stop_ends_the_run_and_nothing_follows_it(machine: Machine) -> None:
    with at_work(machine, speed=2.0) as (bridge, host, story):
        bridge.run(Lines(list(machine.program)))
        story.wait(lambda e: isinstance(e, Progress) and e.checkpoint.line >= machine.seen_working, "work")
        bridge.emergency_stop()
        failed = story.wait_for(RunFailed)
        assert isinstance(failed, RunFailed)
        assert failed.failure is Failure.EMERGENCY_STOP
        assert bridge.status().state in (BridgeState.FAULT, BridgeState.ALARM, BridgeState.DISARMED)
        host.set_speed(machine.speed)
        threading.Event().wait(0.3)  # what was taken before the stop is over: 10 s of the machine's time
        count, state = len(machine.executed(host.twin)), host.state()
        threading.Event().wait(0.1)
        assert len(machine.executed(host.twin)) == count < len(machine.wanted(machine.program))
        assert machine.is_off(state)
        with pytest.raises(NotNow):
            bridge.run(Lines(list(machine.program)))


@that_greets
def test_a_controller_that_starts_anew_ends_the_run_and_disarms(machine: Machine) -> None:
    with at_work(machine, speed=2.0) as (bridge, host, story):
        bridge.run(Lines(list(machine.program)))
        story.wait(lambda e: isinstance(e, Progress) and e.checkpoint.line >= machine.seen_working, "work")
        host.fault("reset")
        host.set_speed(machine.speed)
        failed = story.wait_for(RunFailed)
        assert isinstance(failed, RunFailed)
        assert failed.failure is Failure.CONTROLLER_RESET
        assert bridge.status().state is BridgeState.DISARMED
        sent = host.state()["wire"]["to_machine"]
        threading.Event().wait(0.2)
        assert host.state()["wire"]["to_machine"] == sent, "bytes were sent to a machine that is disarmed"
        with pytest.raises(NotNow, match="re-arm"):
            bridge.run(Lines(list(machine.program)))
        bridge.rearm()
        story.wait(_rearmed, "re-armed")


def _rearmed(event: Event) -> bool:
    before, after = (BridgeState.DISARMED, BridgeState.ALARM), (BridgeState.IDLE, BridgeState.ALARM)
    return isinstance(event, StateChanged) and event.was in before and event.state in after


@that_has_a_port
def test_a_vanished_port_fails_the_run_and_disarms_until_a_person_rearms(machine: Machine, tmp_path: Path) -> None:
    port = tmp_path / "machine"
    with TwinHost(machine.make(), speed=machine.speed, port=port) as host:
        bridge = machine.bridge(host.port)
        story = Story(bridge)
        bridge.connect()
        try:
            if machine.homes_first:
                bridge.home()
            host.set_speed(2.0)
            bridge.run(Lines(list(machine.program)))
            story.wait(lambda e: isinstance(e, Progress) and e.checkpoint.line >= machine.seen_working, "work")
            host.fault("vanish", for_s=0.2)
            host.set_speed(machine.speed)
            failed = story.wait_for(RunFailed)
            assert isinstance(failed, RunFailed)
            assert failed.failure is Failure.LINK_LOST
            assert failed.may_be_moving
            story.wait_state(BridgeState.OFFLINE)
            story.wait_state(BridgeState.DISARMED)
            with pytest.raises(NotNow):
                bridge.run(Lines(list(machine.program)))
            if Capability.UPLOAD_AND_START in machine.can:
                _until_it_stands(machine, host)
            bridge.rearm()
            story.wait(_rearmed, "re-armed")
        finally:
            bridge.close()


def _until_it_stands(machine: Machine, host: TwinHost) -> None:
    """A machine that has its whole job works on without us: nobody can re-arm it before it is done."""
    until = time.monotonic() + PATIENCE_S
    while not machine.stands(host.state()):
        assert time.monotonic() < until, "it works on and on"
        threading.Event().wait(0.02)


@that_has_a_port
def test_another_machine_in_the_socket_is_refused(machine: Machine) -> None:
    with TwinHost(machine.make(), speed=machine.speed) as host:
        bridge = machine.bridge(host.port, fingerprint="somebody-else")
        with pytest.raises(WrongMachine, match="another machine"):
            bridge.connect()
        assert bridge.status().state is BridgeState.OFFLINE


@that_has_a_port
def test_a_port_that_is_not_there_is_said_so(machine: Machine, tmp_path: Path) -> None:
    bridge = machine.bridge(str(tmp_path / "nowhere"))
    with pytest.raises(PortUnavailable, match=r"no port|cable"):
        bridge.connect()


@every
def test_closing_in_the_middle_fails_the_run_and_leaves_the_machine_off(machine: Machine) -> None:
    with at_work(machine, speed=2.0) as (bridge, _, story):
        bridge.run(Lines(list(machine.program)))
        story.wait(lambda e: isinstance(e, Progress) and e.checkpoint.line >= machine.seen_working, "work")
        bridge.close()
        failed = story.wait_for(RunFailed)
        assert isinstance(failed, RunFailed)
        assert failed.failure is Failure.LINK_LOST
        assert bridge.status().state is BridgeState.OFFLINE


class BreakingLines(Lines):
    """A toolpath whose file cannot be read on in the middle of the run."""

    def lines(self, from_line: int = 1) -> Iterator[tuple[int, str]]:
        for number, text in super().lines(from_line):
            if number == 12:
                raise RuntimeError("the disk went away")
            yield number, text


@that_stops
def test_a_defect_in_the_middle_of_a_run_stops_the_machine(machine: Machine) -> None:
    """A watcher that dies in silence would leave the beam on: any error ends in a fault, with everything off."""
    with at_work(machine) as (bridge, host, story):
        bridge.run(BreakingLines(list(machine.program)))
        failed = story.wait_for(RunFailed)
        assert isinstance(failed, RunFailed)
        assert "disk went away" in failed.why
        assert bridge.status().state is BridgeState.FAULT
        threading.Event().wait(0.3)
        assert machine.is_off(host.state())
        assert len(machine.executed(host.twin)) < len(machine.wanted(machine.program))


@every
def test_the_checkpoint_file_tells_the_last_confirmed_line(machine: Machine, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    with at_work(machine, options=(*machine.options, ("checkpoint_file", str(path)))) as (bridge, _, story):
        bridge.run(Lines(list(machine.program)))
        story.wait_for(RunFinished)
        checkpoint = read_checkpoint(path)
        assert checkpoint is not None
        assert checkpoint.line == len(machine.program)


@that_has_a_port
def test_only_ascii_reaches_the_wire(machine: Machine) -> None:
    with TwinHost(machine.make(), speed=machine.speed) as host:
        seen = bytearray()
        receive = host.twin.receive

        def listen_in(data: bytes, now: float) -> None:
            seen.extend(data)
            receive(data, now)

        host.twin.receive = listen_in  # type: ignore[method-assign]
        bridge = machine.bridge(host.port)
        story = Story(bridge)
        bridge.connect()
        if machine.homes_first:
            bridge.home()
        bridge.run(Lines(list(machine.program)))
        story.wait_for(RunFinished)
        bridge.close()
        assert bytes(seen).isascii() or not machine.speaks_text
        assert b"mlaut" not in seen


def test_the_busy_states_are_those_in_which_a_toolpath_is_in_the_machine() -> None:
    assert BridgeState.HELD in BUSY_STATES
    assert BridgeState.ALARM not in BUSY_STATES

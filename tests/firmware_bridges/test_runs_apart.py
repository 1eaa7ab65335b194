"""One run and the next: what is left of one is never taken for the other's, and a run that was refused is none."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from firmware_bridges.bridge import (
    BridgeError,
    BridgeState,
    Capability,
    MachineConfig,
    NotSupported,
    RunFailed,
    RunFinished,
)
from firmware_bridges.ruida import RuidaBridge
from firmware_bridges.twins.ruida import RuidaTwin
from tests.firmware_bridges.machines import Machine, machines
from tests.firmware_bridges.simulated_line import Lines
from tests.firmware_bridges.test_conformance import Story, at_work, every, names


class Unreadable(Lines):
    """The card is gone."""

    def lines(self, from_line: int = 1) -> Iterator[tuple[int, str]]:
        if self.total_lines:
            raise OSError(5, "Input/output error")
        yield from ()


@every
def test_a_toolpath_that_cannot_be_read_is_refused_or_fails_and_never_neither(machine: Machine) -> None:
    """Whoever hears a refusal takes the machine for free: no run may be left in it, and no event of one may follow."""
    with at_work(machine) as (bridge, _, story):
        try:
            bridge.run(Unreadable(list(machine.program)))
        except (OSError, BridgeError):
            assert bridge.status().state is BridgeState.IDLE
            bridge.run(Lines(list(machine.program)))
            story.wait_for(RunFinished)
            assert story.of(RunFailed) == []
        else:
            story.wait_for(RunFailed)


@pytest.mark.parametrize("machine", [m for m in machines(Capability.START_AT_LINE) if m.dialect == "grbl"], ids=names)
def test_a_start_that_cannot_be_rebuilt_leaves_the_machine_idle(machine: Machine) -> None:
    with at_work(machine) as (bridge, _, story):
        with pytest.raises(NotSupported, match="machine coordinates"):
            bridge.run(Lines(["G21", "G90", "G53 G0 Z-5", *machine.program]), 6)
        assert bridge.status().state is BridgeState.IDLE
        bridge.run(Lines(list(machine.program)))
        story.wait_for(RunFinished)
        assert story.of(RunFailed) == []


class SlowCard(Lines):
    """Gives nothing more from a line on, before it is let go."""

    def __init__(self, lines: list[str], until: int) -> None:
        super().__init__(lines)
        self.until, self.stands, self.go_on = until, threading.Event(), threading.Event()

    def lines(self, from_line: int = 1) -> Iterator[tuple[int, str]]:
        for number, text in super().lines(from_line):
            if number == self.until:
                self.stands.set()
                self.go_on.wait(20)
            yield number, text


def job(mark: str) -> list[str]:
    """More than one packet of commands that bear a mark."""
    return ["88 00 00 00 00 00 00 00 00 00 00", *[f"a9 00 {mark} 00 00"] * 900, "d7"]


def test_an_upload_that_stalled_does_not_go_on_in_the_next_run() -> None:
    """A card that gives nothing for a while, a person who stops, re-arms and starts the next job meanwhile."""
    with RuidaTwin(works_for_s=0.3) as twin:
        config = MachineConfig(f"127.0.0.1:{twin.port}", "ruida", process="laser", options=(("reply_port", "0"),))
        bridge = RuidaBridge(config)
        story = Story(bridge)
        first, second = SlowCard(job("11"), 600), SlowCard(job("22"), 600)
        try:
            bridge.connect()
            bridge.run(first)
            assert first.stands.wait(10)
            bridge.emergency_stop()
            story.wait_for(RunFailed)
            bridge.rearm()
            bridge.run(second)
            assert second.stands.wait(10)
            workers = list(bridge._workers)
            first.go_on.set()
            workers[0].join(10)
            assert not workers[0].is_alive()
            assert not twin.running, "half of a job was started"
            second.go_on.set()
            story.wait_for(RunFinished)
            assert len(story.of(RunFailed)) == 1, "the one that was stopped"
            assert _marks(twin.stored) == {0x22}
        finally:
            first.go_on.set()
            second.go_on.set()
            bridge.close()


def _marks(stored: bytes | bytearray) -> set[int]:
    return {stored[place + 2] for place in range(len(stored) - 2) if stored[place] == 0xA9}

"""A controller may answer a stop before who pressed it says so: it is the person's stop all the same."""

from __future__ import annotations

import pytest

from firmware_bridges.bridge import BridgeState, Failure, Progress, RunFailed
from tests.agents.peer import eventually
from tests.firmware_bridges.machines import Machine, machines
from tests.firmware_bridges.simulated_line import Lines
from tests.firmware_bridges.test_conformance import at_work, names


@pytest.mark.parametrize("machine", [m for m in machines() if m.dialect in ("grbl", "grblhal", "fluidnc")], ids=names)
def test_an_alarm_that_a_stop_caused_is_no_fault_of_the_machine(machine: Machine) -> None:
    """Faults of its own count towards a machine's quarantine."""
    with at_work(machine, speed=2.0) as (bridge, _, story):
        bridge.run(Lines(list(machine.program)))
        story.wait(lambda e: isinstance(e, Progress) and e.checkpoint.line >= machine.seen_working, "work")
        heard: list[str] = []
        received, emergency = bridge._received, bridge.link.emergency  # type: ignore[attr-defined]

        def hear(text: str, now: float) -> None:
            received(text, now)
            heard.append(text)

        def slow(data: bytes, *, hush: bool = False) -> bool:
            """The thread of who stops is kept waiting just behind the stop byte."""
            sent: bool = emergency(data, hush=hush)
            if hush:
                eventually(lambda: any(text.startswith("ALARM") for text in heard), what="the controller's answer")
            return sent

        bridge._received, bridge.link.emergency = hear, slow  # type: ignore[attr-defined]
        bridge.emergency_stop()
        failed = story.wait_for(RunFailed)
        assert isinstance(failed, RunFailed)
        assert failed.failure is Failure.EMERGENCY_STOP
        assert len(story.of(RunFailed)) == 1
        assert bridge.status().state is BridgeState.FAULT

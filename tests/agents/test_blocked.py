"""A machine that waits for a person waits for one also when the agent ends first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from firmware_bridges import bridge as b
from tests.agents.den import Den


@pytest.fixture
def den(tmp_path: Path) -> Iterator[Den]:
    made = Den(tmp_path)
    yield made
    made.die()


@pytest.mark.parametrize("at_work", [True, False])
@pytest.mark.parametrize(
    ("state", "failure"),
    [
        (b.BridgeState.OFFLINE, b.Failure.LINK_LOST),
        (b.BridgeState.DISARMED, b.Failure.CONTROLLER_RESET),
        (b.BridgeState.FAULT, b.Failure.EMERGENCY_STOP),
    ],
)
def test_what_blocked_a_machine_outlives_the_agent(
    den: Den, state: b.BridgeState, failure: b.Failure, *, at_work: bool
) -> None:
    den.clear()
    if at_work:
        den.queue()
        den.bridge.first_line()
        den.turn()
        den.bridge.fail(failure, into=state)
    else:
        den.bridge.become(state, failure.value)
    den.turn()
    den.die()
    den.begin()
    assert failure.value in den.flags().disarmed
    runs = den.runs
    den.clear()
    den.queue(title="another")
    den.turn()
    assert den.runs == runs
    assert "armed" in den.shut()
    den.hands.rearm("m1")
    den.turn()
    assert den.runs == runs + 1


def test_what_was_re_armed_before_it_was_heard_of_is_armed(den: Den) -> None:
    den.bridge.become(b.BridgeState.DISARMED, "the link was lost and came back")
    den.hands.rearm("m1")
    den.turn()
    assert not den.flags().disarmed


def test_an_agent_that_ends_in_good_order_on_an_idle_machine_blocks_nothing(den: Den) -> None:
    den.bridge.become(b.BridgeState.OFFLINE, "")
    den.turn()
    assert not den.flags().disarmed

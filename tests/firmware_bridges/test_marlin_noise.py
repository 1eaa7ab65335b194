"""Under any noise both ways: every line of the toolpath once and in order, or a truthful failure."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridges.bridge import BridgeState, RunFailed, RunFinished
from firmware_bridges.printer_lines import clean
from firmware_bridges.twins.marlin import HOUSEKEEPING, MarlinBuild, MarlinTwin
from tests.firmware_bridges.simulated_line import Lines, SimulatedLine

PROGRAM = [
    "; a square that grows",
    "G21",
    "G90",
    "M83 ; relative extrusion: nothing may run twice",
    "G92 E0",
    *(f"G1 X{i % 90 + 0.125:.3f} Y{(i * 7) % 80:.2f} E0.0{i % 9 + 1} F6000" for i in range(150)),
    "M107",
    "; end",
]
WANTED = [text for text in map(clean, PROGRAM) if text and text.split()[0] not in HOUSEKEEPING]


#: Bytes between two damaged ones: two in one line may cancel in its XOR, and then nobody can see them.
ONE_A_LINE = 60


def _own(executed: list[str]) -> list[str]:
    """Without what the bridge adds by itself: checks, and heaters off after a failure."""
    return [text for text in executed if text not in ("G4 P0", "M104 S0", "M140 S0")]


def _judge(line: SimulatedLine, twin: MarlinTwin) -> None:
    executed = _own(twin.executed)
    outcome = line.outcome
    if isinstance(outcome, RunFinished):
        assert executed == WANTED
        assert outcome.lines == len(PROGRAM)
        return
    assert isinstance(outcome, RunFailed), "the run neither finished nor failed"
    assert outcome.why
    # What was confirmed was executed, in order: the last line is not further than the machine got.
    confirmed = [text for text in map(clean, PROGRAM[: outcome.checkpoint.line]) if text]
    confirmed = [text for text in confirmed if text.split()[0] not in HOUSEKEEPING]
    assert executed[: len(confirmed)] == confirmed
    assert line.bridge.session.state in (BridgeState.IDLE, BridgeState.FAULT, BridgeState.DISARMED)


chance = st.sampled_from([0.0, 0.0, 0.0005, 0.002, 0.006])


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    drop=chance,
    corrupt=chance,
    duplicate=chance,
    drop_back=chance,
    corrupt_back=chance,
    duplicate_back=chance,
    printable=st.booleans(),
    advanced=st.booleans(),
)
def test_noise_both_ways_ends_in_every_line_once_or_a_truthful_failure(
    seed: int,
    drop: float,
    corrupt: float,
    duplicate: float,
    drop_back: float,
    corrupt_back: float,
    duplicate_back: float,
    printable: bool,
    advanced: bool,
) -> None:
    twin = MarlinTwin(MarlinBuild(advanced_ok=advanced, keep_executed=True))
    line = SimulatedLine(twin, seed=seed)
    line.connect()
    there = {"drop": drop, "corrupt": corrupt, "duplicate": duplicate}
    back = {"drop": drop_back, "corrupt": corrupt_back, "duplicate": duplicate_back}
    line.wire.fault("noise", {"direction": "to_machine", "printable": printable, "gap": ONE_A_LINE, **there}, 0.0)
    line.wire.fault("noise", {"direction": "to_host", "printable": printable, "gap": ONE_A_LINE, **back}, 0.0)
    line.bridge.run(Lines(PROGRAM))
    assert line.run_until(lambda: line.outcome is not None, 3000.0), "no end in 50 minutes"
    _judge(line, twin)


@pytest.mark.parametrize("advanced", [True, False])
def test_a_clean_line_needs_no_resend_and_never_overflows(advanced: bool) -> None:
    twin = MarlinTwin(MarlinBuild(advanced_ok=advanced, keep_executed=True))
    line = SimulatedLine(twin)
    line.connect()
    line.bridge.run(Lines(PROGRAM))
    assert line.run_until(lambda: line.outcome is not None, 300.0)
    assert isinstance(line.outcome, RunFinished)
    assert _own(twin.executed) == WANTED
    assert (twin.resends, twin.overruns) == (0, 0)


def test_one_byte_in_four_hundred_still_finishes() -> None:
    """The rate at which a bad cable is still usable: all lines arrive, none twice."""
    finished = 0
    for seed in range(8):
        twin = MarlinTwin(MarlinBuild(keep_executed=True))
        line = SimulatedLine(twin, seed=seed)
        line.connect()
        line.wire.fault("noise", {"direction": "to_machine", "corrupt": 1 / 400, "gap": ONE_A_LINE}, 0.0)
        line.bridge.run(Lines(PROGRAM))
        assert line.run_until(lambda line=line: line.outcome is not None, 3000.0)
        _judge(line, twin)
        finished += isinstance(line.outcome, RunFinished)
    assert finished >= 7

"""GRBL has no checksums: under any noise the toolpath is cut as it is, or the run fails within a bounded distance."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridges.bridge import BridgeState, Failure, RunFailed, RunFinished
from firmware_bridges.gcode_words import compact
from firmware_bridges.grbl_hearing import SILENCE_S
from firmware_bridges.grbl_scripts import FRESH_MODES
from firmware_bridges.twins.grbl import GrblTwin
from tests.firmware_bridges.simulated_grbl import SimulatedGrbl
from tests.firmware_bridges.simulated_line import Lines

PROGRAM = [
    "; a wheel with spokes",
    "G21 G90 G17",
    "M3 S12000",
    "G0 X0 Y0",
    "G1 X20 F1800",
    *(
        f"G1 X{60 + 40 * math.cos(i / 12):.3f} Y{60 + 40 * math.sin(i / 12):.3f}" + (" F2400" if i % 9 == 0 else "")
        for i in range(90)
    ),
    "G2 X60 Y20 I-20 J0 F1500",
    "G0 X0 Y0",
    "M5",
]
PROGRAM[-3] = "G3 X60 Y60 R60 F1500"
FASTEST_MM_S = 5000 / 60 * math.sqrt(2)
ACCELERATION = 400.0
#: Two reports have to object: a poll interval, a tick, the wire's delay twice; then the way the machine needs to stand.
BOUND_MM = FASTEST_MM_S * (0.1 + 3 * 0.05 + 0.05) + FASTEST_MM_S**2 / (2 * ACCELERATION)


def machine(seed: int = 0) -> tuple[SimulatedGrbl, GrblTwin]:
    twin = GrblTwin(profile="router", settings={22: 0, 20: 0}, keep_lines=True)
    return SimulatedGrbl(twin, seed=seed), twin


chance = st.sampled_from([0.0, 0.0, 0.0005, 0.002, 0.01])


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
)
def test_noise_both_ways(
    seed: int,
    drop: float,
    corrupt: float,
    duplicate: float,
    drop_back: float,
    corrupt_back: float,
    duplicate_back: float,
    printable: bool,
) -> None:
    line, twin = machine(seed)
    line.start()
    line.follow(PROGRAM)
    for direction, chances in (
        ("to_machine", (drop, corrupt, duplicate)),
        ("to_host", (drop_back, corrupt_back, duplicate_back)),
    ):
        options = dict(zip(("drop", "corrupt", "duplicate"), chances, strict=True))
        line.wire.fault("noise", {"direction": direction, "printable": printable, **options}, 0.0)
    line.bridge.run(Lines(PROGRAM))
    assert line.run_until(lambda: line.outcome is not None, 600.0), "neither an end nor a failure in ten minutes"
    assert line.strayed_mm <= BOUND_MM
    outcome = line.outcome
    if isinstance(outcome, RunFinished):
        assert outcome.lines == len(PROGRAM)
        # A damaged answer to `$G` makes the bridge set the modes itself; that line is not the toolpath's.
        cut = [text for text in twin.consumed if text and text != FRESH_MODES]
        assert len(cut) == len([text for text in map(compact, PROGRAM) if text])
        return
    assert isinstance(outcome, RunFailed)
    assert outcome.why
    assert 0 <= outcome.checkpoint.line <= len(PROGRAM)
    assert line.bridge.session.state in (BridgeState.IDLE, BridgeState.DISARMED, BridgeState.ALARM, BridgeState.FAULT)
    line.wire.fault("clear", {}, 0.0)
    if not outcome.may_be_moving:
        line.run_until(lambda: False, 1.0)
        assert not twin.planner.blocks, "the run was told to have failed, but the machine still moves"


def test_a_clean_line_cuts_exactly_the_toolpath() -> None:
    line, twin = machine()
    line.start()
    line.follow(PROGRAM)
    line.bridge.run(Lines(PROGRAM))
    assert line.run_until(lambda: line.outcome is not None, 300.0)
    assert isinstance(line.outcome, RunFinished)
    assert list(twin.consumed) == [text for text in map(compact, PROGRAM) if text]
    assert line.strayed_mm < 0.01
    assert twin.overruns == 0


def _corrupt_line(line: SimulatedGrbl, wanted: bytes, instead: bytes) -> None:
    """One line is changed on its way to the machine, whatever pieces it is sent in."""
    passed = line.grbl.receive
    rest = bytearray()

    def changed(data: bytes, now: float) -> None:
        rest.extend(data)
        cut = rest.rfind(b"\n") + 1 if rest.strip(b"?!~\x18") else len(rest)
        whole = bytes(rest[:cut])
        del rest[:cut]
        passed(whole.replace(wanted, instead), now)

    line.grbl.receive = changed  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("wanted", "instead", "failure"),
    [
        (b"X76.", b"X16.", Failure.POSITION_MISMATCH),
        (b"F2400", b"F9400", Failure.POSITION_MISMATCH),
        (b"S12000", b"S19000", Failure.POSITION_MISMATCH),
        (b"Y63.", b"Y6#.", Failure.COMMUNICATION),
        (b"G1X", b"G0X", Failure.POSITION_MISMATCH),
    ],
)
def test_one_changed_character_is_noticed(wanted: bytes, instead: bytes, failure: Failure) -> None:
    line, twin = machine()
    line.start()
    line.follow(PROGRAM)
    _corrupt_line(line, wanted, instead)
    line.bridge.run(Lines(PROGRAM))
    assert line.run_until(lambda: line.outcome is not None, 300.0)
    assert isinstance(line.outcome, RunFailed), twin.consumed
    assert line.outcome.failure is failure
    assert line.strayed_mm <= BOUND_MM


def test_bytes_lost_with_the_last_line_are_noticed_by_silence_alone() -> None:
    line, _ = machine()
    line.start()
    _corrupt_line(line, b"M5\n", b"M5")
    line.bridge.run(Lines(PROGRAM))
    assert line.run_until(lambda: line.outcome is not None, 300.0)
    assert isinstance(line.outcome, RunFailed)
    assert line.outcome.failure is Failure.COMMUNICATION
    assert "never acknowledged" in line.outcome.why


def test_a_power_cut_in_motion_is_a_reset_and_the_position_is_not_known() -> None:
    line, twin = machine()
    line.start()
    line.bridge.run(Lines(PROGRAM))
    assert line.run_until(lambda: line.bridge.session.confirmed_line > 40, 100.0)
    twin.boot(line.clock.now, "power")
    assert line.run_until(lambda: line.outcome is not None, 10.0)
    assert isinstance(line.outcome, RunFailed)
    assert line.outcome.failure is Failure.CONTROLLER_RESET
    assert not line.outcome.position_known
    assert line.bridge.session.state is BridgeState.DISARMED
    sent = line.sent_bytes
    line.run_until(lambda: False, 3.0)
    assert line.sent_bytes - sent <= 4, "only status requests may follow"


def test_a_dead_controller_is_noticed() -> None:
    line, _ = machine()
    line.start()
    line.bridge.run(Lines(PROGRAM))
    assert line.run_until(lambda: line.bridge.session.confirmed_line > 40, 100.0)
    began = line.clock.now
    line.wire.fault("mute", {"for_s": 1e6}, line.clock.now)
    assert line.run_until(lambda: line.outcome is not None, 20.0)
    assert isinstance(line.outcome, RunFailed)
    assert line.outcome.failure is Failure.MACHINE_HUNG
    assert line.outcome.may_be_moving
    assert line.clock.now - began < SILENCE_S + 2
    assert line.bridge.session.state is BridgeState.FAULT

"""The GRBL bridge on simulated time: holds, stops, alarms, refusals, and what the machine did meanwhile."""

from __future__ import annotations

import pytest

from firmware_bridges.bridge import (
    BridgeError,
    BridgeState,
    Capability,
    Failure,
    NotNow,
    NotSupported,
    RunCancelled,
    RunFailed,
    RunFinished,
    WrongMachine,
)
from firmware_bridges.gcode_words import compact
from firmware_bridges.session import Happening
from firmware_bridges.twins.grbl import GrblTwin
from firmware_bridges.twins.grbl_variants import FLUIDNC, GRBLHAL, Variant
from tests.firmware_bridges.simulated_grbl import SimulatedGrbl
from tests.firmware_bridges.simulated_line import Lines

ENGRAVING = [
    "G21 G90",
    "M4 S0",
    "G0 X10 Y10",
    *(f"G1 X{10 + i % 2 * 60} Y{10 + i} F3000 S{300 + i}" for i in range(40)),
    "M5 S0",
    "G0 X0 Y0",
]
MILLING = [
    "G21 G90",
    "G0 Z5",
    "M3 S12000",
    "G4 P1",
    "G0 X10 Y10",
    "G1 Z-1 F300",
    *(f"G1 X{10 + i % 2 * 60} Y{10 + i} F1500" for i in range(20)),
    "G0 Z5",
    "M5",
]


def laser(**options: str) -> SimulatedGrbl:
    line = SimulatedGrbl(GrblTwin(profile="laser", keep_lines=True), process="laser", **options)
    line.start()
    return line


def router(settings: dict[int, float] | None = None, **options: str) -> SimulatedGrbl:
    twin = GrblTwin(profile="router", settings={22: 0, **(settings or {})}, keep_lines=True)
    line = SimulatedGrbl(twin, process="cnc", **options)
    line.start()
    return line


def running(line: SimulatedGrbl, program: list[str], past: int = 10) -> SimulatedGrbl:
    line.bridge.run(Lines(program))
    assert line.run_until(lambda: line.bridge.session.confirmed_line >= past, 100.0)
    return line


def ended(line: SimulatedGrbl, within_s: float = 200.0) -> RunFinished | RunFailed | RunCancelled:
    assert line.run_until(lambda: line.outcome is not None, within_s)
    assert line.outcome is not None
    return line.outcome


def power(line: SimulatedGrbl) -> float:
    return float(line.grbl.state(line.clock.now)["spindle"]["power"])


# --- whole runs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("program", [ENGRAVING, MILLING])
def test_a_run_ends_when_the_machine_stands_where_the_toolpath_ends(program: list[str]) -> None:
    line = laser() if program is ENGRAVING else router()
    line.bridge.run(Lines(program))
    outcome = ended(line)
    assert isinstance(outcome, RunFinished)
    assert list(line.grbl.consumed) == [compact(text) for text in program]
    assert not line.grbl.planner.blocks
    assert line.grbl.overruns == 0
    assert line.grbl.beam.stationary_burn_ms == 0 or program is MILLING
    assert line.bridge.session.state is BridgeState.IDLE


@pytest.mark.parametrize("variant", [GRBLHAL, FLUIDNC])
def test_the_bigger_relatives_run_too(variant: Variant) -> None:
    line = SimulatedGrbl(GrblTwin(variant=variant, profile="laser", keep_lines=True), process="laser")
    line.start()
    identity = line.bridge.session.identity
    assert identity is not None
    assert identity.firmware == variant.name
    line.bridge.run(Lines(ENGRAVING))
    assert isinstance(ended(line), RunFinished)
    assert line.grbl.overruns == 0


def test_a_toolpath_that_leaves_the_beam_on_is_ended_by_the_bridge() -> None:
    line = laser()
    line.bridge.run(Lines(["M3 S100", "G1 X10 F1000"]))
    assert isinstance(ended(line), RunFinished)
    assert power(line) == 0
    assert line.grbl.reader.state().spindle == "M5"


def test_leftover_modes_of_an_earlier_job_do_not_reach_the_next() -> None:
    line = laser()
    line.grbl.receive(b"G20G91G1F10\n", line.clock.now)
    line.bridge.run(Lines(["G0 X10 Y10"]))
    assert isinstance(ended(line), RunFinished)
    assert line.grbl.machine_position()[:2] == (10, 10)


def test_reports_in_work_coordinates_and_offsets_are_understood() -> None:
    twin = GrblTwin(profile="laser", settings={10: 0}, work_offset=(-100, -50, 0))
    line = SimulatedGrbl(twin, process="laser")
    line.start()
    line.bridge.run(Lines(ENGRAVING))
    outcome = ended(line)
    assert isinstance(outcome, RunFinished)
    assert outcome.position is not None
    assert (outcome.position.x_mm, outcome.position.y_mm) == (0, 0)
    assert twin.machine_position() == (-100, -50, 0)


def test_memory_writes_are_kept_apart_from_everything_else() -> None:
    line = laser()
    program = ["G0 X5", "G10 L2 P2 X10 Y10", "G55 G0 X0 Y0", "G28.1", *ENGRAVING, "G54 G0 X1"]
    line.bridge.run(Lines(program))
    assert isinstance(ended(line), RunFinished), line.outcome
    assert list(line.grbl.consumed) == [compact(text) for text in program]


def test_starting_in_the_middle_rebuilds_the_modes() -> None:
    line = router()
    line.bridge.run(Lines(MILLING), 12)
    outcome = ended(line)
    assert isinstance(outcome, RunFinished)
    sent = list(line.grbl.consumed)
    lift, across, spin, down = (
        next(i for i, text in enumerate(sent) if text.startswith(start)) for start in ("G0Z", "G0X", "M3", "G1Z")
    )
    assert lift < across < spin < down
    assert sent[-len(MILLING) + 11 :] == [compact(text) for text in MILLING[11:]]


def test_a_rehearsal_tries_every_line_and_moves_nothing() -> None:
    line = laser(dry_run="yes")
    line.bridge.run(Lines(ENGRAVING))
    assert isinstance(ended(line), RunFinished)
    assert list(line.grbl.consumed) == [compact(text) for text in ENGRAVING]
    assert line.sent_bytes > 2 * sum(len(compact(text)) for text in ENGRAVING)
    bad = laser(dry_run="yes")
    bad.bridge.run(Lines([*ENGRAVING[:-1], "G1 X1000 M7.5"]))
    outcome = ended(bad)
    assert isinstance(outcome, RunFailed)
    assert outcome.failure is Failure.LINE_REJECTED
    assert bad.grbl.machine_position() == (0, 0, 0)


def test_constant_beam_becomes_dynamic_where_the_owner_says_so() -> None:
    line = laser(m3_to_m4="yes")
    line.bridge.run(Lines(["M3 S100", "G1 X10 F1000", "M30"]))
    assert isinstance(ended(line), RunFinished)
    assert line.grbl.consumed[0] == "M4S100"
    assert line.grbl.consumed[-1] == "M30"


# --- holds ------------------------------------------------------------------------------------------------------------


def test_a_hold_puts_the_beam_out_and_a_resume_goes_on_where_it_was() -> None:
    line = running(laser(), ENGRAVING)
    line.bridge.hold()
    assert line.link.out.startswith(b"!")
    assert line.until_state(BridgeState.HELD, 5)
    assert power(line) == 0
    line.run_until(lambda: False, 10)
    line.bridge.resume()
    assert isinstance(ended(line), RunFinished)
    assert list(line.grbl.consumed) == [compact(text) for text in ENGRAVING]
    assert line.grbl.beam.stationary_burn_ms < 100


def test_a_spindle_stops_in_a_hold_and_turns_again_before_anything_moves() -> None:
    line = running(router(), MILLING)
    line.bridge.hold()
    assert line.until_state(BridgeState.HELD, 5)
    assert power(line) == 0
    held_at = line.grbl.machine_position()
    line.bridge.resume()
    assert line.run_until(lambda: power(line) == 12000, 1)
    line.run_until(lambda: False, 3.5)
    assert line.grbl.machine_position() == held_at, "moved before the spindle had time"
    with pytest.raises(NotNow):
        line.bridge.resume()
    assert isinstance(ended(line), RunFinished)


def test_a_person_may_hold_and_resume_at_the_machine() -> None:
    line = running(laser(), ENGRAVING)
    line.grbl.person("feed_hold", {}, line.clock.now)
    assert line.until_state(BridgeState.HELD, 5)
    line.grbl.person("cycle_start", {}, line.clock.now)
    assert line.until_state(BridgeState.RUNNING, 5)
    assert isinstance(ended(line), RunFinished)


def test_an_open_door_holds_and_refuses_to_resume() -> None:
    line = running(laser(), ENGRAVING)
    line.grbl.person("open_door", {}, line.clock.now)
    assert line.until_state(BridgeState.HELD, 5)
    with pytest.raises(NotNow, match="door"):
        line.bridge.resume()
    line.grbl.person("close_door", {}, line.clock.now)
    line.run_until(lambda: False, 0.5)
    line.bridge.resume()
    assert isinstance(ended(line), RunFinished)


def test_a_program_pause_holds_until_somebody_resumes() -> None:
    line = laser()
    line.bridge.run(Lines(["G0 X5", "M0", "G0 X6"]))
    assert line.until_state(BridgeState.HELD, 10)
    line.run_until(lambda: False, 20)
    assert line.outcome is None
    line.bridge.resume()
    assert isinstance(ended(line), RunFinished)


def test_a_long_dwell_is_no_stall() -> None:
    line = laser()
    line.bridge.run(Lines(["G0 X5", "G4 P12", "G0 X6"]))
    assert isinstance(ended(line), RunFinished)


# --- stops ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("process", ["laser", "cnc"])
def test_cancel_stops_in_order_and_keeps_the_position(process: str) -> None:
    line = running(laser(), ENGRAVING) if process == "laser" else running(router(), MILLING)
    line.bridge.cancel()
    outcome = ended(line, 10)
    assert isinstance(outcome, RunCancelled)
    assert power(line) == 0
    assert not line.grbl.planner.blocks
    assert not line.grbl.alarm, "the reset came while it was moving"
    assert line.bridge.session.state is BridgeState.IDLE
    if process == "laser":
        assert line.grbl.beam.stationary_burn_ms < 100
    line.bridge.run(Lines(["G0 X1 Y1"]))
    line.events.clear()
    assert isinstance(ended(line), RunFinished)


def test_cancel_of_a_held_run() -> None:
    line = running(laser(), ENGRAVING)
    line.bridge.hold()
    assert line.until_state(BridgeState.HELD, 5)
    line.bridge.cancel()
    assert isinstance(ended(line, 10), RunCancelled)


def test_emergency_stop_overtakes_everything_and_locks_until_somebody_looked() -> None:
    line = running(laser(), ENGRAVING)
    line.bridge.emergency_stop()
    assert line.link.stops == [b"\x18"]
    outcome = ended(line, 1)
    assert isinstance(outcome, RunFailed)
    assert outcome.failure is Failure.EMERGENCY_STOP
    assert line.bridge.session.state is BridgeState.FAULT
    line.run_until(lambda: False, 3)
    assert power(line) == 0
    with pytest.raises(NotNow):
        line.bridge.run(Lines(ENGRAVING))
    line.bridge.rearm()
    assert line.until_state(BridgeState.IDLE, 10)


def test_closing_in_mid_run_stops_the_beam() -> None:
    line = running(laser(), ENGRAVING)
    line.bridge._leave_safe()
    assert line.link.stops == [b"\x18"]


# --- alarms and resets ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "known"), [(1, False), (2, True), (3, False)])
def test_alarms_end_the_run_and_say_whether_the_position_is_known(number: int, known: bool) -> None:
    line = running(laser(), ENGRAVING)
    line.grbl.fault("alarm", {"number": number}, line.clock.now)
    outcome = ended(line, 5)
    assert isinstance(outcome, RunFailed)
    assert outcome.failure is Failure.MACHINE_ALARM
    assert outcome.position_known is known
    assert f"ALARM:{number}" in outcome.why
    assert line.bridge.session.state is BridgeState.ALARM
    line.run_until(lambda: False, 8)
    still = (BridgeState.ALARM,) if number < 3 else (BridgeState.ALARM, BridgeState.DISARMED)
    assert line.bridge.session.state in still, "a locked controller that is silent is no new fault"
    line.bridge.rearm()
    assert line.until_state(BridgeState.IDLE, 10)


def test_a_machine_with_homing_wants_to_be_homed_first() -> None:
    twin = GrblTwin(profile="router", settings={20: 1})
    line = SimulatedGrbl(twin, process="cnc")
    line.connect()
    assert line.bridge.session.state is BridgeState.ALARM
    assert line.bridge.status().homed is False
    line.bridge.rearm()
    assert line.until_state(BridgeState.IDLE, 10)
    with pytest.raises(NotNow, match="home it first"):
        line.bridge.run(Lines(MILLING))
    done: list[object] = []
    line.bridge._say(line.bridge._home_script(), done.append)
    assert line.run_until(lambda: bool(done), 120)
    assert line.bridge.status().homed is True
    line.bridge.run(Lines(["G0 X-500"]))
    outcome = ended(line)
    assert isinstance(outcome, RunFailed)
    assert outcome.position_known, outcome


def test_homing_that_finds_no_switch_tells_so() -> None:
    twin = GrblTwin(profile="router")
    line = SimulatedGrbl(twin, process="cnc")
    line.connect()
    twin.fault("switch_broken", {}, line.clock.now)
    errors: list[BridgeError] = []
    line.bridge._say(line.bridge._home_script(), lambda _: None, errors.append)
    assert line.run_until(lambda: bool(errors), 200)
    assert "no limit switch" in str(errors[0])
    assert line.bridge.session.state is BridgeState.ALARM


def test_a_reset_in_mid_run_is_the_end_of_it() -> None:
    line = running(laser(), ENGRAVING)
    line.grbl.person("reset_button", {}, line.clock.now)
    outcome = ended(line, 3)
    assert isinstance(outcome, RunFailed)
    assert outcome.failure in (Failure.CONTROLLER_RESET, Failure.MACHINE_ALARM)
    assert line.bridge.session.state in (BridgeState.DISARMED, BridgeState.ALARM)
    consumed = line.grbl.consumed_count
    line.run_until(lambda: False, 5)
    assert line.grbl.consumed_count == consumed


def test_a_machine_found_in_motion_is_stopped_not_believed() -> None:
    twin = GrblTwin(profile="laser")
    line = SimulatedGrbl(twin, process="laser")
    twin.boot(0.0, "power")
    twin.advance(2.0)
    twin.receive(b"M4S900\nG1X200F200\n", 2.0)
    line.clock.now = 3.0
    twin.take_output()
    line.bridge.session.happen(Happening.OPENED)
    line.bridge._start_identification(again=True)
    assert line.run_until(lambda: line.bridge.session.identity is not None, 30)
    assert not twin.planner.blocks
    assert line.bridge.session.state is BridgeState.DISARMED


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_a_laser_without_laser_mode_is_refused() -> None:
    line = SimulatedGrbl(GrblTwin(profile="laser", settings={32: 0}), process="laser")
    line.start()
    with pytest.raises(NotSupported, match=r"\$32=1"):
        line.bridge.run(Lines(ENGRAVING))


def test_a_router_in_laser_mode_is_refused() -> None:
    line = router({32: 1})
    with pytest.raises(NotSupported, match="spindle"):
        line.bridge.run(Lines(MILLING))


@pytest.mark.parametrize("bad", ["G1 X5 ?", "$32=0", "G1 X1 Z" + "9" * 90, "G5 X1", "G2 X5 I9", "G38.2 Z-5 F10"])
def test_what_must_not_be_sent_is_not_sent(bad: str) -> None:
    line = laser()
    line.bridge.run(Lines(["G0 X5 Y5", bad, "G0 X50"]))
    outcome = ended(line, 20)
    assert isinstance(outcome, RunFailed)
    assert outcome.failure is Failure.LINE_REJECTED
    assert "Line 2" in outcome.why
    assert outcome.checkpoint.line == 1
    assert list(line.grbl.consumed) == ["G0X5Y5"]
    assert line.grbl.settings[32] == 1


def test_an_error_of_the_controller_ends_the_run_at_its_line() -> None:
    """Half of a line is lost in the controller: what it refuses then is not what was sent."""
    line = laser()
    heard = line.grbl.receive
    line.grbl.receive = lambda data, now: heard(data.replace(b"X30", b"3"), now)  # type: ignore[method-assign]
    line.bridge.run(Lines(["G0 X5 Y5", "G0 X30", "G0 X50"]))
    outcome = ended(line, 60)
    assert isinstance(outcome, RunFailed)
    assert outcome.failure is Failure.COMMUNICATION
    assert "line 2" in outcome.why


def test_another_firmware_than_configured_is_refused() -> None:
    line = SimulatedGrbl(GrblTwin(), process="cnc")
    line.bridge.config = type(line.bridge.config)("sim", "grblhal", process="cnc")
    line.twin.boot(0.0, "power")
    line.bridge.session.happen(Happening.OPENED)
    line.bridge._start_identification(again=False)
    assert line.run_until(lambda: line.bridge._refusal is not None, 30)
    assert isinstance(line.bridge._refusal, WrongMachine)


def test_what_the_owner_wants_to_see_is_in_the_identity() -> None:
    line = laser()
    identity = line.bridge.session.identity
    assert identity is not None
    shown = dict(identity.settings)
    assert {"$20", "$21", "$22", "$30", "$32"} <= shown.keys()
    assert Capability.LASER in identity.capabilities
    assert Capability.HOMING not in identity.capabilities

"""The Marlin bridge when things go wrong: heat, kills, silence, runout, waits, resets; on simulated time."""

from __future__ import annotations

import pytest

from firmware_bridges.bridge import (
    BridgeState,
    Capability,
    Failure,
    Notice,
    NotSupported,
    RunCancelled,
    RunFailed,
    RunFinished,
)
from firmware_bridges.printer_flow import PrinterFlow
from firmware_bridges.twins.marlin import MarlinBuild, MarlinTwin
from tests.firmware_bridges.simulated_line import Lines, SimulatedLine

MOVES = ["G21", "G90", *(f"G1 X{10 + i % 2 * 100} Y{10 + i} F1500" for i in range(40))]
HOT = ["M104 S200", "M109 S200", *MOVES, "M104 S0"]


def connected(process: str = "fdm", **build: object) -> SimulatedLine:
    line = SimulatedLine(MarlinTwin(MarlinBuild(keep_executed=True, **build)), process=process)  # type: ignore[arg-type]
    line.connect()
    return line


def running(line: SimulatedLine, program: list[str], past: int = 6) -> SimulatedLine:
    line.bridge.run(Lines(program))
    assert line.run_until(lambda: line.bridge.status().line >= past, 300)
    return line


def failed(line: SimulatedLine, within_s: float = 200) -> RunFailed:
    assert line.run_until(lambda: line.outcome is not None, within_s)
    assert isinstance(line.outcome, RunFailed)
    return line.outcome


def state(line: SimulatedLine) -> BridgeState:
    return line.bridge.session.state


def test_a_wait_for_heat_of_minutes_is_no_silence() -> None:
    line = connected()
    line.twin.machine.heaters["E0"].power_w = 25.0
    line.bridge.run(Lines(HOT))
    assert line.run_until(lambda: line.outcome is not None, 2000)
    assert isinstance(line.outcome, RunFinished)
    assert line.clock.now > 40
    assert line.twin.resends == 0


def test_a_dead_heater_is_a_thermal_failure_and_the_machine_needs_a_person() -> None:
    line = connected()
    line.twin.fault("heater_dead", {}, line.clock.now)
    line.bridge.run(Lines(HOT))
    outcome = failed(line)
    assert outcome.failure is Failure.THERMAL
    assert "Heating failed" in outcome.why
    assert state(line) is BridgeState.FAULT


def test_runaway_and_a_broken_sensor_are_thermal_failures() -> None:
    for fault in ("heater_stuck_on", "sensor_open"):
        line = running(connected(), ["M104 S60", *MOVES])
        line.twin.fault(fault, {"heater": "E0"}, line.clock.now)
        assert failed(line, 900).failure is Failure.THERMAL
        assert line.twin.killed


def test_a_kill_at_the_machine_is_its_own_failure() -> None:
    line = running(connected(), MOVES)
    line.twin._ask_m112("", ("M112", None), line.clock.now)
    outcome = failed(line)
    assert outcome.failure is Failure.FIRMWARE_KILLED
    assert state(line) is BridgeState.FAULT


def test_a_mute_machine_is_hung_within_ten_seconds_and_a_bit() -> None:
    line = running(connected(), MOVES)
    line.wire.fault("mute", {}, line.clock.now)
    began = line.clock.now
    outcome = failed(line)
    assert outcome.failure is Failure.MACHINE_HUNG
    assert line.clock.now - began <= 10.5
    assert outcome.may_be_moving


def test_a_reset_in_the_middle_of_a_line_ends_the_run_within_a_second_and_nothing_follows() -> None:
    line = running(connected(), MOVES)
    line._back += b" T:38.00 /0.00 B:22.50 /0.00"
    line.link.out.clear()
    line.twin.boot(line.clock.now, "watchdog")
    began = line.clock.now
    outcome = failed(line)
    assert outcome.failure is Failure.CONTROLLER_RESET
    assert line.clock.now - began < 1.0
    line.link.out.clear()
    sent = line.sent_bytes
    line.run_until(lambda: False, 20)
    assert line.sent_bytes == sent
    assert state(line) is BridgeState.DISARMED
    assert outcome.checkpoint.line < len(MOVES)


def test_cancel_breaks_a_wait_for_heat_and_verifies_that_heaters_are_off() -> None:
    line = connected()
    line.bridge.run(Lines(HOT))
    line.run_until(lambda: line.twin.machine.waiting_heater == "E0", 100)
    line.bridge.cancel()
    began = line.clock.now
    assert line.run_until(lambda: line.outcome is not None, 100)
    assert isinstance(line.outcome, RunCancelled)
    assert line.clock.now - began < 10
    assert line.twin.machine.heaters["E0"].target_c == 0
    assert state(line) is BridgeState.IDLE


@pytest.mark.parametrize("moment", range(6))
def test_cancel_with_all_buffers_full_ends_cancelled(moment: int) -> None:
    line = running(connected(), MOVES * 3, past=20)
    line.run_until(lambda: False, moment * 0.7)
    line.bridge.cancel()
    assert line.run_until(lambda: line.outcome is not None, 300)
    assert isinstance(line.outcome, RunCancelled), line.outcome


def test_cancel_without_an_emergency_parser_still_ends_off() -> None:
    line = connected(emergency_parser=False, advanced_ok=False)
    line.bridge.run(Lines(HOT))
    line.run_until(lambda: line.twin.machine.waiting_heater == "E0", 100)
    line.bridge.cancel()
    assert line.run_until(lambda: line.outcome is not None, 900)
    assert isinstance(line.outcome, RunCancelled)
    assert line.twin.machine.heaters["E0"].target_c == 0


def test_a_run_out_of_filament_holds_and_tells() -> None:
    line = running(connected(), MOVES)
    line.twin.fault("runout", {}, line.clock.now)
    assert line.run_until(lambda: state(line) is BridgeState.HELD, 100)
    assert any(isinstance(e, Notice) and "filament" in e.text for e in line.events)
    line.bridge.resume()
    assert line.run_until(lambda: line.outcome is not None, 300)
    assert isinstance(line.outcome, RunFinished)


def test_the_machines_own_menu_pauses_resumes_and_cancels() -> None:
    line = running(connected(), MOVES)
    line.twin.person("pause", {}, line.clock.now)
    assert line.run_until(lambda: state(line) is BridgeState.HELD, 100)
    line.twin.person("resume", {}, line.clock.now)
    assert line.run_until(lambda: state(line) is BridgeState.RUNNING, 10)
    line.twin.person("cancel", {}, line.clock.now)
    assert line.run_until(lambda: line.outcome is not None, 100)
    assert isinstance(line.outcome, RunCancelled)


def test_a_routers_spindle_stops_after_the_lift_and_turns_before_the_plunge() -> None:
    line = running(connected("cnc"), ["M3 S12000", "G1 Z-1 F300", *MOVES])
    line.bridge.hold()
    assert line.run_until(lambda: state(line) is BridgeState.HELD, 100)
    assert line.twin.machine.beam.power == 0
    assert line.twin.executed[-4:] == ["G91", "G0 Z5", "G90", "M5"]
    held = len(line.twin.executed)
    line.bridge.resume()
    assert line.run_until(lambda: line.outcome is not None, 300)
    assert line.twin.executed[held : held + 6] == ["M3 S12000", "G4 S3", "G91", "G1 Z-5 F200", "G90", "G1 F1500"]


def test_a_laser_is_off_while_held() -> None:
    line = running(connected("laser"), ["M3 S200", *MOVES])
    line.bridge.hold()
    assert line.run_until(lambda: state(line) is BridgeState.HELD, 100)
    assert line.twin.machine.beam.power == 0
    line.bridge.resume()
    assert line.run_until(lambda: line.twin.machine.beam.power == 200, 100)


def test_heating_is_refused_without_thermal_protection() -> None:
    line = SimulatedLine(MarlinTwin())
    say = line.twin._say
    line.twin._say = lambda text: say(text.replace("THERMAL_PROTECTION:1", "THERMAL_PROTECTION:0"))
    line.connect()
    with pytest.raises(NotSupported, match="thermal"):
        line.bridge.run(Lines(HOT))


def test_an_emergency_stop_overtakes_what_was_queued() -> None:
    line = running(connected(), MOVES)
    line.bridge.emergency_stop()
    outcome = failed(line)
    assert outcome.failure is Failure.EMERGENCY_STOP
    assert line.link.stops == [b"\nM112\nM112\n"]
    line.run_until(lambda: False, 1)
    assert line.twin.killed
    assert Capability.EMERGENCY_STOP in line.bridge.status().identity.capabilities


@pytest.mark.parametrize("style", ["Resend: {n}", "Resend:{n}", "rs {n}", "rs N{n}", "Resend: N:{n}"])
@pytest.mark.parametrize("ok", [True, False])
@pytest.mark.parametrize("advanced", [True, False])
def test_every_way_of_asking_again_is_understood(style: str, ok: bool, advanced: bool) -> None:
    line = connected(resend_style=style, ok_after_resend=ok, advanced_ok=advanced)
    line.wire.fault("noise", {"direction": "to_machine", "corrupt": 0.004, "gap": 60}, 0.0)
    line.bridge.run(Lines(MOVES))
    assert line.run_until(lambda: line.outcome is not None, 600)
    assert isinstance(line.outcome, RunFinished), line.outcome
    assert [text for text in line.twin.executed if text != "G4 P0"] == MOVES


def test_an_ok_before_the_resend_is_the_refusals() -> None:
    line = connected(ok_after_resend=False, advanced_ok=False)
    say = line.twin._say

    def ok_first(text: str) -> None:
        if text.startswith("Resend"):
            say("ok")
        if not text.startswith("Error:"):
            say(text)

    line.twin._say = ok_first
    receive = line.twin.receive
    damaged: list[bytes] = []

    def damage_once(data: bytes, now: float) -> None:
        if b"N9 " in data and not damaged:
            damaged.append(data)
            data = data.replace(b"G1", b"G7")
        receive(data, now)

    line.twin.receive = damage_once
    line.bridge.run(Lines(MOVES))
    assert line.run_until(lambda: line.outcome is not None, 600)
    assert isinstance(line.outcome, RunFinished), line.outcome
    assert [text for text in line.twin.executed if text != "G4 P0"] == MOVES


def test_a_storm_of_resends_is_capped() -> None:
    line = running(connected(), MOVES)
    line.wire.fault("noise", {"direction": "to_machine", "corrupt": 0.2}, 0.0)
    outcome = failed(line, 600)
    assert outcome.failure is Failure.COMMUNICATION
    assert line.twin.resends < 200


def test_lost_and_slow_oks_execute_nothing_twice() -> None:
    for advanced in (True, False):
        line = running(connected(advanced_ok=advanced), MOVES)
        line.wire.fault("lose_ok", {"count": 3}, line.clock.now)
        line.wire.fault("slow_ok", {"delay_s": 0.3}, line.clock.now)
        assert line.run_until(lambda line=line: line.outcome is not None, 600)
        assert isinstance(line.outcome, RunFinished), line.outcome
        assert [text for text in line.twin.executed if text != "G4 P0"] == MOVES


def test_the_window_never_exceeds_the_receive_ring() -> None:
    line = connected(line_cost_s=0.004)
    most = 0
    fill = PrinterFlow.fill

    def watched(flow: PrinterFlow) -> bytes:
        nonlocal most
        data = fill(flow)
        most = max(most, flow._flight_bytes)
        return data

    line.bridge.run(Lines(MOVES * 4))
    flow = line.bridge._flow
    assert flow is not None
    flow.fill = lambda: watched(flow)  # type: ignore[method-assign]
    assert line.run_until(lambda: line.outcome is not None, 900)
    assert 90 < most <= 127
    assert line.twin.overruns == 0

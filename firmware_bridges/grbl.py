"""GRBL 1.1, grblHAL and FluidNC: routers and lasers over one serial line, streamed by character counting.

GRBL has no checksums, drops what overflows its buffer without a word, and forgets all modes at a reset. So: never more
bytes in flight than it told; a greeting in mid-run ends the run; a run is done only when every line is acknowledged and
the machine reports Idle where the toolpath ends; reported positions, feeds and spindle values are compared with the
toolpath all along (`grbl_watch`). Protocol facts: grbl/serial.c, grbl/protocol.c, doc/markdown/interface.md.

Options: `m3_to_m4=yes` (laser: constant beam becomes dynamic), `dry_run=yes` (check mode before the run), `spin_up_s`
(router, default 4), `require_homing=no`, `poll_s` (default 0.1).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from firmware_bridges import grbl_lines, grbl_scripts
from firmware_bridges.bridge import (
    BridgeError,
    BridgeState,
    Clock,
    Failure,
    Identity,
    MachineConfig,
    Notice,
    NotNow,
    NotSupported,
    Position,
    Toolpath,
)
from firmware_bridges.dialogue import Script
from firmware_bridges.grbl_codes import NEEDS_RESET, NOT_THE_CABLE, POSITION_KEPT, alarm_text, error_text
from firmware_bridges.grbl_lines import Report
from firmware_bridges.grbl_scripts import Found, Ready
from firmware_bridges.grbl_stop import Stopping
from firmware_bridges.grbl_stream import Stream
from firmware_bridges.grbl_watch import Watch
from firmware_bridges.link import Opener, Spawn, open_serial, spawn_thread
from firmware_bridges.modal import Dialect
from firmware_bridges.session import Happening
from firmware_bridges.start_at_line import lines_from
from firmware_bridges.wire_bridge import WireBridge

STATUS: Final = b"?"
HOLD: Final = b"!"
RESUME: Final = b"~"
RESET: Final = b"\x18"
SPINDLE_STOP: Final = b"\x9e"
CANCEL_JOG: Final = b"\x85"
IDLE_POLL_S: Final = 1.0
SILENCE_S: Final = 2.0
STALL_S: Final = 3.0
SETTLE_S: Final = 0.05
END_MISMATCH_S: Final = 0.5
SPINDLE_OFF_WITHIN_S: Final = 1.5
_ORDINARY_RX: Final = 128


class GrblBridge(WireBridge):
    """One controller of the GRBL family. See `bridge.Bridge` for the methods."""

    dialect = "grbl"

    def __init__(
        self,
        config: MachineConfig,
        *,
        clock: Clock | None = None,
        opener: Opener = open_serial,
        spawn: Spawn = spawn_thread,
    ) -> None:
        super().__init__(config, clock=clock, opener=opener, spawn=spawn)
        self._laser = config.process == "laser"
        self._poll_s = float(config.option("poll_s", "0.1"))
        self._found: Found | None = None
        self._homed: bool | None = None
        self._needs_reset = False
        self._report: Report | None = None
        self._wco = (0.0, 0.0, 0.0)
        self._overrides = (100, 100, 100)
        self._asked_at = 0.0
        self._heard_at = 0.0
        self._poll_due = 0.0
        self._forget_run()

    def _forget_run(self) -> None:
        self._stream: Stream | None = None
        self._stopping: Stopping | None = None
        self._resume_at: float | None = None
        self._hold_since: float | None = None
        self._spindle_stopped = False
        self._ending: str = ""
        self._idle_since: float | None = None
        self._progress_at = 0.0
        self._off_end_since: float | None = None

    # --- identification ---------------------------------------------------------------------------------------------

    def _identification(self, *, again: bool) -> Script[Identity]:
        dialect = self.config.dialect
        found = yield from grbl_scripts.identify(dialect, self.config.port, self.config.process)
        self._found = found
        self._take_report(found.report)
        self._homed = None
        if found.settings.get(22):
            self._homed = not again and found.report is not None and found.report.state != "Alarm"
        return found.identity

    def _ready(self, identity: Identity) -> None:
        self._heard_at = self.clock.monotonic()
        if self._report is not None and self._report.state == "Alarm":
            self.session.happen(
                Happening.LOCKED, "The controller is locked until it is homed or a person unlocks it: home or re-arm."
            )

    @property
    def _firmware(self) -> str:
        return self._found.build.firmware if self._found is not None else "grbl"

    def _setting(self, number: int) -> float:
        return self._found.settings.get(number, 0.0) if self._found is not None else 0.0

    @property
    def _inches(self) -> bool:
        return bool(self._setting(13))

    # --- requests ---------------------------------------------------------------------------------------------------

    def _check_run(self, toolpath: Toolpath, from_line: int) -> None:
        if self._laser and not self._setting(32):
            raise NotSupported(
                "The controller is not in laser mode ($32=0): its beam would stay on while it stands. Set $32=1, and"
                " $30 to the S value of full power, then connect again."
            )
        if not self._laser and self._setting(32):
            raise NotSupported(
                "The controller is in laser mode ($32=1), which stops a spindle at every rapid: set $32=0."
            )
        if self._homed is False and self.config.option("require_homing", "yes") == "yes":
            raise NotNow("The machine does not know where it is: home it first.")

    def _begin_run(self, toolpath: Toolpath, from_line: int) -> None:
        self._forget_run()
        lines = toolpath.lines(from_line)
        if from_line > 1:
            lines = lines_from(toolpath, from_line, self.config.process, Dialect.GRBL)

        def ready(found: Ready) -> None:
            self._open_stream(lines, found)

        self._say(grbl_scripts.get_ready(inches=self._inches), ready, self._not_ready)

    def _not_ready(self, error: BridgeError) -> None:
        if self.session.busy:
            self.session.fail(Failure.COMMUNICATION, str(error), Happening.RESET)
            self._forget_run()

    def _open_stream(self, lines: Any, ready: Ready) -> None:
        if self.session.state is not BridgeState.STARTING or self._stopping is not None:
            return
        steps = [self._setting(number) for number in (100, 101, 102) if self._setting(number) > 0]
        blocks = self._found.build.blocks if self._found is not None else 0
        watch = Watch(ready.position, blocks or 16, min(steps, default=0.0))
        self._stream = Stream(
            lines,
            watch,
            self._capacity(),
            position=ready.position,
            offsets=ready.offsets,
            dynamic_beam=self._laser and self.config.option("m3_to_m4") == "yes",
            spindle_range=(self._setting(31), self._setting(30) or 1e9),
        )
        self._stream.reader.step(ready.motion)
        self._progress_at = self.clock.monotonic()
        self._pump()

    def _capacity(self) -> int:
        """Bytes in flight: one less than what the controller told, which costs nothing and forgives a stray byte."""
        told = self._found.build.rx_bytes if self._found is not None else 0
        report = self._found.report if self._found is not None else None
        if report is not None and report.receive_free:
            told = report.receive_free
        elif self._firmware == "fluidnc" or not told:
            told = _ORDINARY_RX
        return told - 1

    def hold(self) -> None:
        """Feed hold: motion stops, the beam goes off with it; a spindle is stopped once the machine stands."""
        with self.session.lock:
            self.session.require(Happening.HOLD_ASKED, "Holding")
            self.link.interject(HOLD)
            self._hold_since = None
            self._resume_at = None
            self.session.happen(Happening.HOLD_ASKED, "hold was asked for")
            self._poll_soon()

    def resume(self) -> None:
        """Cycle start. A spindle that the hold stopped is started first and given time to reach its speed."""
        with self.session.lock:
            self.session.require(Happening.RESUME_ASKED, "Resuming")
            if self.session.state is BridgeState.HOLDING:
                raise NotNow("The machine is coming to a stop: wait until it stands, then resume.")
            if self._resume_at is not None:
                raise NotNow("The machine is resuming already: the spindle is reaching its speed.")
            if self._report is not None and self._report.state == "Door" and self._report.substate != 0:
                raise NotNow("The door is open: close it, then resume.")
            if self._spindle_stopped:
                self._spindle_stopped = False
                self.link.interject(SPINDLE_STOP)
                self._resume_at = self.clock.monotonic() + float(self.config.option("spin_up_s", "4"))
                return
            self._go_on()

    def _go_on(self) -> None:
        self._resume_at = None
        self._hold_since = None
        self.link.interject(RESUME)
        self._progress_at = self.clock.monotonic()
        self.session.happen(Happening.RESUME_ASKED)
        self._poll_soon()

    def cancel(self) -> None:
        """Hold, wait until the machine stands, reset, switch spindle and beam off: the position is kept."""
        with self.session.lock:
            self.session.require(Happening.CANCEL_ASKED, "Cancelling")
            self.session.happen(Happening.CANCEL_ASKED, "cancelled on request")
            self._stop(self._was_cancelled)

    def _was_cancelled(self) -> None:
        self.session.cancelled()

    def emergency_stop(self) -> None:
        """Soft reset: the controller kills steppers, spindle and beam within the interrupt."""
        sent = self.link.emergency(RESET)
        with self.session.lock:
            self._forget_run()
            self._lost_position()
            why = "Emergency stop. Look at the machine, then re-arm it."
            if not sent:
                why = "Emergency stop, but the port did not take the stop byte: use the machine's own button NOW."
            self.session.fail(Failure.EMERGENCY_STOP, why, Happening.BROKEN, may_be_moving=not sent)
            if self._dialogue is not None and self.session.identity is not None:
                self._dialogue.drop()
                self._dialogue = None

    def jog(self, x_mm: float, y_mm: float, z_mm: float, feed_mm_min: float) -> None:
        """Move by so much, machine idle: an explicit act of a person. Raises NotNow, BridgeError."""
        if self.session.state is not BridgeState.IDLE:
            raise NotNow(f"Jogging is not possible while the machine is {self.session.state}.")
        line = f"$J=G91G21X{x_mm:.3f}Y{y_mm:.3f}Z{z_mm:.3f}F{feed_mm_min:.1f}"
        self.ask(grbl_scripts.jog(line, self._firmware))

    def cancel_jog(self) -> None:
        """Stop jogging at once."""
        self.link.interject(CANCEL_JOG)

    def _check_home(self) -> None:
        if self.session.state not in (BridgeState.IDLE, BridgeState.ALARM):
            raise NotNow(f"Homing is not possible while the machine is {self.session.state}.")

    def _home_script(self) -> Script[None]:
        if self._needs_reset:
            yield from grbl_scripts.rearm(reset_first=True)
            self._needs_reset = False
        self._homed = False
        yield from grbl_scripts.home(self._firmware)
        self._homed = True
        self._heard_at = self.clock.monotonic()
        if self.session.state is BridgeState.ALARM:
            self.session.happen(Happening.REARMED, "homed")
        self._poll_soon()

    def _rearm_script(self) -> Script[Happening]:
        outcome = yield from grbl_scripts.rearm(reset_first=self._needs_reset)
        self._needs_reset = False
        self._heard_at = self.clock.monotonic()
        return outcome

    def _leave_safe(self) -> None:
        self.link.emergency(RESET)

    def _leave_idle(self) -> None:
        if self._laser or self._setting(32):
            self.link.write(b"M5S0\n")

    def _dropped(self) -> None:
        self._forget_run()
        self._report = None

    # --- what the machine says --------------------------------------------------------------------------------------

    def _received(self, text: str, now: float) -> None:
        if text == "ok":
            if self._dialogue is None:
                self._acknowledged(now)
            return
        if text.startswith("<"):
            self._reported(text, now)
            return
        if self._dialogue is not None:
            if (number := grbl_lines.alarm_number(text)) is not None:
                self._alarmed(number)
            return
        self._rare_line(text, now)

    def _rare_line(self, text: str, now: float) -> None:
        if (number := grbl_lines.error_number(text)) is not None:
            self._rejected(number)
        elif (number := grbl_lines.alarm_number(text)) is not None:
            self._alarmed(number)
        elif grbl_lines.banner(text) is not None:
            self._greeted()
        elif text.startswith("[MSG:") and not text.startswith("[MSG:'$H'"):
            self.emit(Notice("info", text[5:].rstrip("]")))

    def _acknowledged(self, now: float) -> None:
        stream = self._stream
        if stream is None or self._stopping is not None:
            return
        self._progress_at = now
        line = stream.acknowledged()
        if line:
            self.session.confirm(line, now)
        elif stream.extra_acknowledgements:
            self._give_up(
                Failure.COMMUNICATION,
                "The controller acknowledged a line that was never sent: bytes were added or split on the cable.",
            )

    def _rejected(self, number: int) -> None:
        stream = self._stream
        if stream is None or self._stopping is not None:
            return
        line, why = stream.oldest, error_text(number, self._firmware)
        if number in NOT_THE_CABLE:
            self._give_up(Failure.LINE_REJECTED, f"The controller refused line {line} (error:{number}): {why}.")
        else:
            self._give_up(
                Failure.COMMUNICATION,
                f"The controller refused line {line} (error:{number}: {why}), but the line is correct: it was changed"
                " on the cable. Use a shorter, shielded cable.",
            )

    def _alarmed(self, number: int) -> None:
        kept = number in POSITION_KEPT
        self._needs_reset = number in NEEDS_RESET
        if not kept:
            self._lost_position()
        if self.session.state is BridgeState.FAULT:
            return
        ending = self._stopping
        self._forget_run()
        why = f"ALARM:{number}: {alarm_text(number, self._firmware)}."
        if ending is not None and ending.failure is not None:
            self.session.fail(ending.failure, f"{ending.why} Then {why}", Happening.LOCKED, position_known=kept)
        else:
            self.session.fail(Failure.MACHINE_ALARM, why, Happening.LOCKED, position_known=kept)

    def _greeted(self) -> None:
        if self._stopping is not None and self._stopping.expects_greeting:
            self._stopping.greeted = True
            return
        self._lost_position()
        if self.session.state is BridgeState.FAULT:
            return
        self._forget_run()
        self.session.fail(
            Failure.CONTROLLER_RESET,
            "The controller started anew (power, reset button or a fault): all its modes are gone and its position"
            " may be wrong. Look at the machine, then re-arm it.",
            Happening.RESET,
        )

    def _lost_position(self) -> None:
        if self._setting(22):
            self._homed = False

    def _take_report(self, report: Report | None) -> None:
        if report is None:
            return
        self._report = report
        if report.wco is not None:
            self._wco = report.wco
        if report.overrides is not None:
            self._overrides = report.overrides
        work = report.work
        if work is None and report.machine is not None:
            machine, wco = report.machine, self._wco
            work = (machine[0] - wco[0], machine[1] - wco[1], machine[2] - wco[2])
        if work is not None:
            self.session.position = Position(*work)

    def _reported(self, text: str, now: float) -> None:
        report = grbl_lines.report(text, inches=self._inches)
        if report is None:
            return
        asked_at = self._asked_at
        self._heard_at = now
        self._take_report(report)
        if self._dialogue is not None:
            return
        if self._stopping is not None:
            self._stopping.reported(report)
        elif self.session.busy:
            self._follow(report, now, asked_at)
        elif report.state == "Alarm" and self.session.state is BridgeState.IDLE:
            self.session.fail(Failure.MACHINE_ALARM, "The controller is locked by an alarm.", Happening.LOCKED)

    def _follow(self, report: Report, now: float, asked_at: float) -> None:
        """One report during a run."""
        self._holds(report, now)
        stream = self._stream
        if stream is None or self._stopping is not None:
            return
        position = report.machine
        if position is None and report.work is not None:
            wco = stream.reader.shift
            position = (report.work[0] + wco[0], report.work[1] + wco[1], report.work[2] + wco[2])
        if position is None:
            return
        if report.state in ("Run", "Idle", "Hold", "Door"):
            wrong = stream.watch.objection(position, report, self._overrides)
            if wrong:
                self._give_up(Failure.POSITION_MISMATCH, wrong)
                return
        if report.state == "Idle":
            self._stands_idle(stream, now, asked_at)
        else:
            self._idle_since = self._off_end_since = None
            if report.state == "Run":
                self._progress_at = now

    def _holds(self, report: Report, now: float) -> None:
        """Hold and door states: ours or a person's at the machine."""
        state = self.session.state
        stands = (report.state == "Hold" and report.substate == 0) or (report.state == "Door" and report.substate < 2)
        if stands and state in (BridgeState.HOLDING, BridgeState.RUNNING):
            if self._quiet(report, now):
                why = "the door is open" if report.state == "Door" else "the machine stands"
                self.session.happen(Happening.STANDS, why)
        elif report.state == "Run" and state is BridgeState.HELD and self._resume_at is None:
            self._spindle_stopped = False
            self._hold_since = None
            self.session.happen(Happening.MOVES, "a person resumed at the machine")
        if state is BridgeState.HOLDING and report.state == "Idle":
            self._quiet_idle(now)

    def _quiet_idle(self, now: float) -> None:
        """A hold that met a machine without motion: grbl/protocol.c answers Hold:0, some firmwares stay Idle."""
        if self._hold_since is None:
            self._hold_since = now
        elif now - self._hold_since > END_MISMATCH_S:
            self.session.happen(Happening.STANDS, "the machine stands")

    def _quiet(self, report: Report, now: float) -> bool:
        """Whether beam and spindle are off in this hold; stops a spindle, and stops everything when a beam stays."""
        if self._hold_since is None:
            self._hold_since = now
        on = bool(report.spindle)
        if not on:
            return True
        late = now - self._hold_since > SPINDLE_OFF_WITHIN_S
        if self._laser:
            if now - self._hold_since > 2 * SETTLE_S:
                self._beam_stays_on()
            return False
        if not self._spindle_stopped and report.state == "Hold":
            self._spindle_stopped = True
            self.link.interject(SPINDLE_STOP)
        elif late:
            self.emit(Notice("warning", "The machine stands, but its spindle still turns: keep your hands away."))
            self._spindle_stopped = False
            return True
        return False

    def _beam_stays_on(self) -> None:
        self.link.emergency(RESET)
        self._forget_run()
        self._lost_position()
        self.session.fail(
            Failure.FIRMWARE_KILLED,
            "The beam stayed on while the machine stood in hold: the controller was reset at once. Check $32.",
            Happening.BROKEN,
        )

    def _stands_idle(self, stream: Stream, now: float, asked_at: float) -> None:
        """Idle during a run: between two lines, a dwell, a stall, or the end."""
        if self.session.state in (BridgeState.HOLDING, BridgeState.HELD):
            return
        if self._idle_since is None:
            self._idle_since = now
        if stream.exhausted and not stream.in_flight:
            if asked_at >= self._progress_at and now - self._idle_since >= SETTLE_S:
                self._end_of_path(stream, now)
        elif stream.in_flight and now - max(self._progress_at, self._idle_since) > STALL_S + stream.standing_s:
            self._give_up(
                Failure.COMMUNICATION,
                f"The controller stands idle but never acknowledged line {stream.oldest}:"
                " bytes were lost on the cable.",
            )

    def _end_of_path(self, stream: Stream, now: float) -> None:
        report = self._report
        position = report.machine if report is not None else None
        if position is not None:
            off = max(abs(position[i] - stream.watch.expected_end[i]) for i in range(3))
            if off > stream.watch.near_mm:
                self._off_end_since = self._off_end_since or now
                if now - self._off_end_since > END_MISMATCH_S:
                    self._give_up(
                        Failure.POSITION_MISMATCH,
                        f"Every line was acknowledged, but the machine stands {off:.2f} mm from where the"
                        " toolpath ends.",
                    )
                return
        if stream.reader.spindle_on and not self._ending:
            self._ending = "M5S0\n"
            stream.reader.step("M5S0")
            self.link.write(b"M5S0\n")
            stream.expect_own(len("M5S0\n"))
            self._idle_since = None
            return
        last = max(stream.last_number, self.session.confirmed_line)
        self.session.confirm(last, now)
        self._forget_run()
        self.session.finish()

    # --- time -------------------------------------------------------------------------------------------------------

    def _passed(self, now: float) -> None:
        state = self.session.state
        if state in (BridgeState.OFFLINE, BridgeState.UNIDENTIFIED) or self._dialogue is not None:
            return
        if self._stopping is not None:
            self._stopping.passed(now)
        elif self._resume_at is not None and now >= self._resume_at:
            self._go_on()
        if self._stream is not None and self._stopping is None:
            self._pump()
        self._poll(now)

    def _poll_soon(self) -> None:
        self._poll_due = 0.0

    def _poll(self, now: float) -> None:
        if now < self._poll_due or not self.link.is_open:
            return
        silent = now - self._heard_at
        waiting = self._stopping is not None or self.session.state is BridgeState.FAULT or self._needs_reset
        if silent > SILENCE_S + IDLE_POLL_S and not waiting and self._asked_at > self._heard_at:
            self._mute()
            return
        active = self.session.busy or self._stopping is not None
        self._poll_due = now + (self._poll_s if active else IDLE_POLL_S)
        self._asked_at = now
        self.link.interject(STATUS)

    def _mute(self) -> None:
        """No status for seconds although it was asked for: hung, or its power is gone."""
        busy = self.session.busy
        if busy:
            self.link.emergency(RESET)
        self._lost_position()
        self._forget_run()
        if self.session.state is not BridgeState.FAULT:
            self.session.fail(
                Failure.MACHINE_HUNG,
                f"The controller has not answered for {SILENCE_S + IDLE_POLL_S:.0f} s: its power is gone, it hangs, or"
                " the cable is broken. Look at the machine, then re-arm it.",
                Happening.BROKEN,
                may_be_moving=busy,
            )

    def _pump(self) -> None:
        """Send what fits."""
        stream = self._stream
        if stream is None or self.session.state in (BridgeState.HELD, BridgeState.CANCELLING):
            return
        idle = self._idle_since is not None and not stream.in_flight
        data = stream.take(idle=idle)
        if data:
            self._idle_since = None
            self.link.write(data)
        refused = stream.refused
        if refused is not None and not stream.in_flight and self._idle_since is not None:
            self._give_up(
                Failure.LINE_REJECTED,
                f"Line {refused.line} was not sent ({refused.text[:40]}): {refused.why}.",
                into=Happening.ENDED,
            )

    # --- stopping ---------------------------------------------------------------------------------------------------

    def _give_up(self, failure: Failure, why: str, *, into: Happening = Happening.RESET) -> None:
        """End the run truthfully: hold at once, reset when it stands, then tell."""

        def tell() -> None:
            self.session.fail(failure, why, into, position_known=failure is Failure.LINE_REJECTED)

        self._stop(tell, failure=failure, why=why)

    def _stop(self, then: Callable[[], None], *, failure: Failure | None = None, why: str = "") -> None:
        if self._dialogue is not None:
            self._dialogue.drop()
            self._dialogue = None
        now = self.clock.monotonic()

        def done(stood: bool) -> None:
            self._forget_run()
            if stood:
                then()
                return
            self._lost_position()
            self.session.fail(
                failure or Failure.MACHINE_HUNG,
                f"{why} The machine did not confirm that it stopped: use its own button, then look at it.".strip(),
                Happening.BROKEN,
                may_be_moving=True,
            )

        self.link.forget_unsent()
        self._stopping = Stopping(self.link.interject, self.link.emergency, done, now, failure=failure, why=why)
        self._poll_soon()

    # --- status -----------------------------------------------------------------------------------------------------

    def _more_status(self) -> dict[str, Any]:
        report = self._report
        if report is None:
            return {"homed": self._homed}
        return {
            "homed": self._homed,
            "feed_mm_min": report.feed_mm_min,
            "spindle": report.spindle,
            "planner_free_blocks": report.planner_free,
        }

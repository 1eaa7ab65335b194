"""GRBL 1.1, grblHAL and FluidNC: routers and lasers over one serial line, streamed by character counting.

GRBL has no checksums, drops what overflows its buffer without a word, and forgets all modes at a reset. So: never more
bytes in flight than it told; a greeting in mid-run ends the run; a run is done only when every line is acknowledged and
the machine reports Idle where the toolpath ends; reported positions, feeds and spindle values are compared with the
toolpath all along (`grbl_watch`). Protocol facts: grbl/serial.c, grbl/protocol.c, doc/markdown/interface.md.

Options: `m3_to_m4=yes` (laser: constant beam becomes dynamic), `dry_run=yes` (check mode before the run), `spin_up_s`
(router, default 4), `require_homing=no`, `poll_s` (default 0.1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from firmware_bridges import grbl_scripts
from firmware_bridges.bridge import (
    BridgeError,
    BridgeState,
    Failure,
    Identity,
    NotNow,
    NotSupported,
    Toolpath,
)
from firmware_bridges.dialogue import Script
from firmware_bridges.grbl_hearing import RESET, GrblHearing
from firmware_bridges.grbl_run import GrblRun, RunRules
from firmware_bridges.grbl_scripts import ORDINARY_RX, Ready
from firmware_bridges.grbl_stream import Stream
from firmware_bridges.grbl_watch import Watch
from firmware_bridges.modal import Dialect
from firmware_bridges.session import Happening
from firmware_bridges.start_at_line import lines_from

CANCEL_JOG: Final = b"\x85"
_ORDINARY_BLOCKS: Final = 16


class GrblBridge(GrblHearing):
    """One controller of the GRBL family. See `bridge.Bridge` for the methods."""

    dialect = "grbl"

    # --- identification ---------------------------------------------------------------------------------------------

    def _identification(self, *, again: bool) -> Script[Identity]:
        found = yield from grbl_scripts.identify(self.config.dialect, self.config.port, self.config.process)
        self._found = found
        self._take_report(found.report)
        self._homed = None
        if found.settings.get(22):
            self._homed = not again and found.report is not None and found.report.state != "Alarm"
        return found.identity

    def _ready(self, identity: Identity) -> None:
        self._heard_at = self.clock.monotonic()
        if self._report is not None and self._report.state == "Alarm":
            self.session.happen(Happening.LOCKED, "The controller is locked: home it, or re-arm it to unlock.")

    # --- starting ---------------------------------------------------------------------------------------------------

    def _check_run(self, toolpath: Toolpath, from_line: int) -> None:
        if self._laser and not self._setting(32):
            raise NotSupported(
                "The controller is not in laser mode ($32=0): its beam would stay on while it stands. Set $32=1, and"
                " $30 to the S value of full power, then connect again."
            )
        if not self._laser and self._setting(32):
            raise NotSupported(
                "The controller is in laser mode ($32=1), which stops a spindle at every rapid move: set $32=0."
            )
        if self._homed is False and self.config.option("require_homing", "yes") == "yes":
            raise NotNow("The machine does not know where it is: home it first.")

    def _begin_run(self, toolpath: Toolpath, from_line: int) -> None:
        def lines() -> Iterator[tuple[int, str]]:
            if from_line > 1:
                return lines_from(toolpath, from_line, self.config.process, Dialect.GRBL)
            return toolpath.lines()

        program, self._leaving_check_mode = lines(), False
        if self.config.option("dry_run") != "yes":
            self._get_ready(program)
            return
        self._say(
            grbl_scripts.check_mode(inches=bool(self._setting(13))),
            lambda ready: self._open_stream(lines(), ready, rehearsed=lambda: self._leave_check_mode(program)),
            self._not_ready,
        )

    def _leave_check_mode(self, lines: Iterator[tuple[int, str]]) -> None:
        """Check mode ends with a reset of the controller by itself (grbl/system.c)."""
        self._run, self._leaving_check_mode = None, True
        self._say(grbl_scripts.leave_check_mode(), lambda _: self._get_ready(lines), self._not_ready)

    def _get_ready(self, lines: Iterator[tuple[int, str]]) -> None:
        self._leaving_check_mode = False
        self._say(
            grbl_scripts.get_ready(inches=bool(self._setting(13))),
            lambda ready: self._open_stream(lines, ready),
            self._not_ready,
        )

    def _not_ready(self, error: BridgeError) -> None:
        if self.session.busy:
            self._drop_run()
            self.session.fail(Failure.COMMUNICATION, str(error), Happening.RESET)

    def _open_stream(
        self, lines: Iterator[tuple[int, str]], ready: Ready, rehearsed: Callable[[], None] | None = None
    ) -> None:
        if not self.session.busy:
            return
        steps = [self._setting(number) for number in (100, 101, 102) if self._setting(number) > 0]
        blocks = self._found.build.blocks if self._found is not None else 0
        stream = Stream(
            lines,
            Watch(ready.position, blocks or _ORDINARY_BLOCKS, min(steps, default=0.0)),
            self._found.capacity() if self._found is not None else ORDINARY_RX - 1,
            position=ready.position,
            offsets=ready.offsets,
            dynamic_beam=self._laser and self.config.option("m3_to_m4") == "yes",
            spindle_range=(self._setting(31), self._setting(30) or 1e9),
            skip_memory_writes=rehearsed is not None,
        )
        stream.reader.step(ready.motion)
        rules = RunRules(
            firmware=self._firmware,
            laser=self._laser,
            spin_up_s=float(self.config.option("spin_up_s", "4")),
            rehearsal=rehearsed is not None,
        )
        now = self.clock.monotonic()
        self._run = GrblRun(
            self.link, self.session, stream, rules, now, lost_position=self._lost_position, rehearsed=rehearsed
        )
        self._poll_soon()
        self._run.passed(now)

    # --- requests during a run --------------------------------------------------------------------------------------

    def hold(self) -> None:
        """Feed hold: motion stops, the beam goes off with it; a spindle is stopped once the machine stands."""
        with self.session.lock:
            if self._run is not None and self._run.stays():
                return
            self.session.require(Happening.HOLD_ASKED, "Holding")
            if self._run is None:
                raise NotNow("The toolpath is about to start: cancel it, or wait until it runs.")
            self._run.hold()
            self.session.happen(Happening.HOLD_ASKED, "hold was asked for")
            self._poll_soon()

    def resume(self) -> None:
        """Cycle start. A spindle that the hold stopped is started first and given time to reach its speed."""
        with self.session.lock:
            self.session.require(Happening.RESUME_ASKED, "Resuming")
            if self.session.state is BridgeState.HOLDING or self._run is None:
                raise NotNow("The machine is coming to a stop: wait until it stands, then resume.")
            if self._run.resuming:
                raise NotNow("The machine is resuming already: the spindle is reaching its speed.")
            if self._report is not None and self._report.state == "Door" and self._report.substate != 0:
                raise NotNow("The door is open: close it, then resume.")
            self._run.resume(self.clock.monotonic())
            self._poll_soon()

    def cancel(self) -> None:
        """Hold, wait until the machine stands, reset: spindle and beam off, buffers empty, position kept."""
        with self.session.lock:
            self.session.require(Happening.CANCEL_ASKED, "Cancelling")
            self.session.happen(Happening.CANCEL_ASKED, "cancelled on request")
            if self._run is None:
                self._cancel_before_start()
            else:
                self._run.stop(self.session.cancelled)
            self._poll_soon()

    def _cancel_before_start(self) -> None:
        """The controller is still being asked where it stands: nothing of the toolpath was sent."""
        self._drop_dialogue()
        if self.config.option("dry_run") == "yes":
            self.link.emergency(RESET)
        self.session.cancelled()

    def emergency_stop(self) -> None:
        """Soft reset: the controller kills steppers, spindle and beam in its interrupt (grbl/motion_control.c)."""
        self._stop_pressed = True
        try:
            sent = self.link.emergency(RESET, hush=True)
            with self.session.lock:
                self.link.speak_again()
                self._drop_run()
                self._lost_position()
                why = "Emergency stop. Look at the machine, then re-arm it."
                if not sent:
                    why = "Emergency stop, but the port did not take the stop byte: use the machine's own button NOW."
                self.session.fail(Failure.EMERGENCY_STOP, why, Happening.BROKEN, may_be_moving=not sent)
                if self.session.identity is not None:
                    self._drop_dialogue()
        finally:
            self._stop_pressed = False

    def _stop_bytes(self) -> bytes:
        return RESET

    # --- people's acts ----------------------------------------------------------------------------------------------

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
            yield from grbl_scripts.rearm()
            self._needs_reset = False
        self._homed = False
        yield from grbl_scripts.home(self._firmware)
        self._homed = True
        self._heard_at = self.clock.monotonic()
        if self.session.state is BridgeState.ALARM:
            self.session.happen(Happening.REARMED, "homed")
        self._poll_soon()

    def _rearm_script(self) -> Script[Happening]:
        outcome = yield from grbl_scripts.rearm()
        self._needs_reset = False
        self._heard_at = self.clock.monotonic()
        return outcome

    def _leave_safe(self) -> None:
        self.link.emergency(RESET)

    def _leave_idle(self) -> None:
        if self._laser or self._setting(32):
            self.link.write(b"M5S0\n")

    def _dropped(self) -> None:
        self._drop_run()
        self._lost_position()
        self._report = None

    # --- status -----------------------------------------------------------------------------------------------------

    def _more_status(self) -> dict[str, Any]:
        report = self._report
        if report is None:
            return {"homed": self._homed}
        told = {"homed": self._homed, "feed_mm_min": report.feed_mm_min, "spindle": report.spindle}
        return told | {"planner_free_blocks": report.planner_free}

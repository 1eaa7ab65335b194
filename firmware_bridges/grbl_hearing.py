"""What a GRBL controller's words and its silence mean: reports, alarms, greetings, and asking it for its state.

A greeting nobody asked for is a controller that started anew: its modes are gone, and after a loss of power its
position too (grbl/main.c), whether a toolpath runs, is about to, or nobody wants anything of it.
"""

from __future__ import annotations

from typing import Final, Unpack

from firmware_bridges import grbl_lines
from firmware_bridges.bridge import BridgeState, Failure, MachineConfig, Notice, Position
from firmware_bridges.grbl_codes import NEEDS_RESET, POSITION_KEPT, alarm_text
from firmware_bridges.grbl_lines import Report
from firmware_bridges.grbl_run import GrblRun
from firmware_bridges.grbl_scripts import Found
from firmware_bridges.session import Happening
from firmware_bridges.wire_bridge import Parts, WireBridge

STATUS: Final = b"?"
RESET: Final = b"\x18"
IDLE_POLL_S: Final = 1.0
SILENCE_S: Final = 3.0
GREET_AGAIN_S: Final = 0.7


class GrblHearing(WireBridge):
    """The listening side of a controller of the GRBL family, apart from its streaming."""

    def __init__(self, config: MachineConfig, **parts: Unpack[Parts]) -> None:
        super().__init__(config, **parts)
        self._laser = config.process == "laser"
        self._poll_s = float(config.option("poll_s", "0.1"))
        self._found: Found | None = None
        self._run: GrblRun | None = None
        self._homed: bool | None = None
        self._report: Report | None = None
        self._wco, self._overrides = (0.0, 0.0, 0.0), (100, 100, 100)
        self._asked_at = self._heard_at = self._poll_due = 0.0
        self._reset_seen_at: float | None = None
        self._needs_reset = self._leaving_check_mode = False
        self._stop_pressed = False
        """A stop is on its way, and who pressed it has not said so yet: what the controller answers is its answer."""

    @property
    def _firmware(self) -> str:
        return self._found.build.firmware if self._found is not None else "grbl"

    def _setting(self, number: int) -> float:
        return self._found.settings.get(number, 0.0) if self._found is not None else 0.0

    # --- what the machine says --------------------------------------------------------------------------------------

    def _received(self, text: str, now: float) -> None:
        if text == "ok":
            if self._run is not None and self._dialogue is None:
                self._run.acknowledged(now)
        elif text.startswith("<"):
            self._reported(text, now)
        elif self._dialogue is None or text.startswith("ALARM"):
            self._rare_line(text)
        elif grbl_lines.banner(text) is not None:
            self._greeted_while_asked()
        self._drop_if_over()

    def _drop_if_over(self) -> None:
        if self._run is not None and self._run.over:
            self._run = None

    def _rare_line(self, text: str) -> None:
        if (number := grbl_lines.error_number(text)) is not None and self._run is not None:
            self._run.rejected(number)
        elif (number := grbl_lines.alarm_number(text)) is not None:
            self._alarmed(number)
        elif grbl_lines.banner(text) is not None:
            self._greeted()
        elif text.startswith("[MSG:") and not text.startswith("[MSG:'$H'"):
            self.emit(Notice("info", text[5:].rstrip("]")))

    def _alarmed(self, number: int) -> None:
        kept = number in POSITION_KEPT
        self._needs_reset = number in NEEDS_RESET
        if not kept:
            self._lost_position()
        if self.session.state is BridgeState.FAULT or self._stop_pressed:
            return
        if self._reset_seen_at is not None:
            self._was_reset()
            return
        stopping = self._run.stopping if self._run is not None else None
        self.link.emergency(b"")  # nothing that waits to be sent may follow
        self._drop_run()
        failure, why = Failure.MACHINE_ALARM, f"ALARM:{number}: {alarm_text(number, self._firmware)}."
        if stopping is not None and stopping.failure is not None:
            failure, why = stopping.failure, f"{stopping.why} Then {why}"
        self.session.fail(failure, why, Happening.LOCKED, position_known=kept)

    def _greeted(self) -> None:
        if self._stop_pressed:
            return
        stopping = self._run.stopping if self._run is not None else None
        if stopping is not None and stopping.expects_greeting:
            stopping.greeted = True
            self._poll_soon()
            return
        if self._run is not None and self._reset_seen_at is None:
            # Lines still on the wire would now run in the wrong modes: reset once more, tell when that was heard.
            self._reset_seen_at = self.clock.monotonic()
            self.link.emergency(RESET)
            self._run = None
            return
        self._was_reset()

    def _greeted_while_asked(self) -> None:
        """A greeting ends what asks for one (who it is, re-arming, leaving check mode); otherwise it started anew."""
        state = self.session.state
        if state is BridgeState.STARTING and not self._leaving_check_mode:
            self._drop_dialogue()
            self._was_reset()
        elif state is BridgeState.IDLE:
            self._was_reset()

    def _was_reset(self) -> None:
        self._lost_position()
        self._drop_run()
        if self.session.state is not BridgeState.FAULT:
            self.session.fail(
                Failure.CONTROLLER_RESET,
                "The controller started anew (power, reset button or a fault): all its modes are gone and its"
                " position may be wrong. Look at the machine, then re-arm it.",
                Happening.RESET,
            )

    def _lost_position(self) -> None:
        if self._setting(22):
            self._homed = False

    def _take_report(self, report: Report | None) -> None:
        if report is None:
            return
        self._report = report
        self._wco = report.wco or self._wco
        self._overrides = report.overrides or self._overrides
        work = report.work
        if work is None and report.machine is not None:
            machine, wco = report.machine, self._wco
            work = (machine[0] - wco[0], machine[1] - wco[1], machine[2] - wco[2])
        if work is not None:
            self.session.position = Position(*work)

    def _reported(self, text: str, now: float) -> None:
        report = grbl_lines.report(text, inches=bool(self._setting(13)))
        if report is None:
            return
        self._heard_at = now
        self._take_report(report)
        if self._dialogue is not None:
            return
        if self._run is not None:
            self._run.reported(report, self._overrides, now, self._asked_at)
        elif report.state == "Alarm" and self.session.state is BridgeState.IDLE:
            self.session.fail(Failure.MACHINE_ALARM, "The controller is locked by an alarm.", Happening.LOCKED)

    def _drop_run(self) -> None:
        self._run = None
        self._reset_seen_at = None

    # --- time -------------------------------------------------------------------------------------------------------

    def _passed(self, now: float) -> None:
        if self._dialogue is not None or self.session.state in (BridgeState.OFFLINE, BridgeState.UNIDENTIFIED):
            return
        if self._run is not None:
            self._run.passed(now)
            self._drop_if_over()
        if self._reset_seen_at is not None:
            if now - self._reset_seen_at > GREET_AGAIN_S:
                self._was_reset()
        elif self.session.state is not BridgeState.DISARMED:
            self._poll(now)

    def _poll_soon(self) -> None:
        self._poll_due = 0.0

    def _poll(self, now: float) -> None:
        if now < self._poll_due or not self.link.is_open:
            return
        busy = self._run is not None or self.session.busy
        stopping = self._run is not None and self._run.stopping is not None
        may_be_mute = stopping or self.session.state is BridgeState.FAULT or self._needs_reset
        if now - self._heard_at > SILENCE_S and self._asked_at > self._heard_at and not may_be_mute:
            self._mute(busy=busy)
            return
        self._poll_due = now + (self._poll_s if busy else IDLE_POLL_S)
        self._asked_at = now
        self.link.interject(STATUS)

    def _mute(self, *, busy: bool) -> None:
        """No status for seconds although it was asked for: hung, or its power is gone."""
        if busy:
            self.link.emergency(RESET)
        self._lost_position()
        self._drop_run()
        self.session.fail(
            Failure.MACHINE_HUNG,
            f"The controller has not answered for {SILENCE_S:.0f} s: its power is gone, it hangs, or the cable is"
            " broken. Look at the machine, then re-arm it.",
            Happening.BROKEN,
            may_be_moving=busy,
        )

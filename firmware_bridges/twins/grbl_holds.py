"""Real-time acts of the GRBL twin: overrides, feed hold, door, cycle start, jog cancel, spindle stop.

They act whatever the line buffer holds (grbl/serial.c, grbl/protocol.c protocol_exec_rt_system).
"""

from __future__ import annotations

from typing import Final

from firmware_bridges.twins.grbl_machine import GrblMachine

#: byte → (which: feed, rapid, spindle; change; ±100 means back to 100, 25 and 50 are absolute). grbl/config.h.
OVERRIDES: Final = {
    0x90: (0, 100), 0x91: (0, 10), 0x92: (0, -10), 0x93: (0, 1), 0x94: (0, -1),
    0x95: (1, 100), 0x96: (1, 50), 0x97: (1, 25),
    0x99: (2, 100), 0x9A: (2, 10), 0x9B: (2, -10), 0x9C: (2, 1), 0x9D: (2, -1),
}  # fmt: skip


class GrblHolds(GrblMachine):
    """The machine with its real-time states."""

    alarm = False
    critical = False
    check = homing = held = jogging = sleeping = False
    door = door_open = False
    _was_held = _jog_cancel = False

    def say(self, text: str) -> None:
        """Send a line; the twin's own."""
        raise NotImplementedError

    def _override(self, byte: int) -> None:
        place, change = OVERRIDES[byte]
        low, high = ((10, 200), (25, 100), (10, 200))[place]
        value = change if abs(change) >= 25 else self.overrides[place] + change
        value = 100 if abs(change) == 100 else value
        self.overrides[place] = max(low, min(high, value))
        self._fields.overrides_wait = 0

    def _hold(self) -> None:
        if self.alarm or self.homing or self.check or self.held:
            return
        if self.jogging:
            self._cancel_jog()
            return
        self._account()
        self.held = True
        self.planner.hold(self.now)

    def _door(self) -> None:
        if self.alarm or self.homing or self.check:
            return
        self._account()
        self.held = self.door = True
        self.planner.hold(self.now)

    def _cycle_start(self) -> None:
        if not self.held or self.planner.stopping or self.door_open:
            return
        if self._spindle_stopped or (self.laser_mode and self._was_held):
            if self.reader.spindle_on:
                self.say("[MSG:Restoring spindle]")
            self._spindle_stopped = False
        self._account()
        self.held = self.door = self._was_held = False
        self.planner.resume(self.now)

    def _cancel_jog(self) -> None:
        if self.jogging:
            self._jog_cancel = True
            self.planner.hold(self.now)

    def _toggle_spindle_stop(self) -> None:
        """0x9E acts in Hold only (grbl/protocol.c, EXEC_SPINDLE_OVR_STOP)."""
        if not self.held or self.planner.stopping or self.laser_mode:
            return
        self._account()
        if self._spindle_stopped:
            if self.reader.spindle_on:
                self.say("[MSG:Restoring spindle]")
            self._spindle_stopped = False
        elif self.reader.spindle_on:
            self._spindle_stopped = True
        self._fields.overrides_wait = 0

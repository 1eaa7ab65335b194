"""What the numbers of the GRBL family mean, in our own words, per firmware.

Numbers: grbl/report.h and grbl/system.h (1.1h); grblHAL core/errors.h and core/alarms.h (`$EE` and `$EA` list them);
FluidNC src/Error.h and src/Alarm.h.
"""

from __future__ import annotations

from typing import Final

_ALARMS: Final[dict[int, str]] = {
    1: "a limit switch was hit while moving; the position is lost",
    2: "a move would have left the machine's travel; it was stopped in time and the position is kept",
    3: "the controller was reset while moving; the position is lost",
    4: "the probe was touching already before the probing move",
    5: "the probe touched nothing within its travel",
    6: "homing was stopped by a reset",
    7: "the door was opened while homing",
    8: "homing could not pull off the limit switch",
    9: "homing found no limit switch within its travel",
    10: "homing of a two-motor axis found only one of its switches",
}
_ALARMS_HAL: Final[dict[int, str]] = {
    10: "the emergency stop is pressed",
    11: "the machine has to be homed first",
    12: "a limit switch is pressed; free it first",
    13: "the probe protection tripped",
    14: "the spindle did not reach its speed in time",
    15: "the second switch of a two-motor axis was not found",
    16: "the power-on self test failed",
    17: "a motor driver reports a fault",
    18: "homing is not configured correctly",
    19: "the Modbus spindle does not answer",
    20: "an input/output expander does not answer",
    21: "the settings memory failed",
    22: "the receive buffer overflowed",
}
_ALARMS_FLUIDNC: Final[dict[int, str]] = {
    10: "the spindle control failed",
    11: "a control input was active at start",
    12: "a limit switch is ambiguous: one switch serves two ends",
    13: "a hard stop was asked for",
    14: "the machine has to be homed first",
    15: "the controller could not initialise",
    16: "an input/output expander restarted",
    17: "a G-code error stopped the program",
    18: "the probe hit something outside a probing move",
}
#: Alarms after which the counted position still matches the machine (grbl/system.h: soft limit keeps it).
POSITION_KEPT: Final = frozenset({2})
#: Alarms after which the controller ignores everything but a reset (grbl/protocol.c, critical events).
NEEDS_RESET: Final = frozenset({1, 2, 10})

_ERRORS: Final[dict[int, str]] = {
    1: "a word did not start with a letter",
    2: "a number is malformed",
    3: "an unknown $ command",
    4: "a value is negative that must not be",
    5: "homing is switched off ($22)",
    6: "the step pulse would be too short",
    7: "the settings memory could not be read and was reset",
    8: "the command needs an idle machine",
    9: "the machine is locked by an alarm, or jogging",
    10: "soft limits need homing",
    11: "the line is too long",
    12: "the step rate would be too high",
    13: "the door is open",
    14: "the start-up line is too long",
    15: "the jog would leave the machine's travel",
    16: "the jog command is malformed",
    17: "laser mode needs a controller with PWM output",
    18: "the controller is held in reset",
    19: "a value must be above zero",
    20: "an unknown or unsupported word",
    21: "two words of one modal group in the line",
    22: "no feed rate is set",
    23: "a whole number is needed",
    24: "two words of the line both want the axis values",
    25: "a word stands twice in the line",
    26: "axis values are missing",
    27: "the line number is invalid",
    28: "a needed value is missing",
    29: "there is no such work coordinate system",
    30: "G53 goes with G0 and G1 only",
    31: "axis values without a motion in force",
    32: "an arc without a target in its plane",
    33: "the target of the move is invalid",
    34: "the arc's radius does not reach its end",
    35: "the arc's centre is missing",
    36: "a value in the line is not used by any word",
    37: "the tool length offset names another axis than the tool's",
    38: "the tool number is too high",
}
_ERRORS_HAL: Final[dict[int, str]] = {
    39: "a value is out of its range",
    40: "a tool change is pending",
    50: "the emergency stop is pressed",
    51: "a motor driver reports a fault",
    52: "the setting's value is out of its range",
    53: "the setting is not available",
    79: "a critical event happened",
}
_ERRORS_FLUIDNC: Final[dict[int, str]] = {
    39: "the P value is too high",
    40: "a control input was active at start",
    60: "the SD card could not be mounted",
    80: "a setting is out of its range",
    81: "a setting's value is invalid",
    110: "the command needs a login",
    120: "another connection has the machine",
    130: "the jog was cancelled",
    150: "the configuration is invalid",
}

#: Errors that a correct line can meet: the machine's state or its firmware is the reason, not the cable.
NOT_THE_CABLE: Final = frozenset({5, 8, 9, 10, 11, 12, 13, 15, 17, 18, 20, 33, 34, 38, 40, 50, 51, 79, 110, 120})


def alarm_text(number: int, firmware: str) -> str:
    """What ALARM:`number` means to `firmware` (grbl, grblhal, fluidnc)."""
    special = {"grblhal": _ALARMS_HAL, "fluidnc": _ALARMS_FLUIDNC}.get(firmware, {})
    return special.get(number) or _ALARMS.get(number) or "an alarm this program does not know"


def error_text(number: int, firmware: str) -> str:
    """What error:`number` means to `firmware`."""
    special = {"grblhal": _ERRORS_HAL, "fluidnc": _ERRORS_FLUIDNC}.get(firmware, {})
    return special.get(number) or _ERRORS.get(number) or "an error this program does not know"

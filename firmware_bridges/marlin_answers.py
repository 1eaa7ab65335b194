"""What printers say, line by line, as values. Pure: text in, facts out; a damaged line is `Unclear`, never an ok.

Sources: Marlin src/gcode/queue.cpp (ok_to_send, flush_and_request_resend), src/core/language.h, src/module/
temperature.cpp (print_heater_states), src/MarlinCore.cpp (kill, minkill); Repetier src/ArduinoAVR gcode.cpp;
Smoothieware src/modules/communication/GcodeDispatch.cpp; Klipper klippy/gcode.py; RepRapFirmware src/GCodes/GCodes.cpp.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from firmware_bridges.bridge import Failure, Position


@dataclass(frozen=True, slots=True)
class Ok:
    """An acknowledgement: `number` and free slots where the firmware tells them; `warm` with temperatures."""

    number: int | None = None
    planner_free: int | None = None
    queue_free: int | None = None
    warm: bool = False
    halted: bool = False
    """It acknowledges, but does nothing any more (Smoothieware after M112)."""


@dataclass(frozen=True, slots=True)
class Resend:
    """The firmware wants everything from `number` on again."""

    number: int


@dataclass(frozen=True, slots=True)
class LineError:
    """A line was refused; a Resend follows (or should). `last` is the last good number, where told."""

    last: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """The firmware did not know this command; an ok follows."""

    command: str


@dataclass(frozen=True, slots=True)
class Busy:
    """At work on a long command, or waiting for a person."""

    reason: str


@dataclass(frozen=True, slots=True)
class Heat:
    """(heater, measured, target) from a report, with or without an ok. `waiting`: inside a wait for heat."""

    readings_c: tuple[tuple[str, float, float], ...]
    waiting: bool = False


@dataclass(frozen=True, slots=True)
class Where:
    """A position report in work coordinates."""

    position: Position


@dataclass(frozen=True, slots=True)
class Card:
    """Whether the machine prints a file of its own card (Marlin src/sd/cardreader.cpp report_status, M1001.cpp)."""

    printing: bool


@dataclass(frozen=True, slots=True)
class HostAction:
    """A line `//action:…`."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Death:
    """The firmware stopped itself. Only a reset helps."""

    failure: Failure
    text: str


@dataclass(frozen=True, slots=True)
class Started:
    """A banner or a reset cause: the controller has started anew."""

    text: str


@dataclass(frozen=True, slots=True)
class Refused:
    """`!!`: the firmware refused a command (Klipper, with an ok) or is halted (Smoothieware, without)."""

    text: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """A repeated line was not executed again (Repetier)."""

    number: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """`wait`: idle, the queue is empty (Repetier; Marlin with NO_TIMEOUTS)."""


@dataclass(frozen=True, slots=True)
class Runout:
    """The filament ran out."""

    text: str


@dataclass(frozen=True, slots=True)
class Said:
    """Words without consequence for the protocol."""

    text: str


@dataclass(frozen=True, slots=True)
class Unclear:
    """Nothing of the above: damaged, or from a firmware we do not know so well."""

    text: str


Answer = (
    Ok
    | Resend
    | LineError
    | Unknown
    | Busy
    | Heat
    | Where
    | Card
    | HostAction
    | Death
    | Started
    | Refused
    | Skipped
    | Waiting
    | Runout
    | Said
    | Unclear
)

_OK: Final = re.compile(r"ok(?: N(\d+))?(?: P(\d+))?(?: B(\d+))? ?\Z")
_OK_NUMBER: Final = re.compile(r"ok ?(\d+)\Z")
_WARM_OK: Final = re.compile(r"ok (?:T|B|T0|C):\s?-?\d")
_RESEND: Final = re.compile(r"(?:Resend: ?(?:N:?)?|rs (?:N)?)(\d+)\s*\Z", re.IGNORECASE)
_LAST_LINE: Final = re.compile(r"Last Line: ?(-?\d+)\Z")
_UNKNOWN: Final = re.compile(r'echo:\s*Unknown command: ?"(.*?)"?\Z')
#: The same with one byte damaged: it must not be overlooked, as the ok that follows belongs to no line.
_UNKNOWN_DAMAGED: Final = re.compile(r'.{0,24}(?:Unknown|command).{0,12}?"(.*?)"?\Z')
_BUSY: Final = re.compile(r"(?:echo:)?\s*busy:\s*(.*)\Z", re.IGNORECASE)
_HEATER: Final = re.compile(r"\b(T\d?|B|C):\s?(-?\d+(?:\.\d+)?) ?/ ?(-?\d+(?:\.\d+)?)")
_HEAT_LINE: Final = re.compile(r" ?(?:T\d?|B|C):\s?-?\d")
_WHERE: Final = re.compile(r"X:\s?(-?\d+\.?\d*) Y:\s?(-?\d+\.?\d*) Z:\s?(-?\d+\.?\d*)(?: |\Z)")
#: Whole lines only: a damaged report says nothing.
_CARD: Final = re.compile(r"(?:(SD printing byte \d+/\d+)|Not SD printing|Done printing file) ?\Z")
_SKIP: Final = re.compile(r"skip (\d+)\Z")
#: A banner may follow the stump of a line that the reset cut off: `… /0.00start`.
_STARTED: Final = re.compile(
    r"(?:\A(?!//|echo:).{0,80}?start\Z)|\AMarlin \S+\Z|\A ?(?:External|Brown out|Watchdog|Software) Reset\Z"
    r"|\APowerUp\Z|\AInfo:PowerUp|\ASmoothie\Z|\ARepRapFirmware .*starting|echo: Last Updated:"
)
_THERMAL: Final = re.compile(
    r"Heating failed|Thermal Runaway|M(?:IN|AX)TEMP|heater decoupled|Heater fault|not heating at expected rate"
    r"|ADC out of range|TEMPERATURE MALFUNCTION",
    re.IGNORECASE,
)
_DEAD: Final = re.compile(
    r"Printer halted|kill\(\) called|Printer stopped due to errors|\Afatal:|Fail mode active|M112 Shutdown"
    r"|MCU '.*' shutdown|Emergency stop|Emergency Stop|EMERGENCY STOP|Lost communication with MCU|Homing Failed",
)
_KLIPPER_DOWN: Final = re.compile(r"Klipper state: (?:Shutdown|Disconnect)")


def read(line: str) -> Answer:  # noqa: C901 - one row a kind of line
    """The meaning of one line."""
    first = line[:2]
    if first == "ok":
        return _read_ok(line)
    if first == "//":
        return _read_slashes(line)
    if first == "!!":
        if _THERMAL.search(line):
            return Death(Failure.THERMAL, line)
        return Death(Failure.FIRMWARE_KILLED, line) if _DEAD.search(line) else Refused(line[2:].strip())
    if _HEAT_LINE.match(line) and not line.endswith("start"):
        return Heat(heat(line), " W:" in line)
    if match := _BUSY.match(line):
        return Busy(match[1])
    if match := _WHERE.match(line):
        return Where(Position(float(match[1]), float(match[2]), float(match[3])))
    if match := _CARD.match(line):
        return Card(match[1] is not None)
    if match := _RESEND.match(line):
        return Resend(int(match[1]))
    if match := _UNKNOWN.match(line):
        return Unknown(match[1])
    if line == "wait":
        return Waiting()
    if match := _SKIP.match(line):
        return Skipped(int(match[1]))
    if line.startswith(("Error:", "fatal:", "error:", "Error: ")) or _DEAD.search(line):
        return _read_error(line)
    if _STARTED.search(line):
        return Started(line)
    if "ilament" in line and re.search(r"run ?out|out of filament|no filament", line, re.IGNORECASE):
        return Runout(line)
    if match := _UNKNOWN_DAMAGED.match(line):
        return Unknown(match[1])
    if match := _LAST_LINE.search(line):
        return LineError(int(match[1]), line)
    if line.startswith(("echo:", "Cap:", "FIRMWARE_NAME", "area:", "Info:", "Warning:", "Count")) or not line:
        return Said(line)
    return Unclear(line)


def heat(line: str) -> tuple[tuple[str, float, float], ...]:
    """Every (heater, measured, target) in a line: `T:60.45 /60.00 B:23.12 /40.00`."""
    return tuple((name, float(now), float(target)) for name, now, target in _HEATER.findall(line))


def _read_ok(line: str) -> Answer:
    if line == "ok":
        return Ok()
    if match := _OK.match(line):
        number, planner, queue = match.groups()
        return Ok(
            None if number is None else int(number),
            None if planner is None else int(planner),
            None if queue is None else int(queue),
        )
    if _WARM_OK.match(line):
        return Ok(warm=True)
    if match := _OK_NUMBER.match(line):
        return Ok(int(match[1]))
    if "Emergency Stop" in line:
        return Ok(halted=True)
    if line.startswith("ok FIRMWARE_NAME") or re.match(r"ok C: X:", line):
        return Ok()
    return Unclear(line)


def _read_slashes(line: str) -> Answer:
    if line.startswith("//action:"):
        name, _, text = line[9:].strip().partition(" ")
        if name == "out_of_filament":
            return Runout(line)
        return HostAction(name, text.strip())
    if _THERMAL.search(line):
        return Death(Failure.THERMAL, line)
    if _KLIPPER_DOWN.search(line) or _DEAD.search(line):
        return Death(Failure.FIRMWARE_KILLED, line)
    return Said(line)


def _read_error(line: str) -> Answer:
    if _THERMAL.search(line):
        return Death(Failure.THERMAL, line)
    if _DEAD.search(line):
        return Death(Failure.FIRMWARE_KILLED, line)
    match = _LAST_LINE.search(line)
    if match is not None or re.search(r"checksum|line number", line, re.IGNORECASE):
        return LineError(None if match is None else int(match[1]), line)
    return Said(line)

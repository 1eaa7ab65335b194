"""Carrying out one line inside the GRBL twin: a generator that yields what the firmware waits for.

Follows grbl/protocol.c, grbl/system.c, grbl/gcode.c and grbl/motion_control.c: what blocks there yields here. G-code is
read by `modal_cnc`; that it means what GRBL means is checked against recorded conversations and by hand-written tests.
"""

from __future__ import annotations

import math
import re
from collections.abc import Generator
from enum import Enum
from typing import TYPE_CHECKING, Final

from firmware_bridges.arcs import Arc, Point
from firmware_bridges.modal import Dwell, Motion, MotionKind, Problem, Stop
from firmware_bridges.modal_cnc import CncInterpreter
from firmware_bridges.twins import grbl_reports

if TYPE_CHECKING:
    from firmware_bridges.twins.grbl import GrblTwin

#: Time the 328P spends with interrupts off while it writes its EEPROM (3.4 ms a byte, a few bytes change).
EEPROM_WRITE_S: Final = 0.02
_FASTEST_MM_S: Final = 1e6
_SETTING: Final = re.compile(r"^\$(\d+)=(-?\d*\.?\d+)$")
_JOG_WORDS: Final = frozenset({"G20", "G21", "G90", "G91", "G53"})


class Wait(Enum):
    """What a line may wait for."""

    SPACE = "a free block in the planner"
    EMPTY = "an empty planner"
    STAND = "the end of a deceleration"
    TIME = "a moment (the twin's `until`)"
    RELEASE = "the end of a hold"
    RESET = "a reset"


Waits = Generator[Wait, None, str]
"""Yields waits; returns the answer: "ok", "error:N", or "" for none."""


def execute(twin: GrblTwin, line: str) -> Waits:
    """One stripped line."""
    if not line:
        return "ok"
    if line[0] == "$":
        return (yield from _system(twin, line))
    if twin.alarm or twin.jogging:
        return "error:9"
    return (yield from _gcode(twin, line))


# --- $ ---------------------------------------------------------------------------------------------------------------


def _system(twin: GrblTwin, line: str) -> Waits:
    if line == "$":
        twin.say("[HLP:$$ $# $G $I $N $x=val $Nx=line $J=line $SLP $C $X $H ~ ! ? ctrl-x]")
        return "ok"
    if line.startswith("$J="):
        return (yield from _jog(twin, line[3:]))
    if line == "$G":
        twin.say(grbl_reports.modal_line(twin.reader.state()))
        return "ok"
    if line == "$C":
        return _check_mode(twin)
    if line == "$X":
        if twin.alarm:
            twin.alarm = False
            twin.say("[MSG:Caution: Unlocked]")
        return "ok"
    if line == "$$":
        if twin.busy:
            return "error:8"
        for text in grbl_reports.settings_lines(twin.settings):
            twin.say(text)
        return "ok"
    if twin.busy or twin.check:
        return "error:8"
    return (yield from _when_idle(twin, line))


def _when_idle(twin: GrblTwin, line: str) -> Waits:
    """Commands that need Idle or Alarm (grbl/system.c)."""
    setting = _SETTING.match(line)
    if setting is not None:
        return (yield from _set(twin, int(setting[1]), float(setting[2])))
    if line == "$H":
        return (yield from _home(twin))
    if line == "$#":
        for text in twin.offsets_lines():
            twin.say(text)
    elif line == "$I":
        for text in twin.variant.build:
            twin.say(text)
    elif line == "$N":
        twin.say("$N0=")
        twin.say("$N1=")
    elif line.startswith("$I="):
        yield from _eeprom(twin)
    elif line == "$SLP":
        twin.say("[MSG:Sleeping]")
        twin.sleeping = True
    elif line in ("$RST=$", "$RST=*", "$RST=#"):
        twin.restore_defaults(line[-1])
        twin.say("[MSG:Restoring defaults]")
        twin.say("ok")
        twin.soft_reset()
        return ""
    else:
        return "error:3"
    return "ok"


def _set(twin: GrblTwin, number: int, value: float) -> Waits:
    if number not in twin.settings:
        return "error:3"
    if value < 0:
        return "error:4"
    if number == 20 and value and not twin.settings[22]:
        return "error:10"
    if number == 0 and value < 3:
        return "error:6"
    yield from _eeprom(twin)
    twin.settings[number] = value
    if number == 22 and not value:
        twin.settings[20] = 0
    twin.apply_settings()
    return "ok"


def _eeprom(twin: GrblTwin) -> Generator[Wait, None, None]:
    """Interrupts are off while bytes are written: what arrives meanwhile is lost (doc/markdown/interface.md)."""
    twin.deaf_until = twin.until = twin.now + EEPROM_WRITE_S
    yield Wait.TIME


def _check_mode(twin: GrblTwin) -> str:
    if twin.check:
        twin.say("[MSG:Disabled]")
        twin.say("ok")
        twin.check = False
        twin.soft_reset()
        return ""
    if twin.busy or twin.alarm:
        return "error:8"
    twin.check = True
    twin.say("[MSG:Enabled]")
    return "ok"


def _home(twin: GrblTwin) -> Waits:
    if not twin.settings[22]:
        return "error:5"
    twin.alarm = False
    twin.homing = True
    for axes in ((2,), (0, 1)):
        twin.until = twin.now + max(_homing_time(twin, axis) for axis in axes)
        yield Wait.TIME
        if twin.switch_broken:
            twin.homing = False
            twin.raise_alarm(9, critical=False)
            return ""
    twin.homing = False
    twin.homed()
    return "ok"


def _homing_time(twin: GrblTwin, axis: int) -> float:
    """Seek to the switch, back off, approach slowly, back off (grbl/limits.c)."""
    settings = twin.settings
    seek, feed, pull_off = settings[25] / 60, settings[24] / 60, settings[27]
    away = abs(twin.home_position()[axis] - twin.machine_position()[axis])
    return away / seek + 2 * pull_off / seek + pull_off / feed + 2 * settings[26] / 1000


def _jog(twin: GrblTwin, words: str) -> Waits:
    if twin.alarm or (twin.busy and not twin.jogging):
        return "error:8"
    for found in re.findall(r"[GM][\d.]+", words):
        if found not in _JOG_WORDS:
            return "error:16"
    if re.search(r"[IJKLPRST]", words):
        return "error:16"
    if "F" not in words:
        return "error:22"
    if not re.search(r"[XYZ]", words):
        return "error:26"
    reader = CncInterpreter(twin.reader.position, twin.offsets())
    state = twin.reader.state()
    motion = "" if "G53" not in words else "G1"
    reader.step(f"G{state.system} {'G21' if state.millimetres else 'G20'} {'G90' if state.absolute else 'G91'} G94")
    step = reader.step(f"G1{words}" if not motion else words.replace("G53", "G53G1"))
    if isinstance(step, Problem):
        return f"error:{step.number or 16}"
    if not isinstance(step, Motion):
        return "error:16"
    if twin.settings[20] and not twin.within_limits(step.end):
        return "error:15"
    while twin.planner.free < 1:
        yield Wait.SPACE
    twin.jogging = True
    twin.planner.add(step.end, step.feed_mm_min / 60, twin.now)
    twin.reader.stand_at(step.end)
    return "ok"


# --- G-code ----------------------------------------------------------------------------------------------------------


def _gcode(twin: GrblTwin, line: str) -> Waits:
    reader = twin.reader
    before = (reader.spindle_on, reader.state().spindle, reader.state().spindle_value)
    shift = reader.shift
    step = reader.step(line)
    if isinstance(step, Problem):
        return f"error:{step.number or 20}"
    if twin.check:
        return "ok" if not (isinstance(step, Stop) and step.final) else _program_end(twin)
    if reader.shift != shift:
        twin.report_wco()
    state = reader.state()
    moves_with_beam = (
        twin.laser_mode
        and isinstance(step, Motion)
        and step.kind is not MotionKind.RAPID
        and state.spindle == before[1]
    )
    if (state.spindle, state.spindle_value) != before[1:] and not moves_with_beam:
        if reader.spindle_on or before[0]:
            while twin.planner.blocks:
                yield Wait.EMPTY
        twin.set_spindle(standing=True)
    if _writes_eeprom(line):
        while twin.planner.blocks:
            yield Wait.EMPTY
        yield from _eeprom(twin)
        twin.remember_offsets()
    if isinstance(step, Motion):
        return (yield from _move(twin, step))
    if isinstance(step, Dwell):
        while twin.planner.blocks:
            yield Wait.EMPTY
        twin.until = twin.now + step.seconds
        yield Wait.TIME
    elif isinstance(step, Stop):
        return (yield from _stop(twin, step))
    return "ok"


def _writes_eeprom(line: str) -> bool:
    return "G28.1" in line or "G30.1" in line or bool(re.search(r"G10(?!\d)", line))


def _stop(twin: GrblTwin, stop: Stop) -> Waits:
    while twin.planner.blocks:
        yield Wait.EMPTY
    if stop.final:
        twin.set_spindle(standing=True)
        return _program_end(twin)
    if stop.word != "M6":
        twin.held = True
        yield Wait.RELEASE
    return "ok"


def _program_end(twin: GrblTwin) -> str:
    twin.say("[MSG:Pgm End]")
    return "ok"


def _move(twin: GrblTwin, motion: Motion) -> Waits:
    legs = _legs(twin, motion)
    for target in legs:
        if twin.settings[20] and not twin.within_limits(target):
            twin.held = True
            twin.planner.hold(twin.now)
            while twin.planner.stopping:
                yield Wait.STAND
            twin.raise_alarm(2, critical=True)
            yield Wait.RESET
        while twin.planner.free < 1:
            yield Wait.SPACE
        speed = _FASTEST_MM_S
        if motion.kind is not MotionKind.RAPID:
            speed = motion.feed_mm_min / 60 * twin.overrides[0] / 100
        twin.add_block(target, speed, cutting=motion.kind is not MotionKind.RAPID)
    return "ok"


def _legs(twin: GrblTwin, motion: Motion) -> list[Point]:
    if motion.arc is not None:
        return arc_targets(motion.arc, twin.settings[12], motion.end)
    if motion.via is not None and motion.via != motion.start:
        return [motion.via, motion.end]
    return [motion.end]


def arc_targets(arc: Arc, tolerance_mm: float, end: Point) -> list[Point]:
    """The chords GRBL draws for an arc (grbl/motion_control.c, mc_arc): none strays further than the tolerance."""
    inside = arc.radius_mm * 2 - tolerance_mm
    count = 0
    if inside > 0 and tolerance_mm > 0:
        count = math.floor(abs(0.5 * arc.sweep * arc.radius_mm) / math.sqrt(tolerance_mm * inside))
    return [arc.at(i / count) for i in range(1, count)] + [end]

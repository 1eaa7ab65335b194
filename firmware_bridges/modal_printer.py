"""The printers' dialect: one command a line, extrusion, temperatures, homing.

Read as Marlin does (src/gcode/parser.cpp, src/gcode/motion, src/gcode/geometry/G92.cpp); Klipper's and RepRapFirmware's
everyday words mean the same. Positions are the program's own logical coordinates: G92 shifts them, homing sets zero.
"""

from __future__ import annotations

import math
import re
from typing import Final

from firmware_bridges.arcs import PLANE_AXES, Arc, ArcRefusal, Point, by_offsets, by_radius
from firmware_bridges.gcode_words import TEXT_COMMANDS, number, without_comments, words
from firmware_bridges.modal import MM_PER_INCH, Dwell, Homing, ModalState, Motion, MotionKind, Problem, Step, Stop

_AXES: Final = ("X", "Y", "Z")
_OFFSETS: Final = ("I", "J", "K")
_NUMBERED: Final = re.compile(r"^N\d+\s*")
_COMMAND: Final = re.compile(r"^([GMT])\s*(\d+(?:\.\d+)?)")

#: Commands whose last line later lines rely on, restored when a run starts in the middle: limits, flow, advance.
STICKY: Final = frozenset({"M201", "M203", "M204", "M205", "M220", "M221", "M207", "M208", "M572", "M900", "M566"})
#: Commands of everyday print files that move nothing and leave nothing to remember.
_HARMLESS: Final = frozenset(
    {
        *(
            "G4",
            "G21",
            "G29",
            "G34",
            "G80",
            "G90",
            "G91",
            "M17",
            "M18",
            "M20",
            "M27",
            "M31",
            "M42",
            "M73",
            "M74",
            "M75",
        ),
        *(
            "M76",
            "M77",
            "M78",
            "M82",
            "M83",
            "M84",
            "M85",
            "M86",
            "M105",
            "M106",
            "M107",
            "M108",
            "M110",
            "M111",
            "M113",
        ),
        *(
            "M114",
            "M115",
            "M119",
            "M123",
            "M142",
            "M150",
            "M154",
            "M155",
            "M202",
            "M211",
            "M217",
            "M218",
            "M240",
            "M250",
        ),
        *(
            "M260",
            "M280",
            "M300",
            "M301",
            "M304",
            "M355",
            "M400",
            "M401",
            "M402",
            "M403",
            "M412",
            "M413",
            "M420",
            "M425",
        ),
        *("M486", "M555", "M593", "M862.1", "M862.2", "M862.3", "M862.4", "M862.5", "M862.6", "M569", "M906", "M907"),
        *("M913", "M914", "M92", "M122", "M80", "M81", "M115", "M117", "M118"),
    }
)
_STOPS: Final = {"M0": False, "M1": False, "M25": False, "M226": False, "M600": False, "M601": False, "M2": True}
_HOT: Final = {"M104": "hotend", "M109": "hotend", "M140": "bed", "M190": "bed", "M141": "chamber", "M191": "chamber"}


class _Line:
    """Command and parameters of one line; a parameter without a number is a flag."""

    __slots__ = ("command", "flags", "values")

    def __init__(self, command: str) -> None:
        self.command = command
        self.values: dict[str, float] = {}
        self.flags: set[str] = set()


def _read(text: str) -> _Line | Problem | None:
    """One line's command; None for nothing or for a text command, which moves nothing."""
    line = _NUMBERED.sub("", without_comments(text).strip())
    if "*" in line:
        line = line[: line.index("*")]
    if not line:
        return None
    head = _COMMAND.match(line.upper())
    if head is None:
        return Problem(line.split()[0], "not a G, M or T command", unknown=True)
    command = head[1] + (head[2].lstrip("0") or "0" if "." not in head[2] else head[2].lstrip("0"))
    if command in TEXT_COMMANDS:
        return None
    read = _Line(command)
    for letter, raw in words("".join(line[head.end() :].upper().split())) or ():
        value = number(raw)
        if value is None and raw:
            if command[0] == "G":
                return Problem(letter, f"{letter}{raw} is not a number")
            continue
        if value is None:
            read.flags.add(letter)
        else:
            read.values[letter] = value
    return read


class PrinterInterpreter:
    """A printer's modal state and logical position. Not safe to share between threads."""

    def __init__(self, position: Point) -> None:
        self._position = position
        self._extruder = 0.0
        self._unit = 1.0
        self._absolute = True
        self._extruder_absolute = True
        self._plane = 17
        self._motion = 0
        self._feed = 0.0
        self._tool = 0
        self._known = ""
        self._retracted = False
        self._hotends: dict[int, float] = {}
        self._bed = 0.0
        self._chamber = 0.0
        self._fans: dict[int, float] = {}
        self._sticky: dict[str, str] = {}
        self._spindle = 5
        self._value = 0.0
        self._beam_ever = False

    @property
    def position(self) -> Point:
        return self._position

    def state(self) -> ModalState:
        return ModalState(
            motion=f"G{self._motion}",
            millimetres=self._unit == 1.0,
            absolute=self._absolute,
            plane=self._plane,
            feed_mm_min=self._feed,
            spindle=f"M{self._spindle}",
            spindle_value=self._value,
            tool=self._tool,
            position=self._position,
            known_axes=self._known,
            extruder_absolute=self._extruder_absolute,
            extruder_mm=self._extruder,
            retracted=self._retracted,
            hotends_c=tuple(sorted(self._hotends.items())),
            bed_c=self._bed,
            chamber_c=self._chamber,
            fans=tuple(sorted(self._fans.items())),
            sticky=tuple(sorted(self._sticky.items())),
            beam_ever_on=self._beam_ever,
        )

    def step(self, text: str) -> Step:
        read = _read(text)
        if read is None or isinstance(read, Problem):
            return read
        command = read.command
        if command in ("G0", "G1"):
            return self._straight(read)
        if command in ("G2", "G3"):
            return self._curved(read)
        if command[0] == "T":
            self._tool = int(float(command[1:]))
            return None
        if command[0] == "G":
            return self._g(read)
        if command in STICKY:
            self._sticky[command] = " ".join(without_comments(text).split())
            return None
        return self._m(read)

    # --- motion ----------------------------------------------------------------------------------------------------

    def _common(self, read: _Line) -> tuple[Point, Point, float]:
        """Start, end and filament of a move; takes feed, position and beam value over."""
        values, unit, start = read.values, self._unit, self._position
        if "F" in values:
            self._feed = values["F"] * unit
        if "S" in values and self._spindle != 5:
            self._value = values["S"]
        target = list(start)
        for place, axis in enumerate(_AXES):
            value = values.get(axis)
            if value is not None:
                target[place] = value * unit if self._absolute else target[place] + value * unit
                if axis not in self._known:
                    self._known += axis
        extruded = 0.0
        if "E" in values:
            value = values["E"] * unit
            extruded = value - self._extruder if self._extruder_absolute else value
            self._extruder += extruded
        return start, (target[0], target[1], target[2]), extruded

    def _straight(self, read: _Line) -> Motion:
        start, end, extruded = self._common(read)
        self._position = end
        self._motion = int(read.command[1:])
        kind = MotionKind.RAPID if read.command == "G0" else MotionKind.STRAIGHT
        beam = self._spindle != 5 and self._value > 0 and kind is MotionKind.STRAIGHT
        return Motion(kind, start, end, self._feed, beam_on=beam, extruded_mm=extruded)

    def _curved(self, read: _Line) -> Step:
        clockwise = read.command == "G2"
        before = (self._feed, self._value, self._extruder, self._known)
        start, end, extruded = self._common(read)
        arc = self._arc(read.values, start, end, clockwise)
        if isinstance(arc, Problem):
            self._feed, self._value, self._extruder, self._known = before
            return arc
        self._position = end
        self._motion = 2 if clockwise else 3
        kind = MotionKind.CLOCKWISE if clockwise else MotionKind.COUNTER_CLOCKWISE
        beam = self._spindle != 5 and self._value > 0
        return Motion(kind, start, end, self._feed, arc=arc, beam_on=beam, extruded_mm=extruded)

    def _arc(self, values: dict[str, float], start: Point, end: Point, clockwise: bool) -> Arc | Problem:
        a, b, _ = PLANE_AXES[self._plane]
        if "R" in values:
            found = by_radius(start, end, self._plane, clockwise, values["R"] * self._unit)
        elif _OFFSETS[a] in values or _OFFSETS[b] in values:
            first = values.get(_OFFSETS[a], 0.0) * self._unit
            second = values.get(_OFFSETS[b], 0.0) * self._unit
            found = by_offsets(start, end, self._plane, clockwise, first, second)
        else:
            return Problem("G2/G3", "an arc needs its centre (I, J) or its radius (R)", 35)
        if isinstance(found, ArcRefusal):
            return Problem("G2/G3", "the arc's end does not lie on its circle", int(found))
        return found

    # --- the rest --------------------------------------------------------------------------------------------------

    def _g(self, read: _Line) -> Step:
        command, values = read.command, read.values
        if command == "G28":
            return self._home(read)
        if command == "G92":
            self._set_position(values)
        elif command in ("G90", "G91"):
            self._absolute = self._extruder_absolute = command == "G90"
        elif command in ("G20", "G21"):
            self._unit = MM_PER_INCH if command == "G20" else 1.0
        elif command in ("G17", "G18", "G19"):
            self._plane = int(command[1:])
        elif command in ("G10", "G11"):
            self._retracted = command == "G10"
        elif command == "G4":
            seconds = values.get("S", values.get("P", 0.0) / 1000)
            return Dwell(seconds, self._spindle != 5 and self._value > 0)
        elif command not in _HARMLESS and command not in ("G27", "G60", "G61"):
            return Problem(command, f"{command} is not known here", unknown=True)
        return None

    def _home(self, read: _Line) -> Homing:
        named = "".join(axis for axis in _AXES if axis in read.values or axis in read.flags) or "XYZ"
        position = [0.0 if axis in named else self._position[i] for i, axis in enumerate(_AXES)]
        self._position = (position[0], position[1], position[2])
        self._known += "".join(axis for axis in named if axis not in self._known)
        return Homing(named)

    def _set_position(self, values: dict[str, float]) -> None:
        position = list(self._position)
        for place, axis in enumerate(_AXES):
            if axis in values:
                position[place] = values[axis] * self._unit
        self._position = (position[0], position[1], position[2])
        if "E" in values:
            self._extruder = values["E"] * self._unit

    def _m(self, read: _Line) -> Step:
        command, values = read.command, read.values
        if command in _HOT:
            self._heat(_HOT[command], values)
        elif command in ("M82", "M83"):
            self._extruder_absolute = command == "M82"
        elif command in ("M106", "M107"):
            speed = 0.0 if command == "M107" else values.get("S", 255.0)
            self._fans[int(values.get("P", 0))] = min(255.0, max(0.0, speed))
        elif command in ("M3", "M4", "M5"):
            self._spindle = int(command[1:])
            self._value = values.get("S", self._value) if command != "M5" else 0.0
            self._beam_ever = self._beam_ever or (command != "M5" and self._value > 0)
        elif command in _STOPS:
            return Stop(command, final=_STOPS[command])
        elif command not in _HARMLESS:
            return Problem(command, f"{command} is not known here", unknown=True)
        return None

    def _heat(self, what: str, values: dict[str, float]) -> None:
        target = values.get("S", values.get("R"))
        if target is None or not math.isfinite(target):
            return
        if what == "hotend":
            self._hotends[int(values.get("T", self._tool))] = target
        elif what == "bed":
            self._bed = target
        else:
            self._chamber = target

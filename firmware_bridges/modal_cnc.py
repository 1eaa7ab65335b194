"""The CNC dialect, as grbl/gcode.c reads it: a block is checked whole, then applied in the order of RS274/NGC.

Refuses what GRBL 1.1 refuses, with its error numbers (grbl/report.h). grblHAL and FluidNC accept more words; those are
refused here too, because a move that cannot be followed cannot be checked.
"""

from __future__ import annotations

import re
from typing import Final

from firmware_bridges.arcs import PLANE_AXES, Arc, ArcRefusal, Point, by_offsets, by_radius
from firmware_bridges.cnc_block import AXIS_TAKERS, PROBES, Block, Refusal
from firmware_bridges.gcode_words import compact, words
from firmware_bridges.modal import MM_PER_INCH, Dwell, ModalState, Motion, MotionKind, Offsets, Problem, Step, Stop

_AXES: Final = ("X", "Y", "Z")
_OFFSETS: Final = ("I", "J", "K")

#: The everyday line, nine of ten in any file: a straight move with nothing that needs a second look.
_NUMBER: Final = r" ?(-?\d+\.?\d*|-?\.\d+)"
_STRAIGHT: Final = re.compile(
    rf"(?:G0?([01]) ?)?(?:X{_NUMBER} ?)?(?:Y{_NUMBER} ?)?(?:Z{_NUMBER} ?)?(?:F{_NUMBER} ?)?(?:S{_NUMBER})?$", re.ASCII
)
_KINDS: Final = (MotionKind.RAPID, MotionKind.STRAIGHT)


class CncInterpreter:
    """GRBL's modal state and position. Not safe to share between threads."""

    __slots__ = (
        "_absolute", "_arc_absolute", "_beam_ever", "_feed", "_flood", "_g92", "_inverse", "_known", "_mist", "_motion",
        "_plane", "_position", "_shift", "_spindle", "_stored", "_system", "_systems", "_tool", "_tool_length", "_unit",
        "_value",
    )  # fmt: skip

    def __init__(self, position: Point, offsets: Offsets) -> None:
        self._position = position
        self._systems = list(offsets.systems)
        self._g92 = offsets.g92
        self._tool_length = offsets.tool_length_mm
        self._stored: list[Point | None] = list(offsets.stored)
        self._tool = 0
        self._value = 0.0
        self._feed = 0.0
        self._known = ""
        self._beam_ever = False
        self._unit = 1.0
        self._flood = self._mist = False
        self._to_defaults()
        self._motion = 0

    def _to_defaults(self) -> None:
        """What M2, M30 and a reset fall back to (grbl/gcode.c, program end)."""
        self._motion = 10
        self._plane = 17
        self._absolute = True
        self._arc_absolute = False
        self._inverse = False
        self._system = 54
        self._spindle = 5
        self._flood = self._mist = False
        self._move_shift()

    def _move_shift(self) -> None:
        base = self._systems[self._system - 54]
        g92 = self._g92
        self._shift = (base[0] + g92[0], base[1] + g92[1], base[2] + g92[2] + self._tool_length)

    @property
    def position(self) -> Point:
        return self._position

    @property
    def shift(self) -> Point:
        """Machine minus work coordinates in force: what the controller calls WCO."""
        return self._shift

    @property
    def spindle_on(self) -> bool:
        """Whether M3 or M4 is in force, whatever S says."""
        return self._spindle != 5

    @property
    def spindle_value(self) -> float:
        """S in force while M3 or M4 is, else 0."""
        return self._value if self._spindle != 5 else 0.0

    def offsets(self) -> Offsets:
        """The offsets as the program has left them."""
        return Offsets(tuple(self._systems), self._g92, self._tool_length, (self._stored[0], self._stored[1]))

    def stand_at(self, position: Point) -> None:
        """The machine was moved by other means (homing, jogging): it stands here, in machine coordinates."""
        self._position = position

    def state(self) -> ModalState:
        position, shift = self._position, self._shift
        return ModalState(
            motion={382: "G38.2", 383: "G38.3", 384: "G38.4", 385: "G38.5"}.get(self._motion, f"G{self._motion // 10}"),
            millimetres=self._unit == 1.0,
            absolute=self._absolute,
            arc_absolute=self._arc_absolute,
            plane=self._plane,
            system=self._system,
            feed_mm_min=self._feed,
            inverse_time=self._inverse,
            spindle=f"M{self._spindle}",
            spindle_value=self._value,
            flood=self._flood,
            mist=self._mist,
            tool=self._tool,
            g92=self._g92,
            tool_length_mm=self._tool_length,
            position=(position[0] - shift[0], position[1] - shift[1], position[2] - shift[2]),
            known_axes=self._known,
            beam_ever_on=self._beam_ever,
        )

    def step(self, text: str) -> Step:
        plain = _STRAIGHT.match(text)
        if plain is not None and not self._inverse:
            moved = self._straight(plain.groups())
            if moved is not None:
                return moved
        line = compact(text)
        if not line or line[0] == "/":
            return None
        if line[0] == "$":
            return Problem("$", "a setting or command of the controller, not part of a program")
        found = words(line)
        if found is None:
            return Problem(line[0], f"a line starts with a letter, not with {line[0]!r}", 1)
        try:
            block = Block()
            for letter, raw in found:
                block.take(letter, raw)
            return self._apply(block)
        except Refusal as refused:
            return refused.problem

    def _straight(self, words: tuple[str | None, ...]) -> Motion | None:
        """The everyday line by the short way; None where the long way has to look."""
        g, x, y, z, f, s = words
        motion = self._motion if g is None else (10 if g == "1" else 0)
        feed = self._feed if f is None else float(f) * self._unit
        if motion > 10 or feed < 0 or (motion and not feed) or (s is not None and s[0] == "-") or not (x or y or z):
            return None
        start, unit = self._position, self._unit
        shift = self._shift if self._absolute else start
        end = (
            start[0] if x is None else float(x) * unit + shift[0],
            start[1] if y is None else float(y) * unit + shift[1],
            start[2] if z is None else float(z) * unit + shift[2],
        )
        self._motion, self._feed, self._position = motion, feed, end
        if s is not None:
            self._value = float(s)
            self._beam_ever = self._beam_ever or (self._spindle != 5 and self._value > 0)
        if len(self._known) < 3:
            named = (("X", x), ("Y", y), ("Z", z))
            self._known += "".join(axis for axis, value in named if value and axis not in self._known)
        beam = motion == 10 and self._spindle != 5 and self._value > 0
        return Motion(_KINDS[motion // 10], start, end, feed, beam_on=beam)

    # --- one checked block, in the order of execution ------------------------------------------------------------

    def _apply(self, block: Block) -> Step:
        groups, values = block.groups, block.values
        motion, nonmodal, has_axes = self._plan(block)
        unit = {200: MM_PER_INCH, 210: 1.0}.get(groups.get("units", 0), self._unit)
        plane = groups.get("plane", self._plane * 10) // 10
        self._check_feed(block, motion, has_axes, unit)
        may_refuse = nonmodal is not None or motion not in (0, 10)
        before = tuple(getattr(self, name) for name in self.__slots__) if may_refuse else ()
        self._modal_words(block, unit, plane)
        try:
            made = self._act(block, motion, nonmodal, has_axes)
        except Refusal:
            self._restore(before)
            raise
        if has_axes:
            for axis in _AXES:
                if axis in values and axis not in self._known:
                    self._known += axis
        return self._stopping(block, made)

    def _plan(self, block: Block) -> tuple[int, int | None, bool]:
        """Motion in force, non-modal word, and whether axis words are there; refuses contradictions."""
        groups, values = block.groups, block.values
        has_axes = "X" in values or "Y" in values or "Z" in values
        nonmodal = groups.get("non-modal")
        taker = nonmodal in AXIS_TAKERS or groups.get("tool length") == 431
        if taker and groups.get("motion", 800) != 800:
            raise Refusal("G", "two words in the line both want the axis words", 24)
        motion = groups.get("motion", self._motion)
        if nonmodal == 530 and motion not in (0, 10):
            raise Refusal("G53", "G53 goes with G0 or G1 only", 30)
        if has_axes and motion == 800 and not taker:
            raise Refusal("G80", "axis words without a motion in force", 31)
        return motion, nonmodal, has_axes

    def _check_feed(self, block: Block, motion: int, has_axes: bool, unit: float) -> None:
        """G1, G2, G3 and probing need a feed; in inverse time every such line needs its own (error 22)."""
        groups, values = block.groups, block.values
        inverse = groups.get("feed mode", 930 if self._inverse else 940) == 930
        uses_feed = (
            (motion in (10, 20, 30) or motion in PROBES)
            and (has_axes or motion in (20, 30))
            and groups.get("non-modal") not in AXIS_TAKERS
        )
        if inverse:
            if uses_feed and "F" not in values:
                raise Refusal("F", "inverse time wants a feed on every line that moves", 22)
            feed = values.get("F", 0.0)
        else:
            feed = values["F"] * unit if "F" in values else (0.0 if self._inverse else self._feed)
        if uses_feed and feed == 0.0 and ("motion" in groups or has_axes):
            raise Refusal("F", "no feed rate has been set before this move", 22)

    def _modal_words(self, block: Block, unit: float, plane: int) -> None:
        """Apply everything that comes before motion."""
        groups, values, m = block.groups, block.values, block.m
        if "feed mode" in groups:
            self._inverse = groups["feed mode"] == 930
            self._feed = 0.0
        if "F" in values:
            self._feed = values["F"] if self._inverse else values["F"] * unit
        if "S" in values:
            self._value = values["S"]
        if "T" in values:
            self._tool = int(values["T"])
        if "spindle" in m:
            self._spindle = m["spindle"]
        if "coolant" in m:
            self._flood = m["coolant"] == 8 or (self._flood and m["coolant"] != 9)
            self._mist = m["coolant"] == 7 or (self._mist and m["coolant"] != 9)
        self._plane, self._unit = plane, unit
        if "tool length" in groups:
            self._tool_length = values.get("Z", 0.0) * unit if groups["tool length"] == 431 else 0.0
        if "system" in groups:
            self._system = groups["system"] // 10
        if "tool length" in groups or "system" in groups:
            self._move_shift()
        if "distance" in groups:
            self._absolute = groups["distance"] == 900
        if self._spindle != 5 and self._value > 0:
            self._beam_ever = True

    def _restore(self, before: tuple[object, ...]) -> None:
        for name, value in zip(self.__slots__, before, strict=True):
            setattr(self, name, value)

    def _act(self, block: Block, motion: int, nonmodal: int | None, has_axes: bool) -> Motion | Dwell | Problem | None:
        values = block.values
        if nonmodal == 40:
            if "P" not in values:
                raise Refusal("G4", "a dwell needs P seconds", 28)
            return Dwell(values["P"], self._spindle != 5 and self._value > 0)
        if nonmodal is not None and nonmodal != 530:
            return self._nonmodal(block, nonmodal, has_axes)
        if block.groups.get("tool length") == 431:
            return None
        if "motion" in block.groups:
            self._motion = motion
        if not has_axes and motion in (20, 30) and "motion" not in block.groups:
            return None
        if not has_axes and (motion not in (20, 30)):
            return None
        if motion in PROBES:
            raise Refusal("G38", "probing moves end where the probe touches: they cannot be followed in a job", 20)
        return self._move(values, motion, nonmodal == 530)

    def _target(self, values: dict[str, float], *, machine: bool) -> Point:
        position, unit, shift = self._position, self._unit, self._shift
        target = list(position)
        for place, axis in enumerate(_AXES):
            value = values.get(axis)
            if value is None:
                continue
            if machine:
                target[place] = value * unit
            elif self._absolute:
                target[place] = value * unit + shift[place]
            else:
                target[place] += value * unit
        return (target[0], target[1], target[2])

    def _move(self, values: dict[str, float], motion: int, machine: bool) -> Motion:
        start = self._position
        end = self._target(values, machine=machine)
        arc = self._arc(values, start, end, motion == 20) if motion in (20, 30) else None
        self._position = end
        return Motion(
            MotionKind(motion // 10),
            start,
            end,
            self._feed,
            arc=arc,
            beam_on=motion != 0 and self._spindle != 5 and self._value > 0,
            elsewhere=machine,
        )

    def _arc(self, values: dict[str, float], start: Point, end: Point, clockwise: bool) -> Arc:
        a, b, _ = PLANE_AXES[self._plane]
        if _AXES[a] not in values and _AXES[b] not in values:
            raise Refusal("G2/G3", "an arc needs a target in its plane", 32)
        if "R" in values:
            found = by_radius(start, end, self._plane, clockwise, values["R"] * self._unit)
        else:
            if _OFFSETS[a] not in values and _OFFSETS[b] not in values:
                raise Refusal("G2/G3", "an arc needs its centre (I, J, K) or its radius (R)", 35)
            first = values.get(_OFFSETS[a], 0.0) * self._unit
            second = values.get(_OFFSETS[b], 0.0) * self._unit
            found = by_offsets(start, end, self._plane, clockwise, first, second)
        if isinstance(found, ArcRefusal):
            why = (
                "the end does not lie on the circle"
                if found is ArcRefusal.INVALID_TARGET
                else "the radius is too small"
            )
            raise Refusal("G2/G3", why, int(found))
        return found

    def _nonmodal(self, block: Block, code: int, has_axes: bool) -> Motion | None:
        values = block.values
        if code == 100:
            self._write_system(values, has_axes)
        elif code == 920:
            if not has_axes:
                raise Refusal("G92", "G92 without an axis word", 26)
            self._set_g92(values)
        elif code == 921:
            self._g92 = (0.0, 0.0, 0.0)
            self._move_shift()
        elif code in (281, 301):
            self._stored[0 if code == 281 else 1] = self._position
        elif code in (280, 300):
            return self._go_stored(values, has_axes, 0 if code == 280 else 1)
        return None

    def _go_stored(self, values: dict[str, float], has_axes: bool, which: int) -> Motion:
        """Through the point given by the axis words to the stored position; only named axes move (grbl/gcode.c G28)."""
        start = self._position
        via = self._target(values, machine=False) if has_axes else start
        stored = self._stored[which] or (0.0, 0.0, 0.0)
        end = stored
        if has_axes:
            picked = [stored[i] if axis in values else start[i] for i, axis in enumerate(_AXES)]
            end = (picked[0], picked[1], picked[2])
        self._position = end
        return Motion(MotionKind.RAPID, start, end, 0.0, via=via, elsewhere=True)

    def _set_g92(self, values: dict[str, float]) -> None:
        base = self._systems[self._system - 54]
        g92 = list(self._g92)
        for place, axis in enumerate(_AXES):
            if axis in values:
                length = self._tool_length if place == 2 else 0.0
                g92[place] = self._position[place] - base[place] - values[axis] * self._unit - length
        self._g92 = (g92[0], g92[1], g92[2])
        self._move_shift()

    def _write_system(self, values: dict[str, float], has_axes: bool) -> None:
        """G10 L2 (offset given) and L20 (offset so that here reads as given)."""
        if not has_axes:
            raise Refusal("G10", "G10 without an axis word", 26)
        if "L" not in values or "P" not in values:
            raise Refusal("G10", "G10 needs L and P", 28)
        if values["L"] not in (2, 20):
            raise Refusal("G10", "only G10 L2 and G10 L20 exist", 20)
        chosen = int(values["P"]) - 1 if values["P"] else self._system - 54
        if chosen > 5:
            raise Refusal("G10", "there are six work coordinate systems, P1 to P6", 29)
        system = list(self._systems[chosen])
        for place, axis in enumerate(_AXES):
            if axis not in values:
                continue
            value = values[axis] * self._unit
            if values["L"] == 20:
                length = self._tool_length if place == 2 else 0.0
                value = self._position[place] - self._g92[place] - length - value
            system[place] = value
        self._systems[chosen] = (system[0], system[1], system[2])
        self._move_shift()

    def _stopping(self, block: Block, made: Motion | Dwell | Problem | None) -> Step:
        stop = block.m.get("stopping")
        if stop in (2, 30):
            self._to_defaults()
        if stop is not None and made is None:
            return Stop(f"M{stop}", final=stop in (2, 30))
        if "tool change" in block.m and made is None:
            return Stop("M6", final=False)
        return made

"""What a G-code program means so far: modal state, positions, and the true extent of every move.

A pure, streaming reader: one line in, at most one motion (or dwell, or stop, or problem) out, constant memory. Two
dialects: CNC controllers of the GRBL family (`modal_cnc`) and printers (`modal_printer`). A line that the firmware
would refuse changes nothing and comes back as a Problem value, with the firmware's own number where it has one.

Lengths in mm, feeds in mm/min, positions in the machine's frame: work coordinates plus the offsets given at birth
(none: then the frame is that of the work, which is all that a file alone can tell).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Final, Protocol

from firmware_bridges.arcs import Arc, Point

MM_PER_INCH: Final = 25.4
ORIGIN: Final[Point] = (0.0, 0.0, 0.0)


class Dialect(StrEnum):
    """Whose reading of G-code applies."""

    GRBL = "grbl"
    PRINTER = "printer"


class MotionKind(IntEnum):
    """The motion words G0 to G3."""

    RAPID = 0
    STRAIGHT = 1
    CLOCKWISE = 2
    COUNTER_CLOCKWISE = 3


class Motion:
    """One move: from `start` to `end` (by `arc`, or through `via` for G28 and G30), never outside `low`..`high`.

    `beam_on`: spindle or beam enabled with a value above zero while it moves at a feed. `extruded_mm` is filament.
    `elsewhere`: the target is given in machine coordinates, which a file alone cannot place.
    """

    __slots__ = ("arc", "beam_on", "elsewhere", "end", "extruded_mm", "feed_mm_min", "kind", "start", "via")

    def __init__(
        self,
        kind: MotionKind,
        start: Point,
        end: Point,
        feed_mm_min: float,
        arc: Arc | None = None,
        via: Point | None = None,
        *,
        beam_on: bool = False,
        extruded_mm: float = 0.0,
        elsewhere: bool = False,
    ) -> None:
        self.kind = kind
        self.start = start
        self.end = end
        self.feed_mm_min = feed_mm_min
        self.arc = arc
        self.via = via
        self.beam_on = beam_on
        self.extruded_mm = extruded_mm
        self.elsewhere = elsewhere

    def extent(self) -> tuple[Point, Point]:
        """Lowest and highest coordinates of the whole way."""
        if self.arc is not None:
            return self.arc.extent()
        x, y, z = self.start
        a, b, c = self.end
        low = (x if x < a else a, y if y < b else b, z if z < c else c)
        high = (x if x > a else a, y if y > b else b, z if z > c else c)
        if self.via is not None:
            x, y, z = self.via
            low = (min(low[0], x), min(low[1], y), min(low[2], z))
            high = (max(high[0], x), max(high[1], y), max(high[2], z))
        return low, high

    @property
    def low(self) -> Point:
        """Lowest coordinates of the whole way."""
        return self.extent()[0]

    @property
    def high(self) -> Point:
        """Highest coordinates of the whole way."""
        return self.extent()[1]

    @property
    def length_mm(self) -> float:
        """Length of the way, not of the chord."""
        if self.arc is not None:
            return self.arc.length_mm
        if self.via is not None:
            return math.dist(self.start, self.via) + math.dist(self.via, self.end)
        return math.dist(self.start, self.end)

    def distance_mm(self, point: Point) -> float:
        """Distance of `point` from the nearest point of the way."""
        if self.arc is not None:
            return math.dist(point, self.arc.at(self.arc.share_near(point)))
        if self.via is not None:
            return min(_from_segment(point, self.start, self.via), _from_segment(point, self.via, self.end))
        return _from_segment(point, self.start, self.end)


def _from_segment(point: Point, start: Point, end: Point) -> float:
    """Distance of a point from a straight piece."""
    along = (end[0] - start[0], end[1] - start[1], end[2] - start[2])
    squared = along[0] * along[0] + along[1] * along[1] + along[2] * along[2]
    if squared == 0.0:
        return math.dist(point, start)
    share = (
        (point[0] - start[0]) * along[0] + (point[1] - start[1]) * along[1] + (point[2] - start[2]) * along[2]
    ) / squared
    share = min(1.0, max(0.0, share))
    return math.dist(point, (start[0] + share * along[0], start[1] + share * along[1], start[2] + share * along[2]))


@dataclass(frozen=True, slots=True)
class Dwell:
    """G4: the machine stands for so many seconds; `beam_on` as for Motion."""

    seconds: float
    beam_on: bool


@dataclass(frozen=True, slots=True)
class Stop:
    """M0, M1, M2, M6, M30, M600 …: the program waits for a person or ends. `final` for an end."""

    word: str
    final: bool


@dataclass(frozen=True, slots=True)
class Homing:
    """A printer's G28: the named axes end at their home, taken as zero."""

    axes: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A line that this firmware would refuse (`number` is its error number, 0 where it has none) or that is not motion.

    `word` names what was wrong; `unknown` is True where the line may be harmless but its meaning is not known here.
    """

    word: str
    why: str
    number: int = 0
    unknown: bool = False


Step = Motion | Dwell | Stop | Homing | Problem | None


@dataclass(frozen=True, slots=True)
class Offsets:
    """What turns work into machine coordinates: G54..G59, G92, and the stored targets of G28 and G30 (from `$#`)."""

    systems: tuple[Point, ...] = (ORIGIN,) * 6
    g92: Point = ORIGIN
    tool_length_mm: float = 0.0
    stored: tuple[Point | None, Point | None] = (None, None)


@dataclass(frozen=True, slots=True)
class ModalState:
    """Everything a later line relies on. Positions in work coordinates of the system in force."""

    motion: str = "G0"
    millimetres: bool = True
    absolute: bool = True
    arc_absolute: bool = False
    plane: int = 17
    system: int = 54
    feed_mm_min: float = 0.0
    inverse_time: bool = False
    spindle: str = "M5"
    spindle_value: float = 0.0
    flood: bool = False
    mist: bool = False
    tool: int = 0
    g92: Point = ORIGIN
    tool_length_mm: float = 0.0
    position: Point = ORIGIN
    known_axes: str = ""
    """Which of XYZ the program has placed so far."""
    extruder_absolute: bool = True
    extruder_mm: float = 0.0
    retracted: bool = False
    hotends_c: tuple[tuple[int, float], ...] = ()
    bed_c: float = 0.0
    chamber_c: float = 0.0
    fans: tuple[tuple[int, float], ...] = ()
    sticky: tuple[tuple[str, str], ...] = ()
    """Last line of each printer setting that later lines rely on (accelerations, flow, pressure advance …)."""
    beam_ever_on: bool = field(default=False)


class Interpreter(Protocol):
    """Reads a program line by line."""

    @property
    def position(self) -> Point:
        """Where the program has moved to, in the frame described above."""

    def step(self, text: str) -> Step:
        """Take one line, comments allowed. A Problem means that nothing of the line was applied."""

    def state(self) -> ModalState:
        """A snapshot."""


def interpreter(dialect: Dialect, position: Point = ORIGIN, offsets: Offsets | None = None) -> Interpreter:
    """A fresh interpreter of `dialect`, as the firmware is after a reset, standing at `position`."""
    if dialect is Dialect.GRBL:
        from firmware_bridges.modal_cnc import CncInterpreter

        return CncInterpreter(position, offsets or Offsets())
    from firmware_bridges.modal_printer import PrinterInterpreter

    return PrinterInterpreter(position)

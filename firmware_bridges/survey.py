"""What a toolpath would do to a machine, found by reading all of it once before anything moves.

The agent's own gate: it does not believe the sender's figures. In: a toolpath and the process. Out: how far motion and
cutting reach, where it ends, how hot it gets, and findings: `dangers` shut the gate, `suspicions` are for a person.
Light: one pass, constant memory, no library.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from firmware_bridges.arcs import Point
from firmware_bridges.bridge import Toolpath
from firmware_bridges.gcode_words import compact, without_comments
from firmware_bridges.modal import Dialect, Dwell, ModalState, Motion, MotionKind, Problem, Step, Stop, interpreter

_KEPT_PER_CODE: Final = 5
#: A hot end colder than this cannot melt any filament (Marlin Configuration.h EXTRUDE_MINTEMP).
COLD_EXTRUSION_C: Final = 170.0
#: Beyond these no machine of a garage is meant to go; a machine's own limits are the owner's to compare.
HOTTEST_HOTEND_C: Final = 350.0
HOTTEST_BED_C: Final = 150.0
#: grbl/protocol.h LINE_BUFFER_SIZE 80, one of them the end mark.
LONGEST_GRBL_LINE: Final = 79
#: Marlin MAX_CMD_SIZE 96, less `N1234567 `, `*255` and the end mark.
LONGEST_PRINTER_LINE: Final = 82
#: A beam standing still longer than this burns (a pierce is shorter).
LONGEST_BEAM_DWELL_S: Final = 0.5

_EEPROM_GRBL: Final = ("G10L2", "G28.1", "G30.1")
_EEPROM_PRINTER: Final = frozenset({"M500", "M502", "M504"})
_RESETS: Final = frozenset({"M112", "M997", "M999", "M410"})
_FIRMWARE_SAFETY_OFF: Final = {
    "M302": "allows cold extrusion",
    "M303": "starts an autotune that heats by itself",
    "M211": "may switch the software end stops off",
    "M304": "changes the bed's heater control",
    "M301": "changes the hot end's heater control",
    "M81": "switches the power supply off",
    "M564": "may allow motion outside the limits",
    "M570": "changes the heater fault detection",
}
_KLIPPER_START: Final = ("EXCLUDE_OBJECT", "SET_", "START_PRINT", "PRINT_START", "END_PRINT", "PRINT_END", "BED_MESH")
_REPRAP_ONLY: Final = frozenset({"M572", "M566", "M568", "M571", "M98"})


@dataclass(frozen=True, slots=True)
class Box:
    """Lowest and highest coordinates, mm."""

    low: Point
    high: Point

    def inside(self, low: Point, high: Point, margin_mm: float = 0.0) -> bool:
        """Whether the whole box lies between `low` and `high`, give or take the margin."""
        return all(self.low[i] >= low[i] - margin_mm and self.high[i] <= high[i] + margin_mm for i in range(3))

    @property
    def size_mm(self) -> Point:
        """Lengths of the edges."""
        return (self.high[0] - self.low[0], self.high[1] - self.low[1], self.high[2] - self.low[2])


@dataclass(frozen=True, slots=True)
class Finding:
    """`code` for programs, `text` for people, `line` where it was seen first."""

    line: int
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Survey:
    """What one pass over a toolpath found. Boxes are None where nothing of the kind moves.

    Coordinates are the program's own (work coordinates); axes that it never places are taken as 0 and not in
    `placed_axes`. `cutting_mm`: fdm, moves that extrude; laser, moves with the beam on; cnc, moves with a turning
    spindle, or all feed moves where the program never starts one.
    """

    lines: int
    dialect: Dialect
    bounds_mm: Box | None
    cutting_mm: Box | None
    final: ModalState
    placed_axes: str
    dangers: tuple[Finding, ...]
    suspicions: tuple[Finding, ...]
    hottest_hotend_c: float = 0.0
    hottest_bed_c: float = 0.0
    highest_spindle: float = 0.0
    tools: tuple[int, ...] = ()
    pauses: tuple[int, ...] = ()
    """Lines where the program waits for a person."""
    motions: int = 0
    travel_mm: float = 0.0
    cutting_travel_mm: float = 0.0
    filament_mm: float = 0.0
    first_cut_line: int = 0

    @property
    def safe(self) -> bool:
        """No dangers; says nothing of any machine's envelope."""
        return not self.dangers


class _Extent:
    """Grows with every move."""

    __slots__ = ("high", "low")

    def __init__(self) -> None:
        self.low = [math.inf] * 3
        self.high = [-math.inf] * 3

    def take(self, low: Point, high: Point) -> None:
        for axis in range(3):
            if low[axis] < self.low[axis]:
                self.low[axis] = low[axis]
            if high[axis] > self.high[axis]:
                self.high[axis] = high[axis]

    def box(self) -> Box | None:
        if self.low[0] == math.inf:
            return None
        return Box((self.low[0], self.low[1], self.low[2]), (self.high[0], self.high[1], self.high[2]))


class _Surveyor:
    """The state of one pass."""

    def __init__(self, process: str, dialect: Dialect) -> None:
        self.process = process
        self.dialect = dialect
        self.interpreter = interpreter(dialect)
        self.all, self.feed, self.beam = _Extent(), _Extent(), _Extent()
        self.dangers: dict[str, list[Finding]] = {}
        self.suspicions: dict[str, list[Finding]] = {}
        self.hotend = self.bed = self.spindle = 0.0
        self.tools: set[int] = set()
        self.pauses: list[int] = []
        self.motions = 0
        self.travel = self.feed_travel = self.beam_travel = self.filament = 0.0
        self.first_feed = self.first_beam = 0
        self.m3_seen = self.cold_allowed = False

    def danger(self, line: int, code: str, text: str) -> None:
        kept = self.dangers.setdefault(code, [])
        if len(kept) < _KEPT_PER_CODE:
            kept.append(Finding(line, code, text))

    def suspicion(self, line: int, code: str, text: str) -> None:
        kept = self.suspicions.setdefault(code, [])
        if len(kept) < _KEPT_PER_CODE:
            kept.append(Finding(line, code, text))

    def take(self, line: int, text: str) -> None:
        """One line."""
        step: Step = self.interpreter.step(text)
        if type(step) is Motion:
            self._motion(line, step)
            if len(text) > LONGEST_GRBL_LINE:
                self._length(line, text)
            if self.dialect is Dialect.GRBL:
                self._cnc_words(line, text)
            return
        code = compact(text)
        if not code:
            return
        self._length(line, text)
        self._problem(line, step)
        if self.dialect is Dialect.GRBL:
            self._cnc_line(line, code, step)
        else:
            self._printer_line(line, code)
        if isinstance(step, Stop) and not step.final:
            self.pauses.append(line)
            self.suspicion(line, "waits_for_person", f"{step.word}: the machine will wait for a person here")
        if isinstance(step, Dwell) and step.beam_on and self.process == "laser" and step.seconds > LONGEST_BEAM_DWELL_S:
            self.danger(line, "beam_stands_still", f"the beam burns one spot for {step.seconds:g} s")

    # --- kinds of lines -------------------------------------------------------------------------------------------

    def _motion(self, line: int, motion: Motion) -> None:
        self.motions += 1
        low, high = motion.extent()
        self.all.take(low, high)
        length = motion.length_mm
        self.travel += length
        if motion.elsewhere:
            self.danger(
                line, "machine_coordinates", "moves in machine coordinates (G53, G28 or G30): its end cannot be checked"
            )
        if self.dialect is Dialect.PRINTER and self.process == "fdm":
            self._filament(line, motion, length)
            return
        if motion.kind is not MotionKind.RAPID:
            self.feed.take(low, high)
            self.feed_travel += length
            self.first_feed = self.first_feed or line
        if motion.beam_on:
            self.beam.take(low, high)
            self.beam_travel += length
            self.first_beam = self.first_beam or line

    def _filament(self, line: int, motion: Motion, length: float) -> None:
        extruded = motion.extruded_mm
        if extruded <= 0:
            self.filament += extruded
            return
        self.filament += extruded
        if length > 0:
            self.beam.take(motion.low, motion.high)
            self.beam_travel += length
            self.first_beam = self.first_beam or line
        if not self.cold_allowed and "cold_extrusion" not in self.dangers:
            state = self.interpreter.state()
            target = dict(state.hotends_c).get(state.tool, 0.0)
            if target < COLD_EXTRUSION_C:
                text = f"pushes filament with the hot end set to {target:g} °C"
                by_macro = not state.hotends_c and "klipper_macro" in self.suspicions
                (self.suspicion if by_macro else self.danger)(line, "cold_extrusion", text)
                self.cold_allowed = by_macro
            else:
                self.cold_allowed = True

    def _length(self, line: int, text: str) -> None:
        if self.dialect is Dialect.GRBL:
            if len(compact(text)) > LONGEST_GRBL_LINE:
                self.danger(
                    line, "line_too_long", f"longer than {LONGEST_GRBL_LINE} characters: the controller refuses it"
                )
        elif len(without_comments(text)) > LONGEST_PRINTER_LINE:
            self.suspicion(line, "line_too_long", "longer than the line buffer of Marlin: it may be cut off")

    def _problem(self, line: int, step: Step) -> None:
        if not isinstance(step, Problem):
            return
        if step.word == "$":
            self.danger(line, "controller_setting", "a $ line changes or commands the controller itself")
        elif step.unknown:
            klipper = step.word.upper().startswith(_KLIPPER_START)
            where = "a Klipper macro" if klipper else "a word that is not known here"
            self.suspicion(line, "klipper_macro" if klipper else "unknown_word", f"{step.word}: {where}")
        else:
            self.danger(line, "refused_line", f"the controller would refuse it: {step.why}")

    def _cnc_words(self, line: int, text: str) -> None:
        """Words that may share a line with a move."""
        code = text.upper()
        if "S" in code or "T" in code or "M" in code:
            self._spindle_and_tool(line)

    def _cnc_line(self, line: int, code: str, step: Step) -> None:
        if any(word in code for word in _EEPROM_GRBL) or (code.startswith("G10") and "L2" in code):
            self.danger(
                line, "eeprom_write", "writes the controller's lasting memory; set work offsets by hand instead"
            )
        if any(mark in code for mark in "?!~"):
            self.danger(line, "real_time_character", "holds ?, ! or ~, which a controller obeys wherever they stand")
        if "G92" in code and "G92.1" not in code:
            self.suspicion(line, "moves_the_zero", "G92 moves the zero point while the program runs")
        if isinstance(step, Stop) and step.word == "M6":
            self.suspicion(line, "tool_change", "M6 is not known to GRBL 1.1")
        self._spindle_and_tool(line)

    def _spindle_and_tool(self, line: int) -> None:
        state = self.interpreter.state()
        self.tools.add(state.tool)
        if state.spindle != "M5":
            self.spindle = max(self.spindle, state.spindle_value)
        if self.process == "laser" and state.spindle == "M3" and not self.m3_seen:
            self.m3_seen = True
            self.suspicion(line, "constant_beam", "M3 keeps the beam on when the head stands; M4 does not")

    def _printer_line(self, line: int, code: str) -> None:
        command = code[: next((i for i, c in enumerate(code[1:], 1) if c not in "0123456789."), len(code))]
        if command in _EEPROM_PRINTER:
            self.danger(line, "eeprom_write", f"{command} writes the printer's lasting memory")
        elif command in _RESETS:
            self.danger(line, "reset", f"{command} stops or resets the controller")
        elif command in _FIRMWARE_SAFETY_OFF:
            self._safety_off(line, command, code)
        elif command in _REPRAP_ONLY:
            self.suspicion(line, "reprapfirmware_word", f"{command} means something to RepRapFirmware only")
        elif command[:1] == "T":
            self.tools.add(self.interpreter.state().tool)
        elif command == "G92" and any(axis in code for axis in "XYZ"):
            self.suspicion(line, "moves_the_zero", "G92 moves the zero point while the program runs")
        elif command in ("M104", "M109", "M140", "M190"):
            self._heat(line)

    def _safety_off(self, line: int, command: str, code: str) -> None:
        harmless = (command == "M211" and "S0" not in code) or (
            command == "M302" and "P1" not in code and "S0" not in code
        )
        if not harmless:
            self.danger(line, "safety_off", f"{command} {_FIRMWARE_SAFETY_OFF[command]}")

    def _heat(self, line: int) -> None:
        state = self.interpreter.state()
        hotend = max((target for _, target in state.hotends_c), default=0.0)
        self.hotend, self.bed = max(self.hotend, hotend), max(self.bed, state.bed_c)
        if hotend < COLD_EXTRUSION_C:
            self.cold_allowed = False
        if hotend > HOTTEST_HOTEND_C or state.bed_c > HOTTEST_BED_C:
            self.danger(line, "too_hot", f"asks for {hotend:g} °C at the hot end, {state.bed_c:g} °C at the bed")

    # --- the end --------------------------------------------------------------------------------------------------

    def finish(self, lines: int) -> Survey:
        state = self.interpreter.state()
        if state.spindle != "M5" and (state.spindle_value > 0 or self.process != "laser"):
            what = "beam" if self.process == "laser" else "spindle"
            self.danger(lines, f"{what}_left_on", f"the program ends with the {what} on ({state.spindle})")
        hot = [f"hot end {tool} at {target:g} °C" for tool, target in state.hotends_c if target > 0]
        if state.bed_c > 0:
            hot.append(f"bed at {state.bed_c:g} °C")
        if hot:
            self.danger(lines, "heaters_left_on", f"the program ends with {', '.join(hot)}")
        if self.motions == 0:
            self.suspicion(lines, "no_motion", "nothing moves")
        by_beam = self.process in ("laser", "fdm") or self.beam_travel > 0
        return Survey(
            lines=lines,
            dialect=self.dialect,
            bounds_mm=self.all.box(),
            cutting_mm=(self.beam if by_beam else self.feed).box(),
            final=state,
            placed_axes="".join(axis for axis in "XYZ" if axis in state.known_axes),
            dangers=_in_order(self.dangers),
            suspicions=_in_order(self.suspicions),
            hottest_hotend_c=self.hotend,
            hottest_bed_c=self.bed,
            highest_spindle=self.spindle,
            tools=tuple(sorted(self.tools)),
            pauses=tuple(self.pauses[:100]),
            motions=self.motions,
            travel_mm=self.travel,
            cutting_travel_mm=self.beam_travel if by_beam else self.feed_travel,
            filament_mm=self.filament,
            first_cut_line=self.first_beam if by_beam else self.first_feed,
        )


def _in_order(found: dict[str, list[Finding]]) -> tuple[Finding, ...]:
    return tuple(sorted((finding for kept in found.values() for finding in kept), key=lambda finding: finding.line))


def survey(
    toolpath: Toolpath,
    process: str = "fdm",
    *,
    dialect: Dialect | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Survey:
    """Read all of `toolpath` as a machine for `process` (fdm, laser, cnc) would.

    `dialect` is GRBL for laser and cnc and PRINTER for the rest unless given (a Marlin laser is a PRINTER). `cancelled`
    is asked every 4096 lines; True ends the pass with InterruptedError.
    """
    chosen = dialect or (Dialect.GRBL if process in ("laser", "cnc") else Dialect.PRINTER)
    surveyor = _Surveyor(process, chosen)
    number = 0
    for number, text in toolpath.lines():
        surveyor.take(number, text)
        if cancelled is not None and number % 4096 == 0 and cancelled():
            raise InterruptedError("the survey was cancelled")
    return surveyor.finish(number)

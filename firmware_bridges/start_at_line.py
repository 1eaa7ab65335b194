"""Starting in the middle of a toolpath: the lines that bring a machine to the state it would have had there.

The order is what keeps people and work whole: modes first, then lift, then across, then spindle or beam or heat, then
down. In: a toolpath, a line number, the process. Out: the preamble's lines, and the toolpath from that line on.

The safe height is the highest one the program itself travelled at, or SAFE_LIFT_MM above the highest it has been.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from firmware_bridges.arcs import Point
from firmware_bridges.bridge import NotSupported, Toolpath
from firmware_bridges.gcode_words import compact
from firmware_bridges.modal import Dialect, ModalState, Motion, MotionKind, Problem, interpreter

SAFE_LIFT_MM: Final = 5.0
#: Feed of the last way down into the work, mm/min, where the program has not set one.
PLUNGE_FEED_MM_MIN: Final = 100.0
SPIN_UP_S: Final = 4.0
_MOTION_WORD: Final = re.compile(r"G0*[0123](?![\d.])|G38|G80")


@dataclass(frozen=True, slots=True)
class Before:
    """What the program had done when it reached the line."""

    state: ModalState
    highest_mm: float
    travel_mm: float | None
    """The highest Z of any rapid move; None where it never moved rapidly."""
    fresh_motion: bool
    """Whether the line starts its motion by itself, or relies on the motion word in force."""


def read_until(toolpath: Toolpath, line: int, dialect: Dialect) -> Before:
    """Follow the program up to just before `line`. Raises NotSupported where it cannot be followed."""
    reader = interpreter(dialect)
    highest, travel = 0.0, None
    text = ""
    for number, text in toolpath.lines():
        if number >= line and compact(text):
            break
        if number >= line:
            continue
        step = reader.step(text)
        if isinstance(step, Problem) and not step.unknown:
            raise NotSupported(f"Line {number} cannot be followed ({step.why}): start from the beginning instead.")
        if isinstance(step, Motion):
            if step.elsewhere:
                raise NotSupported(
                    f"Line {number} moves in machine coordinates, so where the tool was is not known: start from the"
                    " beginning instead."
                )
            highest = max(highest, step.high[2])
            if step.kind is MotionKind.RAPID:
                travel = step.end[2] if travel is None else max(travel, step.end[2])
    state = reader.state()
    if state.g92 != (0.0, 0.0, 0.0):
        raise NotSupported("The program moved its zero point (G92) before this line: start from the beginning instead.")
    if state.tool_length_mm:
        raise NotSupported("A tool length offset is in force at this line: start from the beginning instead.")
    fresh = bool(_MOTION_WORD.search(compact(text)))
    if not fresh and state.motion in ("G2", "G3") and dialect is Dialect.GRBL:
        raise NotSupported(f"Line {line} goes on with an arc of an earlier line: start one line earlier or later.")
    return Before(state, highest, travel, fresh)


def _number(value: float) -> str:
    return f"{value:.4f}".rstrip("0").rstrip(".") if value else "0"


def _xyz(point: Point, axes: str) -> str:
    return " ".join(f"{axis}{_number(point['XYZ'.index(axis)])}" for axis in axes)


def cnc_preamble(before: Before, process: str, spin_up_s: float = SPIN_UP_S) -> list[str]:
    """For the GRBL family: modes, lift, across, spindle up to speed, down, then the modes of the line."""
    state = before.state
    lines = [f"G21 G90 G94 G{state.system} G{state.plane}", "M5"]
    safe = _safe_height(before)
    has_z = "Z" in state.known_axes and process != "laser"
    across = "".join(axis for axis in "XY" if axis in state.known_axes)
    if has_z:
        lines.append(f"G0 Z{_number(safe)}")
    if across:
        lines.append(f"G0 {_xyz(state.position, across)}")
    if state.tool:
        lines.append(f"T{state.tool}")
    lines += [word for word, on in (("M7", state.mist), ("M8", state.flood)) if on]
    if process == "laser":
        if "Z" in state.known_axes:
            lines.append(f"G0 {_xyz(state.position, 'Z')}")
        lines.append(f"{state.spindle} S0")
    elif state.spindle != "M5":
        lines += [f"{state.spindle} S{_number(state.spindle_value)}", f"G4 P{_number(spin_up_s)}"]
    elif state.spindle_value:
        lines.append(f"S{_number(state.spindle_value)}")
    if has_z:
        feed = min(state.feed_mm_min or PLUNGE_FEED_MM_MIN, PLUNGE_FEED_MM_MIN)
        lines.append(f"G1 Z{_number(state.position[2])} F{_number(feed)}")
    lines += _modes_of_the_line(before, process)
    return lines


def _safe_height(before: Before) -> float:
    lifted = max(before.highest_mm, before.state.position[2]) + SAFE_LIFT_MM
    if before.travel_mm is not None and before.travel_mm > before.state.position[2]:
        return max(before.travel_mm, before.highest_mm)
    return lifted


def _modes_of_the_line(before: Before, process: str) -> list[str]:
    """Units, distance, feed, beam value and motion as the program had them; nothing of it moves."""
    state = before.state
    lines = []
    if state.feed_mm_min and not state.inverse_time:
        lines.append(f"F{_number(state.feed_mm_min)}")
    if process == "laser":
        word = "" if before.fresh_motion else state.motion
        value = f"S{_number(state.spindle_value)}" if state.spindle_value else ""
        lines.append(f"{word} {value}".strip())
    elif not before.fresh_motion:
        lines.append(state.motion)
    modes = [
        "" if state.millimetres else "G20",
        "" if state.absolute else "G91",
        "G93" if state.inverse_time else "",
    ]
    if any(modes):
        lines.append(" ".join(mode for mode in modes if mode))
    return [line for line in lines if line]


def printer_preamble(before: Before) -> list[str]:
    """For printers: heat, home X and Y only, lift, across, prime what the nozzle lost, down, modes of the line.

    Z is not homed: the print stands on the bed. The caller makes sure that Z still is where the printer believes.
    """
    state = before.state
    hotends = [(tool, target) for tool, target in state.hotends_c if target > 0]
    lines = ["G21", "G90", "M83"]
    if state.bed_c:
        lines.append(f"M140 S{_number(state.bed_c)}")
    if state.chamber_c:
        lines.append(f"M141 S{_number(state.chamber_c)}")
    lines += [f"M104 T{tool} S{_number(target)}" for tool, target in hotends]
    if state.bed_c:
        lines.append(f"M190 S{_number(state.bed_c)}")
    lines += [f"M109 T{tool} S{_number(target)}" for tool, target in hotends]
    lines += ["G91", f"G1 Z{_number(SAFE_LIFT_MM)} F600", "G90", "G28 X Y"]
    if len(hotends) > 1 or state.tool:
        lines.append(f"T{state.tool}")
    lines += [line for _, line in state.sticky]
    lines += [f"M106 P{fan} S{_number(speed)}" for fan, speed in state.fans if speed > 0]
    lines.append(f"G1 Z{_number(_safe_height(before))} F600")
    lines.append(f"G1 {_xyz(state.position, 'XY')} F6000")
    lines.append(f"G1 Z{_number(state.position[2])} F600")
    if state.retracted:
        lines.append("G10")
    lines.append("M82" if state.extruder_absolute else "M83")
    lines.append(f"G92 E{_number(state.extruder_mm)}")
    if state.feed_mm_min:
        lines.append(f"G1 F{_number(state.feed_mm_min)}")
    if not state.absolute:
        lines.append("G91")
        lines.append("M82" if state.extruder_absolute else "M83")
    if not state.millimetres:
        lines.append("G20")
    return lines


def preamble(toolpath: Toolpath, line: int, process: str, dialect: Dialect) -> list[str]:
    """The lines to send before `line`. Raises NotSupported where the state there cannot be rebuilt."""
    before = read_until(toolpath, line, dialect)
    if dialect is Dialect.GRBL:
        return cnc_preamble(before, process)
    if "Z" not in before.state.known_axes:
        raise NotSupported("The program has not set a height before this line: start from the beginning instead.")
    return printer_preamble(before)


def preamble_lines(toolpath: Toolpath, line: int, process: str, *, dialect: str) -> tuple[str, ...]:
    """As `preamble`, for a bridge's dialect by name. A Marlin laser or router cannot be started in the middle yet."""
    reading = Dialect.GRBL if dialect in ("grbl", "grblhal", "fluidnc") else Dialect.PRINTER
    if reading is Dialect.PRINTER and process != "fdm":
        raise NotSupported(
            "Only prints can be started in the middle on this firmware: start from the beginning instead."
        )
    return tuple(preamble(toolpath, line, process, reading))


def lines_from(toolpath: Toolpath, line: int, process: str, dialect: Dialect) -> Iterator[tuple[int, str]]:
    """The preamble (numbered 0), then the toolpath from `line` on. Raises NotSupported before anything is yielded."""
    before = preamble(toolpath, line, process, dialect)

    def chained() -> Iterator[tuple[int, str]]:
        for text in before:
            yield 0, text
        yield from toolpath.lines(line)

    return chained()

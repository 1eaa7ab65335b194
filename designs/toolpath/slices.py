"""A program from one of its lines on: what must be said first so that the rest means what it meant.

The order is that of a careful person: units and modes, spindle off and bit up, over to the place, spindle on, down.
For looking and planning here; the bridge that drives the machine rebuilds the state by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from designs.processes.gcode_writer import number
from designs.toolpath import motions as m
from designs.toolpath.parser import Source, is_marlin, read_lines, read_motions
from designs.toolpath.program_bounds import moving

_PLUNGE_MM_MIN = 200.0
"""Slow enough for any bit in any material a garage router cuts."""


@dataclass(frozen=True, slots=True)
class StateAt:
    """What is in force before a line. Position in the program's first work coordinates, feed in mm/min."""

    x_mm: float
    y_mm: float
    z_mm: float
    e_mm: float
    feed_mm_min: float
    power: float
    spin: int
    """0 off, 3 M3, 4 M4."""
    plane: int
    """17, 18 or 19."""
    nozzle_c: float
    absolute: bool
    inches: bool
    mode: int
    """Motion mode: 0, 1, 2, 3."""


def state_at(gcode: Source, line: int, dialect: str = "grbl") -> StateAt:
    """The state just before `line` (from 1). Raises ValueError for a line outside the program."""
    if line < 1:
        raise ValueError(f"line {line}: lines count from 1")
    last: list[float] | None = None
    moved: list[float] | None = None
    absolute, inches = True, False
    total = 0
    for block in read_motions(gcode, dialect):
        total = block.next_line
        table = block.table()
        before = table[table[:, m.LINE] < line]
        for code in before[before[:, m.KIND] == m.CODE, m.VALUE].astype(int).tolist():
            absolute = code == 900 if code in (900, 910) else absolute
            inches = code == 200 if code in (200, 210) else inches
        if len(before):
            last = before[-1].tolist()
            moves = before[moving(before)]
            moved = moves[-1].tolist() if len(moves) else moved
        if total > line:
            break
    if line > max(total, 1):
        raise ValueError(f"line {line} is after the program's end ({total - 1} lines)")
    row = last or [0.0] * m.WIDTH
    mode = int(moved[m.VALUE]) // 10 if moved is not None else 0
    return StateAt(
        row[m.X], row[m.Y], row[m.Z], row[m.E], row[m.FEED], row[m.POWER], int(row[m.SPIN]),
        17 + int(row[m.PLANE]), row[m.NOZZLE], absolute, inches, mode,
    )  # fmt: skip


def preamble(state: StateAt, safe_z_mm: float | None) -> list[str]:
    """Lines for the GRBL family that bring a machine into `state`; `safe_z_mm` None: Z is not moved (lasers)."""
    units = 25.4 if state.inches else 1.0
    lines = [f"G90 {'G20' if state.inches else 'G21'} G{state.plane} G94", "M5 S0"]
    if safe_z_mm is not None:
        lines.append(f"G0 Z{number(max(safe_z_mm, state.z_mm) / units, 4)}")
    lines.append(f"G0 X{number(state.x_mm / units, 4)} Y{number(state.y_mm / units, 4)}")
    if state.spin:
        lines.append(f"M{state.spin} S{number(state.power)}")
    feed = state.feed_mm_min / units
    if safe_z_mm is not None:
        if state.spin:
            lines.append("G4 P4")
        lines.append(f"G1 Z{number(state.z_mm / units, 4)} F{number(_PLUNGE_MM_MIN / units, 2)}")
    if feed > 0.0:
        lines.append(f"F{number(feed, 2)}")
    lines.append("G1" if state.mode == 1 else "G0")
    if not state.absolute:
        lines.append("G91")
    return lines


def from_line(gcode: Source, line: int, dialect: str = "grbl", *, safe_z_mm: float | None = 5.0) -> bytes:
    """The program from `line` on, with its preamble. GRBL family only.

    Raises ValueError for printers, for lines outside the program, and where an arc goes on without its G2 or G3.
    """
    if is_marlin(dialect):
        raise ValueError("a print is not begun in the middle: heat, filament and layer cannot be rebuilt")
    state = state_at(gcode, line, dialect)
    head = "\n".join(preamble(state, safe_z_mm))
    data = gcode.read_bytes() if isinstance(gcode, Path) else gcode
    rest = b"\n".join(data.split(b"\n")[line - 1 :])
    if state.mode in (2, 3) and _goes_on(rest):
        raise ValueError(f"line {line} goes on with an arc that began earlier: begin a few lines before or after")
    return head.encode("ascii") + b"\n" + rest


def _goes_on(rest: bytes) -> bool:
    """Whether the first motion in `rest` relies on the motion mode before it."""
    for line in read_lines(rest[:20_000]):
        letters = {word.letter for word in line.words}
        if any(word.letter == "G" and word.value in (0.0, 1.0, 2.0, 3.0) for word in line.words):
            return False
        if letters & {"X", "Y", "Z", "I", "J", "R"}:
            return True
    return False

"""A program from one of its lines on: what must be said first so that the rest means what it meant.

The order is that of a careful person: units and modes, spindle off and bit up, over to the place, spindle on, down.
For looking and planning here; the bridge that drives the machine rebuilds the state by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from designs.processes.gcode_writer import number
from designs.toolpath import motions as m
from designs.toolpath.parser import Source, is_marlin, read_motions

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


def state_at(gcode: Source, line: int, dialect: str = "grbl") -> StateAt:
    """The state just before `line` (from 1). Raises ValueError for a line outside the program."""
    if line < 1:
        raise ValueError(f"line {line}: lines count from 1")
    last: list[float] | None = None
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
        if total > line:
            break
    if line > max(total, 1):
        raise ValueError(f"line {line} is after the program's end ({total - 1} lines)")
    row = last or [0.0] * m.WIDTH
    return StateAt(
        row[m.X], row[m.Y], row[m.Z], row[m.E], row[m.FEED], row[m.POWER], int(row[m.SPIN]),
        17 + int(row[m.PLANE]), row[m.NOZZLE], absolute, inches,
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
    if not state.absolute:
        lines.append("G91")
    return lines


def from_line(gcode: Source, line: int, dialect: str = "grbl", *, safe_z_mm: float | None = 5.0) -> bytes:
    """The program from `line` on, with its preamble. GRBL family only; raises ValueError for others."""
    if is_marlin(dialect):
        raise ValueError("a print is not begun in the middle: heat, filament and layer cannot be rebuilt")
    head = "\n".join(preamble(state_at(gcode, line, dialect), safe_z_mm))
    data = gcode.read_bytes() if isinstance(gcode, Path) else gcode
    rest = b"\n".join(data.split(b"\n")[line - 1 :])
    return head.encode("ascii") + b"\n" + rest

"""What is wrong or dangerous in a program, judged against one machine: its reach, dialect, tools and heat.

In: a program and MachineLimits; out: findings with line numbers, worst first. An ERROR must stop the job.
Words a firmware takes: grbl/gcode.c and doc/markdown/commands.md; Marlin src/gcode/gcode.cpp.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from designs.processes.model import Finding, MachineProfile, ProcessKind, Severity
from designs.toolpath import motions as m
from designs.toolpath import scanning
from designs.toolpath.dialects import Words, code_name, words_of
from designs.toolpath.parser import Oddity, Source, is_marlin, read_motions
from designs.toolpath.program_bounds import arc_reach, moving

_MOST_OF_A_KIND = 5
_TOLERANCE_MM = 0.01
_LONGEST_PIERCE_S = 0.5
Table = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class MachineLimits:
    """What one machine can and may do. Bounds are in work coordinates, millimetres."""

    process: ProcessKind
    dialect: str
    low_mm: tuple[float, float, float]
    high_mm: tuple[float, float, float]
    tools: tuple[int, ...] = ()
    """Tool numbers in the machine; empty: not declared."""
    max_feed_mm_min: float | None = None
    power_s_max: float = 1000.0
    max_nozzle_c: float = 300.0
    max_bed_c: float = 125.0
    min_extrude_c: float = 170.0
    """Marlin EXTRUDE_MINTEMP."""
    has_tool_changer: bool = False
    must_home: bool = True
    """Printers: motion before G28 is an error."""

    @classmethod
    def of(cls, profile: MachineProfile) -> MachineLimits:
        """Limits of a class of machines. Routers: z from the whole travel below the stock's top to as much above it."""
        x, y, z = profile.envelope_mm
        low_z = 0.0 if profile.process is ProcessKind.FDM else -z
        margin = 0.0
        if profile.process is ProcessKind.FDM:
            margin = 5.0
        return cls(
            process=profile.process,
            dialect=profile.dialect,
            low_mm=(-margin, -margin, low_z),
            high_mm=(x + margin, y + margin, z),
            tools=tuple(t.number for t in profile.tools),
            max_feed_mm_min=profile.max_feed_mm_min,
            power_s_max=profile.power_s_max,
            has_tool_changer=len({t.number for t in profile.tools}) > 1 and profile.dialect.lower() != "grbl",
        )


class _Report:
    """Findings, a few of each kind with their lines, the rest counted."""

    def __init__(self) -> None:
        self._found: dict[str, list[Finding]] = {}
        self._counts: dict[str, int] = {}

    def add(self, severity: Severity, code: str, text: str, line: int | None = None) -> None:
        self._counts[code] = self._counts.get(code, 0) + 1
        kept = self._found.setdefault(code, [])
        if len(kept) < _MOST_OF_A_KIND:
            kept.append(Finding(severity, code, text, line))

    def add_rows(self, severity: Severity, code: str, text: str, rows: Table) -> None:
        for k, line in enumerate(rows[:, m.LINE].tolist()):
            if k >= _MOST_OF_A_KIND:
                self._counts[code] = self._counts.get(code, 0) + len(rows) - k
                return
            self.add(severity, code, text, int(line))

    def findings(self) -> tuple[Finding, ...]:
        result = []
        for code, kept in self._found.items():
            result.extend(kept)
            more = self._counts[code] - len(kept)
            if more > 0:
                result.append(Finding(kept[0].severity, code, f"The same on {more} more lines: {kept[0].text}"))
        ranks = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}
        return tuple(sorted(result, key=lambda f: (ranks[f.severity], f.line or 10**12)))


_ODD: dict[int, tuple[Severity, str, str]] = {
    scanning.DOLLAR: (Severity.ERROR, "setting_write", "A $ command changes or reads the controller's settings"),
    scanning.REALTIME: (Severity.ERROR, "realtime_byte", "A byte the controller acts upon at once (? ! ~ or reset)"),
    scanning.NON_ASCII: (Severity.ERROR, "not_ascii", "Bytes outside ASCII can trigger overrides in the controller"),
    scanning.GARBAGE: (Severity.ERROR, "no_gcode", "This is no G-code"),
    scanning.BAD_NUMBER: (Severity.ERROR, "bad_number", "A number is damaged"),
    scanning.LONG_LINE: (Severity.ERROR, "line_too_long", "The line is longer than the firmware takes"),
    scanning.CUT_LINE: (Severity.ERROR, "line_too_long", "The line is longer than an eighth of a megabyte"),
    scanning.NON_ASCII_COMMENT: (Severity.NOTE, "comment_not_ascii", "A comment is not ASCII: it must not be sent"),
    scanning.OPEN_COMMENT: (Severity.WARNING, "open_comment", "A comment in brackets does not end on its line"),
    scanning.BLOCK_DELETE: (
        Severity.WARNING,
        "block_delete",
        "A block delete: the controller may skip the line or not",
    ),
}


def lint(gcode: Source, limits: MachineLimits) -> tuple[Finding, ...]:
    """All findings of a program for a machine; constant memory. Raises OSError where the file cannot be read."""
    report = _Report()
    words = words_of(limits.dialect, limits.process, limits.has_tool_changer)
    last = np.zeros(4)
    end: Table | None = None
    moves = 0
    for block in read_motions(gcode, limits.dialect):
        for oddity in block.oddities:
            _odd(oddity, limits, report)
        table = block.table()
        if not len(table):
            continue
        _codes(table, limits, words, report)
        last, count = _motion(table, last, limits, report)
        moves += count
        end = table[-1]
    if moves == 0:
        report.add(Severity.ERROR, "no_motion", "The program moves nothing.")
    if end is not None:
        _ending(end, limits, report)
    return report.findings()


def _odd(oddity: Oddity, limits: MachineLimits, report: _Report) -> None:
    if oddity.kind == scanning.EXTENDED:
        klipper = limits.dialect.lower() == "klipper"
        severity = Severity.NOTE if klipper else Severity.ERROR
        report.add(severity, "named_command", "A command by name, which only Klipper-like firmware takes.", oddity.line)
        return
    severity, code, text = _ODD[oddity.kind]
    if oddity.kind == scanning.REALTIME and is_marlin(limits.dialect):
        code, text = "no_gcode", "This is no G-code"
    report.add(severity, code, f"{text}.", oddity.line)


def _codes(table: Table, limits: MachineLimits, words: Words, report: _Report) -> None:
    rows = table[table[:, m.KIND] == m.CODE]
    for code in np.unique(rows[:, m.VALUE]).astype(int).tolist():
        name = code_name(code)
        here = rows[rows[:, m.VALUE] == code]
        if name in words.forbidden:
            report.add_rows(Severity.ERROR, "forbidden_word", f"{name} {words.forbidden[name]}.", here)
        elif name not in words.known:
            report.add_rows(Severity.ERROR, "unknown_word", f"{name} is not known to {limits.dialect}.", here)
        if name == "M6":
            _tools(here, limits, report)
        if name in ("M104", "M109", "M140", "M190"):
            most = limits.max_nozzle_c if name in ("M104", "M109") else limits.max_bed_c
            report.add_rows(
                Severity.ERROR,
                "too_hot",
                f"{name} wants more than this machine's {most:g} °C.",
                here[here[:, m.PARAM] > most],
            )
    if limits.process is ProcessKind.LASER:
        dwells = table[(table[:, m.KIND] == m.DWELL) & (table[:, m.SPIN] == 3.0) & (table[:, m.POWER] > 0.0)]
        standing = dwells[dwells[:, m.VALUE] > _LONGEST_PIERCE_S]
        report.add_rows(Severity.ERROR, "beam_stands", "The beam burns one spot while the machine waits.", standing)
    homes = table[table[:, m.KIND] == m.HOME]
    if len(homes) and "G28" not in words.known:
        report.add_rows(Severity.ERROR, "unknown_word", "G28 is not wanted here.", homes)


def _tools(rows: Table, limits: MachineLimits, report: _Report) -> None:
    if limits.tools:
        missing = rows[~np.isin(rows[:, m.TOOL], limits.tools)]
        report.add_rows(Severity.ERROR, "tool_missing", "The tool is not in this machine.", missing)


def _motion(table: Table, last: Table, limits: MachineLimits, report: _Report) -> tuple[Table, int]:
    moves = table[moving(table)]
    bad = table[(table[:, m.KIND] == m.BAD_ARC)]
    report.add_rows(Severity.ERROR, "bad_arc", "The arc's centre or radius does not fit its ends.", bad)
    lost = table[table[:, m.KIND] == m.NO_AXES]
    report.add_rows(Severity.ERROR, "no_mode", "Axis words without a motion mode.", lost)
    if not len(moves):
        return last, 0
    ends = moves[:, m.X : m.E + 1]
    before = np.vstack([last[None, :], ends[:-1]])
    _envelope(moves, before, limits, report)
    cutting = moves[:, m.KIND] != m.RAPID
    fed = moves[cutting]
    report.add_rows(Severity.ERROR, "no_feed", "A cutting move before any feed was set.", fed[fed[:, m.FEED] <= 0.0])
    if limits.process is ProcessKind.LASER or limits.process is ProcessKind.CNC:
        _power(moves, before, limits, report)
    if limits.process is ProcessKind.FDM:
        _printing(moves, before, limits, report)
    return ends[-1], len(moves)


def _envelope(moves: Table, before: Table, limits: MachineLimits, report: _Report) -> None:
    reach = np.concatenate([moves[:, m.X : m.Z + 1]] * 2, axis=1)
    arcs = moves[:, m.KIND] == m.ARC
    if arcs.any():
        reach[arcs] = arc_reach(moves[arcs], before[arcs, :3])
    for axis, name in enumerate("XYZ"):
        low, high = limits.low_mm[axis] - _TOLERANCE_MM, limits.high_mm[axis] + _TOLERANCE_MM
        outside = (reach[:, axis] < low) | (reach[:, 3 + axis] > high) | ~np.isfinite(reach[:, axis])
        report.add_rows(
            Severity.ERROR,
            "outside",
            f"{name} leaves the machine's reach ({limits.low_mm[axis]:g} … {limits.high_mm[axis]:g} mm).",
            moves[outside],
        )


def _power(moves: Table, before: Table, limits: MachineLimits, report: _Report) -> None:
    over = moves[moves[:, m.POWER] > limits.power_s_max]
    report.add_rows(Severity.ERROR, "power_over", f"S is over the machine's {limits.power_s_max:g}.", over)
    if limits.process is ProcessKind.LASER:
        constant = moves[(moves[:, m.SPIN] == 3.0) & (moves[:, m.KIND] != m.RAPID)]
        report.add_rows(
            Severity.WARNING, "constant_power", "M3 keeps the beam on while the machine stands: use M4.", constant[:1]
        )
        return
    below = (moves[:, m.Z] < -_TOLERANCE_MM) | (before[:, 2] < -_TOLERANCE_MM)
    off = (moves[:, m.SPIN] == 0.0) | (moves[:, m.POWER] <= 0.0)
    report.add_rows(
        Severity.ERROR, "spindle_off", "The bit is in the material and the spindle is off.", moves[below & off]
    )
    sideways = np.abs(moves[:, m.X : m.Y + 1] - before[:, :2]).max(axis=1) > _TOLERANCE_MM
    plunges = moves[:, m.Z] < before[:, 2] - _TOLERANCE_MM
    rapid = (moves[:, m.KIND] == m.RAPID) & below & (sideways | plunges)
    report.add_rows(Severity.ERROR, "rapid_in_stock", "A rapid move inside the material.", moves[rapid])


def _printing(moves: Table, before: Table, limits: MachineLimits, report: _Report) -> None:
    if limits.tools:  # T0 is the only nozzle's name in every firmware, however its owner numbers it
        absent = moves[(moves[:, m.TOOL] != 0.0) & ~np.isin(moves[:, m.TOOL], limits.tools)]
        report.add_rows(Severity.ERROR, "tool_missing", "The tool is not in this machine.", absent)
    if limits.must_home:
        blind = moves[moves[:, m.HOMED] != 7.0]
        report.add_rows(Severity.ERROR, "not_homed", "The machine moves before it is homed (G28).", blind)
    extrudes = moves[:, m.E] > before[:, 3] + 1e-6
    cold = moves[extrudes & (moves[:, m.NOZZLE] < limits.min_extrude_c)]
    report.add_rows(
        Severity.ERROR, "cold_extrusion", f"Extrudes below {limits.min_extrude_c:g} °C: the firmware refuses.", cold
    )


def _ending(end: Table, limits: MachineLimits, report: _Report) -> None:
    line = int(end[m.LINE])
    if end[m.SPIN] != 0.0:
        what = "beam" if limits.process is ProcessKind.LASER else "spindle"
        report.add(Severity.ERROR, "left_on", f"The program ends with the {what} on: M5 is missing.", line)
    if limits.process is ProcessKind.FDM and end[m.NOZZLE] > 0.0:
        report.add(Severity.WARNING, "left_hot", "The program ends with the nozzle heated.", line)
    if limits.process is ProcessKind.CNC and end[m.Z] < 0.0:
        report.add(Severity.ERROR, "ends_in_stock", "The program ends with the bit in the material.", line)

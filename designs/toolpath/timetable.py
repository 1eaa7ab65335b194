"""How long a program takes, line by line, on a machine whose limits are known.

The firmware's own planning is followed block by block (designs/toolpath/planner.py), so the table knows that a hundred
short segments are slower than one long one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from designs.processes.model import MachineProfile, ProcessKind
from designs.toolpath import planner
from designs.toolpath.compiled import pick
from designs.toolpath.parser import Source, is_marlin, read_lines, read_motions, wants_compiled

Axes4 = tuple[float, float, float, float]
_MOST_POINTS = 32_768


@dataclass(frozen=True, slots=True)
class Kinematics:
    """What a machine's firmware plans with. Speeds mm/s, accelerations mm/s², X Y Z E; as GRBL's `$` or M503 tell."""

    dialect: str = "grbl"
    max_speed_mm_s: Axes4 = (100.0, 100.0, 10.0, 100.0)
    max_accel_mm_s2: Axes4 = (500.0, 500.0, 100.0, 5000.0)
    accel_mm_s2: float = 0.0
    """Marlin `M204 P`; 0 (GRBL): only the axes limit."""
    travel_accel_mm_s2: float = 0.0
    retract_accel_mm_s2: float = 0.0
    junction_deviation_mm: float = 0.01
    jerk_mm_s: Axes4 | None = None
    """Marlin built with CLASSIC_JERK; None: junction deviation."""
    queue_blocks: int = 15
    """Blocks the planner looks ahead: BLOCK_BUFFER_SIZE is 16 in grbl and in Marlin, one is kept free."""
    arc_tolerance_mm: float = 0.002
    """GRBL `$12`; Marlin uses `arc_segment_mm`."""
    arc_segment_mm: float = 1.0
    min_speed_mm_s: float = 0.0
    """Marlin MINIMUM_PLANNER_SPEED 0.05."""
    nozzle_c_s: float = 2.5
    """How fast the nozzle heats, °C a second."""
    bed_c_s: float = 0.7
    residency_s: float = 10.0
    """Marlin TEMP_RESIDENCY_TIME: at the target so long before the program goes on."""
    obeys_program: bool = True
    """M201, M203, M204 and M205 in a program change the limits."""
    home_s: float = 20.0
    tool_change_s: float = 60.0

    @classmethod
    def of(cls, profile: MachineProfile) -> Kinematics:
        """What the machine told of itself; else its profile's figures; else the usual ones of GRBL or Marlin."""
        told = dict(profile.limits)
        if is_marlin(profile.dialect) and {"M201", "M203"} <= told.keys():
            return cls.from_marlin("\n".join(f"{word} {values}" for word, values in profile.limits), profile.dialect)
        if not is_marlin(profile.dialect) and {"$110", "$120"} <= told.keys():
            return replace(cls.from_grbl(profile.limits), dialect=profile.dialect)
        top = (profile.max_feed_mm_min or (9000.0 if profile.process is ProcessKind.FDM else 6000.0)) / 60.0
        accel = profile.accel_mm_s2 or (1000.0 if profile.process is ProcessKind.FDM else 500.0)
        if is_marlin(profile.dialect):
            return cls(
                dialect=profile.dialect,
                max_speed_mm_s=(top, top, min(top, 12.0), 60.0),
                max_accel_mm_s2=(accel, accel, min(accel, 200.0), 5000.0),
                accel_mm_s2=accel,
                travel_accel_mm_s2=accel,
                retract_accel_mm_s2=accel,
                junction_deviation_mm=0.013,
                min_speed_mm_s=0.05,
            )
        slow_z = top if profile.process is ProcessKind.LASER else min(top, 25.0)
        return cls(
            dialect=profile.dialect,
            max_speed_mm_s=(top, top, slow_z, top),
            max_accel_mm_s2=(accel, accel, min(accel, 250.0), accel),
        )

    @classmethod
    def from_grbl(cls, settings: Sequence[tuple[str, str]]) -> Kinematics:
        """Limits from a GRBL machine's own `$$` answer, as (`$110`, `6000.000`) pairs; unknown ones keep defaults."""
        found = {}
        for name, value in settings:
            try:
                found[name.lstrip("$")] = float(value)
            except ValueError:
                continue
        speed = [found.get(f"11{k}", 6000.0) / 60.0 for k in range(3)]
        accel = [found.get(f"12{k}", 500.0) for k in range(3)]
        return cls(
            max_speed_mm_s=(speed[0], speed[1], speed[2], max(speed)),
            max_accel_mm_s2=(accel[0], accel[1], accel[2], max(accel)),
            junction_deviation_mm=found.get("11", 0.01),
            arc_tolerance_mm=found.get("12", 0.002),
        )

    @classmethod
    def from_marlin(cls, report: str, dialect: str = "marlin") -> Kinematics:
        """Limits from a Marlin machine's own M503 answer (lines with M201, M203, M204, M205); others keep defaults."""
        speed, accel, jerk = [300.0, 300.0, 5.0, 25.0], [3000.0, 3000.0, 100.0, 10000.0], [0.0] * 4
        single = {"P": 0.0, "T": 0.0, "R": 0.0, "J": 0.0}
        lists = {"M203": speed, "M201": accel, "M205": jerk}
        for text in report.splitlines():
            for line in read_lines(text.removeprefix("echo:").strip().encode("ascii", "replace"), dialect):
                name = f"{line.words[0].letter}{line.words[0].value or 0:g}"
                for word in line.words[1:]:
                    if word.value is not None and name in lists and word.letter in "XYZE":
                        lists[name]["XYZE".index(word.letter)] = word.value
                    elif word.value is not None and f"{name}{word.letter}" in ("M204P", "M204T", "M204R", "M205J"):
                        single[word.letter] = word.value
        return cls(
            dialect=dialect,
            max_speed_mm_s=(speed[0], speed[1], speed[2], speed[3]),
            max_accel_mm_s2=(accel[0], accel[1], accel[2], accel[3]),
            accel_mm_s2=single["P"],
            travel_accel_mm_s2=single["T"],
            retract_accel_mm_s2=single["R"],
            junction_deviation_mm=single["J"] or 0.013,
            jerk_mm_s=None if single["J"] or not any(jerk) else (jerk[0], jerk[1], jerk[2], jerk[3]),
            min_speed_mm_s=0.05,
        )

    def registers(self) -> list[float]:
        """The limits as the planner's kernel reads them."""
        jerk = self.jerk_mm_s or (10.0, 10.0, 0.3, 5.0)
        marlin = is_marlin(self.dialect)
        rapid = 0.0 if marlin else 1e9
        accel = (self.accel_mm_s2 or max(self.max_accel_mm_s2[:3])) if marlin else 0.0
        return [
            *self.max_speed_mm_s, *self.max_accel_mm_s2, *jerk,
            accel, (self.travel_accel_mm_s2 or accel), (self.retract_accel_mm_s2 or accel), self.junction_deviation_mm,
            float(max(2, self.queue_blocks)), rapid, self.arc_segment_mm, 0.0 if marlin else self.arc_tolerance_mm,
            1.0 if self.jerk_mm_s is not None else 0.0, 1.0 if self.obeys_program else 0.0, self.nozzle_c_s,
            self.home_s, self.tool_change_s, self.min_speed_mm_s, self.bed_c_s, self.residency_s,
        ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class TimeTable:
    """Time against line: `times_s[k]` have passed when line `lines[k]` is done. At most 32,768 points."""

    duration_s: float
    lines: tuple[int, ...]
    times_s: tuple[float, ...]
    total_lines: int
    rapid_mm: float
    feed_mm: float
    filament_mm: float
    tool_on_s: float
    """Seconds with beam or spindle on while moving."""
    power_s: float
    """Integral of the S word over those seconds."""
    blocks: int
    waits_s: float = 0.0

    def at_line(self, line: int) -> float:
        """Seconds from the start until `line` is done, between the table's points in proportion."""
        if not self.lines or line >= self.lines[-1]:
            return self.duration_s if line >= self.total_lines or not self.lines else self._after_last(line)
        k = bisect_right(self.lines, line)
        line_0, time_0 = (self.lines[k - 1], self.times_s[k - 1]) if k else (0, 0.0)
        share = (line - line_0) / (self.lines[k] - line_0)
        return time_0 + max(0.0, share) * (self.times_s[k] - time_0)

    def _after_last(self, line: int) -> float:
        left = max(1, self.total_lines - self.lines[-1])
        return self.times_s[-1] + (line - self.lines[-1]) / left * (self.duration_s - self.times_s[-1])

    def remaining_s(self, line: int) -> float:
        """Seconds still to go once `line` is done."""
        return max(0.0, self.duration_s - self.at_line(line))


class _Points:
    """(line, time) points, thinned by half and coarsened whenever there are too many."""

    def __init__(self) -> None:
        self.lines: list[int] = []
        self.times: list[float] = []
        self.step_s = 0.05

    def add(self, lines: Sequence[int], times: Sequence[float]) -> None:
        self.lines.extend(lines)
        self.times.extend(times)
        if len(self.lines) > _MOST_POINTS:
            self.lines, self.times = self.lines[1::2], self.times[1::2]
            self.step_s *= 2.0


def estimate(gcode: Source, kinematics: Kinematics, *, fast: bool | None = None) -> TimeTable:
    """The time table of a program on a machine with these limits; constant memory.

    `fast`: machine code, where it has been made (default: for large programs). Raises OSError for an unreadable file.
    """
    quick = wants_compiled(gcode) if fast is None else fast
    kernels = pick(planner, quick)
    plain = kernels is planner

    def floats(count: int) -> Any:
        return [0.0] * count if plain else np.zeros(count)

    limits: Any = kinematics.registers() if plain else np.array(kinematics.registers())
    plan, unit, to = floats(planner.PLAN_STATE), floats(4), floats(4)
    queue = floats(planner.BLOCK * int(limits[planner.QUEUE]))
    points = _Points()
    total = 1
    out_lines: Any = [0] * 64 if plain else np.zeros(64, np.int64)
    out_times = floats(64)
    for block in read_motions(gcode, kinematics.dialect, fast=quick):
        if len(out_lines) < block.rows + 64:
            out_lines = [0] * (block.rows + 64) if plain else np.zeros(block.rows + 64, np.int64)
            out_times = floats(block.rows + 64)
        plan[planner.POINT_STEP] = points.step_s
        plan[planner.ROOM] = float(len(out_lines))
        count = kernels.advance(block.flat, block.rows, plan, limits, queue, unit, to, out_lines, out_times)
        points.add([int(n) for n in out_lines[:count]], [float(t) for t in out_times[:count]])
        total = block.next_line
    count = kernels.drain(plan, limits, queue, out_lines, out_times, 0)
    points.add([int(n) for n in out_lines[:count]], [float(t) for t in out_times[:count]])
    return TimeTable(
        duration_s=float(plan[planner.TIME]),
        lines=tuple(points.lines),
        times_s=tuple(points.times),
        total_lines=max(0, total - 1),
        rapid_mm=float(plan[planner.RAPID_MM]),
        feed_mm=float(plan[planner.FEED_MM]),
        filament_mm=float(plan[planner.FILAMENT_MM]),
        tool_on_s=float(plan[planner.ON_S]),
        power_s=float(plan[planner.POWER_S]),
        blocks=int(plan[planner.BLOCKS]),
        waits_s=float(plan[planner.WAIT_S]),
    )

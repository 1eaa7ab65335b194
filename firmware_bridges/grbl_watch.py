"""Is the machine where the toolpath says? GRBL has no checksums: a flipped bit gives another legal number.

Every move that was sent is kept until the machine must be past it. A reported position has to lie on one of the moves
that can be under way: those acknowledged but not yet certain to be done (as many as the planner holds), and the one
after them, which the controller may be cutting into pieces. In: moves, acknowledgements, reports. Out: a sentence when
the report cannot be true of this toolpath, else nothing.

A report may itself be damaged, so it takes two in a row; the second is asked for at once. What this cannot see: an
excursion that begins and ends between two reports. Its reach is bounded by half the way the machine makes meanwhile.
"""

from __future__ import annotations

import math
from collections import deque
from itertools import chain
from typing import Final

from firmware_bridges.arcs import Point
from firmware_bridges.grbl_lines import Report
from firmware_bridges.modal import Motion, MotionKind

#: Grbl follows the path to the step; reports are rounded to 0.001 mm, chords of arcs stray 0.002 mm ($12).
NEAR_MM: Final = 0.05
_SPEED_SLACK: Final = 1.1
_STRIKES: Final = 2


#: One line in the controller: bytes with the line end, toolpath line number (0: the bridge's own), its move, the
#: spindle or beam value it leaves in force, seconds it may keep the machine standing.
InFlight = tuple[int, int, Motion | None, float, float]


class Watch:
    """One run's moves in flight."""

    def __init__(self, start: Point, planner_blocks: int, steps_per_mm: float) -> None:
        self._standing = start
        self._done: deque[tuple[Motion, int]] = deque()
        self._kept = planner_blocks + 2
        self.executed_line = 0
        """The toolpath line up to which everything is certainly done, not only accepted into the planner."""
        self.pending: deque[InFlight] = deque()
        """Lines sent and not acknowledged, the oldest first."""
        self._values: deque[float] = deque([0.0], maxlen=planner_blocks + 3)
        self.near_mm = NEAR_MM + (1.0 / steps_per_mm if steps_per_mm > 0 else 0.0)
        self._strikes = 0
        self.doubts = 0
        """Objections in a row to a position: the first may be a report damaged on its way, so a second one is asked."""

    def acknowledged(self) -> InFlight:
        """The oldest line sent was taken by the controller."""
        line = self.pending.popleft()
        _, number, motion, value, _ = line
        if motion is not None:
            self._done.append((motion, number))
            self._values.append(value)
            if len(self._done) > self._kept:  # the planner holds no more than that: the oldest is done
                self.executed_line = max(self.executed_line, self._done.popleft()[1])
            return line
        if value != self._values[-1]:
            self._values.append(value)
        if not self._done:
            self.executed_line = max(self.executed_line, number)
        elif number:
            self._done[-1] = (self._done[-1][0], number)
        return line

    def executed(self, position: Point, *, idle: bool) -> int:
        """The toolpath line up to which all is done, by where the machine is: a lower bound where the path overlaps."""
        if idle:
            if self._done:
                self.executed_line = max(self.executed_line, self._done[-1][1])
            return self.executed_line
        before = 0
        for motion, number in self._done:
            if motion.distance_mm(position) <= self.near_mm:
                self.executed_line = max(self.executed_line, before)
                break
            before = number
        return self.executed_line

    @property
    def expected_end(self) -> Point:
        """Where the machine stands when all acknowledged moves are done."""
        return self._done[-1][0].end if self._done else self._standing

    def off_by_mm(self, position: Point) -> float:
        """Distance of a position from every move that can be under way: the least of them."""
        least = math.inf if self._done else math.dist(position, self._standing)
        for motion in self._candidates():
            least = min(least, motion.distance_mm(position))
            if least <= self.near_mm:
                break
        return least

    def _candidates(self) -> chain[Motion]:
        following = next((motion for _, _, motion, _, _ in self.pending if motion is not None), None)
        return chain((done[0] for done in reversed(self._done)), () if following is None else (following,))

    def objection(self, position: Point, report: Report, overrides: tuple[int, int, int]) -> str:
        """What is wrong with a report, as a sentence; empty when nothing is."""
        off = self.off_by_mm(position)
        self.doubts = self.doubts + 1 if off > self.near_mm else 0
        if self.doubts >= _STRIKES:
            return (
                f"The machine reports X{position[0]:.3f} Y{position[1]:.3f} Z{position[2]:.3f} (machine coordinates),"
                f" {off:.2f} mm away from where the toolpath can be. A line was probably changed on the cable."
            )
        wrong = self._wrong_speed(report, overrides) or self._wrong_value(report, overrides)
        self._strikes = self._strikes + 1 if wrong else 0
        return wrong if self._strikes >= _STRIKES else ""

    def _wrong_speed(self, report: Report, overrides: tuple[int, int, int]) -> str:
        if report.feed_mm_min is None or report.state != "Run":
            return ""
        fastest = 0.0
        for motion in self._candidates():
            if motion.kind is MotionKind.RAPID or motion.feed_mm_min <= 0:
                return ""
            fastest = max(fastest, motion.feed_mm_min)
        limit = fastest * max(overrides[0], 100) / 100 * _SPEED_SLACK + 10
        if report.feed_mm_min <= limit or fastest == 0.0:
            return ""
        return (
            f"The machine moves at {report.feed_mm_min:.0f} mm/min where the toolpath asks for {fastest:.0f}."
            " A line was probably changed on the cable."
        )

    def _wrong_value(self, report: Report, overrides: tuple[int, int, int]) -> str:
        if not report.spindle or overrides[2] != 100 or report.state not in ("Run", "Idle"):
            return ""
        allowed = [*self._values, *(line[3] for line in self.pending)]
        if any(abs(report.spindle - value) <= 1.0 + value * 0.01 for value in allowed):
            return ""
        return (
            f"The controller reports a spindle or beam value of {report.spindle:g}, which the toolpath does not ask"
            " for here. A line was probably changed on the cable."
        )

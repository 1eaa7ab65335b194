"""Circular and helical moves: what G2 and G3 really sweep.

A controller refuses some arcs and draws the others exactly; a bounding box from end points alone is wrong by up to a
whole diameter. Geometry and tolerances follow the firmware (grbl/gcode.c, motion mode arc; grbl/motion_control.c,
mc_arc), so that what is refused here is what the controller would refuse.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

Point = tuple[float, float, float]

#: Indices of (first, second, linear) axis: grbl/gcode.c plane select.
PLANE_AXES: Final[dict[int, tuple[int, int, int]]] = {17: (0, 1, 2), 18: (2, 0, 1), 19: (1, 2, 0)}
_ANGULAR_TRAVEL_EPSILON: Final = 5e-7  # rad; grbl/config.h ARC_ANGULAR_TRAVEL_EPSILON
_RADIUS_ERROR_MM: Final = 0.005  # grbl/gcode.c: below this a mismatch of radii is never an error
_RADIUS_ERROR_MAX_MM: Final = 0.5
_RADIUS_ERROR_SHARE: Final = 0.001


class ArcRefusal(IntEnum):
    """Why an arc cannot be drawn; the numbers are those of grbl/report.h."""

    INVALID_TARGET = 33
    RADIUS_TOO_SMALL = 34


@dataclass(frozen=True, slots=True)
class Arc:
    """A circle's piece in a plane with a straight third axis. Angles in radians, lengths in mm; `sweep` < 0 is G2."""

    axes: tuple[int, int, int]
    centre: tuple[float, float]
    radius_mm: float
    start_angle: float
    sweep: float
    linear_from: float
    linear_to: float

    @property
    def length_mm(self) -> float:
        """Length along the helix."""
        return math.hypot(self.radius_mm * self.sweep, self.linear_to - self.linear_from)

    def at(self, share: float) -> Point:
        """The point after `share` (0..1) of the sweep."""
        angle = self.start_angle + self.sweep * share
        point = [0.0, 0.0, 0.0]
        point[self.axes[0]] = self.centre[0] + self.radius_mm * math.cos(angle)
        point[self.axes[1]] = self.centre[1] + self.radius_mm * math.sin(angle)
        point[self.axes[2]] = self.linear_from + (self.linear_to - self.linear_from) * share
        return (point[0], point[1], point[2])

    def share_near(self, point: Point) -> float:
        """How far along the sweep (0..1) the drawn point nearest to `point` lies, judged in the plane."""
        angle = math.atan2(point[self.axes[1]] - self.centre[1], point[self.axes[0]] - self.centre[0])
        turned = (angle - self.start_angle) if self.sweep >= 0 else (self.start_angle - angle)
        turned %= 2 * math.pi
        size = abs(self.sweep)
        if turned <= size:
            return turned / size if size else 0.0
        return 1.0 if turned - size < 2 * math.pi - turned else 0.0

    def extent(self) -> tuple[Point, Point]:
        """Lowest and highest coordinates of everything swept, both ends included."""
        shares = [0.0, 1.0]
        low_angle, high_angle = sorted((self.start_angle, self.start_angle + self.sweep))
        quarter = math.ceil(low_angle / (math.pi / 2))
        while quarter * (math.pi / 2) <= high_angle and len(shares) < 8:
            shares.append((quarter * (math.pi / 2) - self.start_angle) / self.sweep if self.sweep else 0.0)
            quarter += 1
        points = [self.at(share) for share in shares]
        return (
            (min(p[0] for p in points), min(p[1] for p in points), min(p[2] for p in points)),
            (max(p[0] for p in points), max(p[1] for p in points), max(p[2] for p in points)),
        )


def _sweep(start: Point, end: Point, axes: tuple[int, int, int], centre: tuple[float, float], clockwise: bool) -> float:
    """Signed angle from start to end round `centre`; a vanishing one is a full turn (grbl/motion_control.c)."""
    a, b, _ = axes
    from_x, from_y = start[a] - centre[0], start[b] - centre[1]
    to_x, to_y = end[a] - centre[0], end[b] - centre[1]
    travel = math.atan2(from_x * to_y - from_y * to_x, from_x * to_x + from_y * to_y)
    if clockwise:
        return travel - 2 * math.pi if travel >= -_ANGULAR_TRAVEL_EPSILON else travel
    return travel + 2 * math.pi if travel <= _ANGULAR_TRAVEL_EPSILON else travel


def _build(start: Point, end: Point, axes: tuple[int, int, int], centre: tuple[float, float], clockwise: bool) -> Arc:
    a, b, linear = axes
    return Arc(
        axes=axes,
        centre=centre,
        radius_mm=math.hypot(start[a] - centre[0], start[b] - centre[1]),
        start_angle=math.atan2(start[b] - centre[1], start[a] - centre[0]),
        sweep=_sweep(start, end, axes, centre, clockwise),
        linear_from=start[linear],
        linear_to=end[linear],
    )


def by_offsets(
    start: Point, end: Point, plane: int, clockwise: bool, first_mm: float, second_mm: float
) -> Arc | ArcRefusal:
    """An arc whose centre is given as offsets from the start, in plane order (I J; K I; J K)."""
    a, b, _ = axes = PLANE_AXES[plane]
    centre = (start[a] + first_mm, start[b] + second_mm)
    radius = math.hypot(first_mm, second_mm)
    off_by = abs(math.hypot(end[a] - centre[0], end[b] - centre[1]) - radius)
    if off_by > _RADIUS_ERROR_MM and (off_by > _RADIUS_ERROR_MAX_MM or off_by > _RADIUS_ERROR_SHARE * radius):
        return ArcRefusal.INVALID_TARGET
    return _build(start, end, axes, centre, clockwise)


def by_radius(start: Point, end: Point, plane: int, clockwise: bool, radius_mm: float) -> Arc | ArcRefusal:
    """An arc given by its radius; a negative one takes the longer way round (RS274/NGC 3.5.3.1)."""
    a, b, _ = axes = PLANE_AXES[plane]
    x, y = end[a] - start[a], end[b] - start[b]
    chord_squared = x * x + y * y
    if chord_squared == 0:
        return ArcRefusal.INVALID_TARGET
    height_squared = 4 * radius_mm * radius_mm - chord_squared
    if height_squared < 0:
        return ArcRefusal.RADIUS_TOO_SMALL
    ratio = -math.sqrt(height_squared) / math.sqrt(chord_squared)
    if not clockwise:
        ratio = -ratio
    if radius_mm < 0:
        ratio = -ratio
    centre = (start[a] + 0.5 * (x - y * ratio), start[b] + 0.5 * (y + x * ratio))
    return _build(start, end, axes, centre, clockwise)

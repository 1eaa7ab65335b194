"""Arcs found again in lines of short chords: fewer, smoother motions, none farther from the line than a tolerance.

Drawings come in as chords (curves are flattened to 0.01 mm), and offsets by kerf and bit add chords of their own.
Greedy: the longest run on one circle, made as equal arcs of less than half a turn, each through its own ends (the idea
of Meek and Walton, 1992: arcs through ordered points). Points and chords stay within the tolerance: how far the
ends of a chord lie off the circle, and its height under it, are added. Pure geometry in millimetres.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

Point = tuple[float, float]
TOLERANCE_MM: Final = 0.02
"""Farthest an arc may leave the line: the flattening's 0.01 mm, simplification's 0.005 mm, and rounding."""
_LEAST_POINTS: Final = 5
_LARGEST_RADIUS_MM: Final = 1000.0
_SMALLEST_RADIUS_MM: Final = 0.1
_LONGEST_SWEEP: Final = math.radians(175.0)
"""Below half a turn, so that no controller can mistake which way round."""
_WHOLE_TURN: Final = 2.0 * math.pi + 1e-6


@dataclass(frozen=True, slots=True)
class Straight:
    """On in a straight line to the point of index `to`."""

    to: int
    end: Point


@dataclass(frozen=True, slots=True)
class Arc:
    """On along a circle to the point of index `to`."""

    to: int
    end: Point
    centre: Point
    clockwise: bool


def fitted(points: Sequence[Point], tolerance_mm: float = TOLERANCE_MM) -> list[Straight | Arc]:
    """The way from the first point through all others, arcs where they fit. A tolerance of 0 keeps the lines."""
    steps: list[Straight | Arc] = []
    at, last = 0, len(points) - 1
    while at < last:
        end = _longest(points, at, tolerance_mm) if tolerance_mm > 0.0 else at
        arcs = _arcs(points, at, end, tolerance_mm) if end > at else []
        if not arcs:
            at += 1
            steps.append(Straight(at, points[at]))
        else:
            at = arcs[-1].to
            steps.extend(arcs)
    return steps


def _longest(points: Sequence[Point], at: int, tolerance_mm: float) -> int:
    """Index of the last point of the longest run from `at` on one circle (`at`: none): doubled, then halved."""
    reach = _LEAST_POINTS - 1
    good = 0
    while at + reach < len(points) and _sweep(points[at : at + reach + 1], tolerance_mm) is not None:
        good, reach = reach, 2 * reach
    if good == 0:
        return at
    low, high = good, min(reach, len(points) - at)
    while high - low > 1:
        middle = (low + high) // 2
        if _sweep(points[at : at + middle + 1], tolerance_mm) is None:
            high = middle
        else:
            low = middle
    return at + low


def _arcs(points: Sequence[Point], at: int, end: int, tolerance_mm: float) -> list[Arc]:
    """A run on one circle as arcs of less than half a turn; cut short where one does not fit."""
    whole = _sweep(points[at : end + 1], tolerance_mm)
    if whole is None:
        return []
    count = math.ceil(abs(whole) / _LONGEST_SWEEP)
    arcs: list[Arc] = []
    for k in range(count):
        first, last = at + (end - at) * k // count, at + (end - at) * (k + 1) // count
        run = points[first : last + 1]
        circle = _circle(run[0], run[len(run) // 2], run[-1])
        turned = None if circle is None else _around(run, *circle, tolerance_mm)
        if circle is None or turned is None:
            break
        arcs.append(Arc(last, run[-1], circle[0], turned < 0.0))
    return arcs


def _sweep(run: Sequence[Point], tolerance_mm: float) -> float | None:
    """The angle a run goes around one circle, up to a whole turn; None where it does not lie on one."""
    third = len(run) // 3
    circle = _circle(run[0], run[third], run[2 * third])
    return None if circle is None else _around(run, *circle, tolerance_mm)


def _around(run: Sequence[Point], centre: Point, radius: float, tolerance_mm: float) -> float | None:
    """The angle a run goes around this circle, always the same way; None where a point or chord leaves it."""
    if not _SMALLEST_RADIUS_MM <= radius <= _LARGEST_RADIUS_MM:
        return None
    total = 0.0
    for a, b in pairwise(run):
        half = math.dist(a, b) / 2.0
        if half >= radius:
            return None
        off = max(abs(math.dist(a, centre) - radius), abs(math.dist(b, centre) - radius))
        if off + radius - math.sqrt(radius * radius - half * half) > tolerance_mm:
            return None
        turn = _turn(a, b, centre)
        if turn == 0.0 or turn * total < 0.0:
            return None
        total += turn
    return total if abs(total) <= _WHOLE_TURN else None


def _turn(a: Point, b: Point, centre: Point) -> float:
    """The angle from `a` to `b` seen from the centre, counter-clockwise positive."""
    ax, ay, bx, by = a[0] - centre[0], a[1] - centre[1], b[0] - centre[0], b[1] - centre[1]
    return math.atan2(ax * by - ay * bx, ax * bx + ay * by)


def _circle(a: Point, b: Point, c: Point) -> tuple[Point, float] | None:
    """(centre, radius) of the circle through three points, None where they lie on a line."""
    bx, by, cx, cy = b[0] - a[0], b[1] - a[1], c[0] - a[0], c[1] - a[1]
    twice = 2.0 * (bx * cy - by * cx)
    if abs(twice) < 1e-9:
        return None
    b2, c2 = bx * bx + by * by, cx * cx + cy * cy
    x, y = (cy * b2 - by * c2) / twice, (bx * c2 - cx * b2) / twice
    return (a[0] + x, a[1] + y), math.hypot(x, y)

"""In which order paths are made, and where each is entered: inner before outer, then the least travel found.

Nearest available path first, then Or-moves and reversals (2-opt) that keep inner before outer, within a step limit:
deterministic, no clock. Croes (1958), Or (1976).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

Point = tuple[float, float]
_MOST_ENTRIES = 96


@dataclass(frozen=True, slots=True)
class Path:
    """A line to make. Closed paths do not repeat their first point and may be entered anywhere.

    `after`: indices of paths that must be made before this one.
    """

    points: tuple[Point, ...]
    closed: bool
    after: frozenset[int] = frozenset()
    label: str = ""
    entries: tuple[int, ...] = ()
    """Points at which a closed path may be entered; empty: any."""
    reversible: bool = True
    """Whether an open path may be made from either end."""

    def entered_at(self, k: int) -> Path:
        """The same path begun at point `k` (open paths: at the end nearest to it)."""
        if not self.closed:
            return self if k == 0 or not self.reversible else replace(self, points=self.points[::-1])
        return replace(self, points=self.points[k:] + self.points[:k], entries=(0,))

    @property
    def end(self) -> Point:
        """Where the tool is when it is done."""
        return self.points[0] if self.closed else self.points[-1]


def travel_mm(paths: Sequence[Path], start: Point = (0.0, 0.0)) -> float:
    """Length of the ways between the paths in this order, from `start`."""
    at, total = start, 0.0
    for path in paths:
        total += math.dist(at, path.points[0])
        at = path.end
    return total


def _entry_choices(path: Path) -> list[int]:
    if not path.closed:
        return [0, len(path.points) - 1] if path.reversible else [0]
    choices = list(path.entries) or list(range(len(path.points)))
    step = max(1, len(choices) // _MOST_ENTRIES)
    return choices[::step]


def order(paths: Sequence[Path], start: Point = (0.0, 0.0)) -> list[tuple[int, Path]]:
    """(index into `paths`, the path turned to its entry) in the order to make them."""
    sequence = _nearest_first(paths, start)
    sequence = _improve(paths, sequence, start)
    result, at = [], start
    for index in sequence:
        path = paths[index]
        k = min(_entry_choices(path), key=lambda c: math.dist(at, path.points[c]))
        turned = path.entered_at(k)
        result.append((index, turned))
        at = turned.end
    return result


def _nearest_first(paths: Sequence[Path], start: Point) -> list[int]:
    left = set(range(len(paths)))
    boxes = [_box(p.points) for p in paths]
    made: set[int] = set()
    at, sequence = start, []
    while left:
        best = (math.inf, -1, at)
        for index in sorted(left):
            if paths[index].after - made or _box_far(boxes[index], at) >= best[0]:
                continue
            path = paths[index]
            for c in _entry_choices(path):
                far = math.dist(at, path.points[c])
                if far < best[0]:
                    end = path.points[c] if path.closed else path.points[len(path.points) - 1 - c]
                    best = (far, index, end)
        if best[1] < 0:
            raise ValueError("paths wait for each other in a circle")
        left.discard(best[1])
        made.add(best[1])
        sequence.append(best[1])
        at = best[2]
    return sequence


def _box(points: Sequence[Point]) -> tuple[float, float, float, float]:
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    return min(xs), min(ys), max(xs), max(ys)


def _box_far(box: tuple[float, float, float, float], p: Point) -> float:
    dx = max(box[0] - p[0], 0.0, p[0] - box[2])
    dy = max(box[1] - p[1], 0.0, p[1] - box[3])
    return math.hypot(dx, dy)


def _length(paths: Sequence[Path], centres: Sequence[Point], sequence: Sequence[int], start: Point) -> float:
    at, total = start, 0.0
    for index in sequence:
        total += math.dist(at, centres[index])
        at = centres[index]
    return total


def _improve(paths: Sequence[Path], sequence: list[int], start: Point) -> list[int]:
    """Or-moves: take one path out and put it where it costs less, as long as inner stays before outer."""
    count = len(sequence)
    if count < 4 or count > 400:
        return sequence
    best = list(sequence)
    best_travel = _true_travel(paths, best, start)
    steps = min(2 * count, 60_000 // max(1, count))
    for step in range(steps):
        k = step % count
        item = best[k]
        rest = best[:k] + best[k + 1 :]
        low = max((rest.index(a) + 1 for a in paths[item].after if a in rest), default=0)
        followers = [n for n, other in enumerate(rest) if item in paths[other].after]
        high = min(followers, default=len(rest))
        near = sorted(range(low, high + 1), key=lambda n: _insertion(paths, rest, n, item, start))[:3]
        for n in near:
            trial = [*rest[:n], item, *rest[n:]]
            travel = _true_travel(paths, trial, start)
            if travel < best_travel - 1e-6:
                best, best_travel = trial, travel
                break
    return best


def _insertion(paths: Sequence[Path], rest: Sequence[int], n: int, item: int, start: Point) -> float:
    here = paths[item].points[0]
    before = paths[rest[n - 1]].points[0] if n > 0 else start
    if n == len(rest):
        return math.dist(before, here)
    behind = paths[rest[n]].points[0]
    return math.dist(before, here) + math.dist(here, behind) - math.dist(before, behind)


def _true_travel(paths: Sequence[Path], sequence: Sequence[int], start: Point) -> float:
    at, total = start, 0.0
    for index in sequence:
        path = paths[index]
        far, k = min((math.dist(at, path.points[c]), c) for c in _entry_choices(path))
        total += far
        at = path.points[k] if path.closed else path.points[len(path.points) - 1 - k]
    return total

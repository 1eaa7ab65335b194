"""The bit's motion in depth: ramps instead of plunges, passes of a stepdown, tabs, pecks; all from a safe height."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from designs.processes.cnc_paths import Loop, PocketArea, Point, stays_inside, walk
from designs.processes.gcode_writer import GcodeWriter
from designs.processes.materials import RouterRecipe

_RAMP_DEG = 8.0
_CLOSE_MM = 0.5


@dataclass(frozen=True, slots=True)
class Heights:
    """z, work coordinates: 0 is the top of the stock."""

    safe_mm: float = 5.0
    """Rapids sideways happen here."""
    tab_top_mm: float = -3.0


def depths(bottom_mm: float, stepdown_mm: float, first_mm: float = 0.0) -> list[float]:
    """Equal passes from `first_mm` down to `bottom_mm`, none deeper than a stepdown."""
    count = max(1, math.ceil((first_mm - bottom_mm) / stepdown_mm - 1e-6))
    return [first_mm + (bottom_mm - first_mm) * (k + 1) / count for k in range(count)]


class Mill:
    """Writes motion for one bit; always leaves it at the safe height. Ways without tabs get arcs and helices."""

    def __init__(
        self,
        writer: GcodeWriter,
        recipe: RouterRecipe,
        heights: Heights,
        arcs_within_mm: float = 0.0,
        at: Point = (0.0, 0.0),
    ) -> None:
        self._writer, self._recipe, self._heights = writer, recipe, heights
        self._arcs_within_mm = arcs_within_mm
        self.at = at

    def lift(self) -> None:
        """To the safe height."""
        self._writer.rapid(z=self._heights.safe_mm)

    def go(self, x: float, y: float) -> None:
        """At the safe height to a point, then down to just above the stock."""
        self.lift()
        self._writer.rapid(x, y)
        self._writer.rapid(z=_CLOSE_MM)
        self.at = (x, y)

    def cut_to(self, x: float, y: float, z: float | None = None, feed_mm_min: float | None = None) -> None:
        """A straight cut."""
        self._writer.feed(x, y, z, feed_mm_min=feed_mm_min or self._recipe.feed_mm_min)
        self.at = (x, y)

    def cut_along(self, points: Sequence[Point]) -> None:
        """From where the bit is through all points, at one depth."""
        self._follow([self.at, *points], (), self._recipe.feed_mm_min)

    def _follow(self, way: Sequence[Point], heights: Sequence[float], feed_mm_min: float) -> None:
        self._writer.follow(way, feed_mm_min=feed_mm_min, arcs_within_mm=self._arcs_within_mm, heights=heights)
        self.at = way[-1]

    def loop(self, loop: Loop, first_mm: float = 0.0) -> None:
        """A closed loop in passes, each begun by a ramp along the loop; tabs stay in the passes below their top."""
        if loop.length_mm < 0.05:
            self.peck(loop.points[0], loop.bottom_mm)
            return
        self.go(*loop.points[0])
        self._writer.feed(z=first_mm, feed_mm_min=self._recipe.plunge_mm_min)
        s, z_from = 0.0, first_mm
        for z in depths(loop.bottom_mm, self._recipe.stepdown_mm, first_mm):
            ramp = (z_from - z) / math.tan(math.radians(_RAMP_DEG))
            self._ramp(loop, s, ramp, z_from, z)
            s += ramp
            self._flat(loop, s, z)
            z_from = z
        self.lift()

    def _ramp(self, loop: Loop, s: float, length: float, z_from: float, z_to: float) -> None:
        feed = min(self._recipe.feed_mm_min, self._recipe.plunge_mm_min / math.sin(math.radians(_RAMP_DEG)) / 2.0)
        steps = _with_tab_edges(loop, walk(loop.points, s, length))
        if not loop.tabs:
            heights = [z_from + (z_to - z_from) * min(1.0, (here - s) / length) for here, _ in steps]
            self._follow([point for _, point in steps], heights, max(feed, self._recipe.plunge_mm_min))
            return
        was_on = False
        for (before, _), (here, (x, y)) in pairwise(steps):
            z = z_from + (z_to - z_from) * min(1.0, (here - s) / length)
            on_tab = self._on_tab(loop, (before + here) / 2.0)
            if was_on and not on_tab:
                there = z_from + (z_to - z_from) * min(1.0, (before - s) / length)
                self._writer.feed(z=there, feed_mm_min=self._recipe.plunge_mm_min)
            elif on_tab and not was_on and z < self._heights.tab_top_mm:
                self._lift_to_tab(z_from + (z_to - z_from) * min(1.0, (before - s) / length))
            was_on = on_tab
            if on_tab:
                z = max(z, self._heights.tab_top_mm)
            self.cut_to(x, y, z, max(feed, self._recipe.plunge_mm_min))
        if was_on:
            self._writer.feed(z=z_to, feed_mm_min=self._recipe.plunge_mm_min)

    def _lift_to_tab(self, z: float) -> None:
        if z < self._heights.tab_top_mm:
            self._writer.feed(z=self._heights.tab_top_mm, feed_mm_min=self._recipe.feed_mm_min)

    def _flat(self, loop: Loop, s: float, z: float) -> None:
        low = z < self._heights.tab_top_mm - 1e-6
        high = False
        way: list[Point] = []
        for here, point in _with_tab_edges(loop, walk(loop.points, s, loop.length_mm))[1:]:
            if low and loop.tabs:
                was_high, high = high, self._on_tab(loop, here - 1e-4)
                if high != was_high:
                    self.cut_along(way)
                    way = []
                    top = self._heights.tab_top_mm if high else z
                    self._writer.feed(z=top, feed_mm_min=self._recipe.plunge_mm_min)
            way.append(point)
        self.cut_along(way)
        if high:
            self._writer.feed(z=z, feed_mm_min=self._recipe.plunge_mm_min)

    @staticmethod
    def _on_tab(loop: Loop, s: float) -> bool:
        here = s % loop.length_mm
        return any(a - 1e-6 <= here <= b + 1e-6 for a, b in loop.tabs)

    def pocket(self, pocket: PocketArea, first_mm: float = 0.0) -> None:
        """All rings of each pass from the middle outward; between rings straight across where nothing is in the way."""
        z_from = first_mm
        for z in depths(pocket.bottom_mm, self._recipe.stepdown_mm, first_mm):
            below = False
            for ring in pocket.rings:
                start = min(range(len(ring)), key=lambda k: math.dist(self.at, ring[k]))
                turned = ring[start:] + ring[:start]
                if below and stays_inside(pocket.reach, self.at, turned[0]):
                    self.cut_to(*turned[0])
                else:
                    self._enter(turned, z_from, z)
                self.cut_along((*turned[1:], turned[0]))
                below = True
            self.lift()
            z_from = z

    def _enter(self, ring: Sequence[Point], z_from: float, z: float) -> None:
        """Ramp down along a ring and come back to its first point."""
        loop = Loop(tuple(ring), z, False)
        self.go(*ring[0])
        self._writer.feed(z=z_from, feed_mm_min=self._recipe.plunge_mm_min)
        laps = max(1.0, math.ceil((z_from - z) / math.tan(math.radians(_RAMP_DEG)) / max(loop.length_mm, 1e-3)))
        if laps > 40.0:
            self._writer.feed(z=z, feed_mm_min=self._recipe.plunge_mm_min)
            return
        self._ramp(loop, 0.0, laps * loop.length_mm, z_from, z)

    def line(self, points: Sequence[Point], closed: bool, z: float) -> None:
        """Engrave along a line at one depth."""
        self.go(*points[0])
        self._writer.feed(z=z, feed_mm_min=self._recipe.plunge_mm_min)
        self.cut_along((*points[1:], *(points[:1] if closed else ())))
        self.lift()

    def peck(self, at: Point, bottom_mm: float) -> None:
        """Drill straight down in pecks of half a diameter's stepdown, clearing chips between."""
        self.go(*at)
        self._writer.feed(z=0.0, feed_mm_min=self._recipe.plunge_mm_min)
        for z in depths(bottom_mm, self._recipe.stepdown_mm):
            self._writer.feed(z=z, feed_mm_min=self._recipe.plunge_mm_min)
            self._writer.feed(z=_CLOSE_MM, feed_mm_min=self._recipe.feed_mm_min)
        self.lift()


def _with_tab_edges(loop: Loop, steps: Iterable[tuple[float, Point]]) -> list[tuple[float, Point]]:
    """The same walk with points added where tabs begin and end."""
    steps = list(steps)
    if not loop.tabs or len(steps) < 2:
        return steps
    total = loop.length_mm
    first, last = steps[0][0], steps[-1][0]
    marks: set[float] = set()
    lap = math.floor(first / total)
    while lap * total <= last:
        for a, b in loop.tabs:
            marks.update(edge + lap * total for edge in (a, b) if first < edge + lap * total < last)
        lap += 1
    result = [steps[0]]
    waiting = sorted(marks)
    for (s0, p0), (s1, p1) in pairwise(steps):
        for mark in waiting:
            if s0 + 1e-6 < mark < s1 - 1e-6:
                share = (mark - s0) / (s1 - s0)
                result.append((mark, (p0[0] + (p1[0] - p0[0]) * share, p0[1] + (p1[1] - p0[1]) * share)))
        result.append((s1, p1))
    return result

"""Layers of lines to be extruded → G-code for printers: order, flow, retraction, speeds, cooling.

Flow: a line of width w and height h is a rectangle with half-round ends, area (w − h)·h + π·h²/4 (slic3r.org manual,
"flow math"); the filament needed is that area times length over the filament's own cross-section. E is relative (M83).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from designs.processes.profiles import PrintSettings

Point = tuple[float, float]
Path = tuple[Point, ...]

RETRACT_FROM_MM: Final = 1.5
"""Shorter moves do not ooze enough to matter."""
RETRACT_INSIDE_FROM_MM: Final = 6.0
"""Between infill lines, where a string does no harm."""
BRIDGED_LINES: Final = 2.2
"""Infill lines whose ends are nearer than so many line widths are drawn as one."""
MIN_LAYER_S: Final = 8.0
"""A layer gets at least so long to cool, by going slower, but not below MIN_MM_S."""
MIN_MM_S: Final = 12.0
_KINDS: Final = ("adhesion", "support", "perimeter", "solid", "sparse")
_Z_MM_S: Final = 10.0
_SAME_MM: Final = 0.02


@dataclass(frozen=True, slots=True)
class Feature:
    """Lines of one kind in one layer, in the order of kinds; `closed` rings may be entered anywhere."""

    kind: str
    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of one mesh: z of its top."""

    z: float
    features: tuple[Feature, ...]


@dataclass(frozen=True, slots=True)
class _Run:
    kind: str
    path: Path

    @property
    def length(self) -> float:
        return sum(math.dist(a, b) for a, b in zip(self.path, self.path[1:], strict=False))


class LayerWriter:
    """Writes layers of several copies; remembers where the nozzle is and whether filament is drawn back."""

    def __init__(self, settings: PrintSettings, layer_mm: float) -> None:
        self._settings = settings
        self._layer_mm = layer_mm
        self._at: Point = (0.0, 0.0)
        self._drawn_back = False
        self._feed = 0
        self._kind = ""
        self.lines: list[str] = []
        width = settings.line_mm
        area = (width - layer_mm) * layer_mm + math.pi * layer_mm**2 / 4
        self._e_per_mm = area / (math.pi * settings.filament_mm**2 / 4)
        self._flow_mm_s = settings.flow_mm3_s / area

    def layer(self, number: int, z: float, copies: Iterable[tuple[Point, Layer]]) -> None:
        """One layer (number from 0) of every copy at its offset."""
        settings = self._settings
        runs = [(offset, _ordered(layer)) for offset, layer in copies]
        speeds = self._speeds(number, [run for _, each in runs for run in each])
        self.lines.append(f";LAYER:{number}")
        self._draw_back()
        self.lines.append(f"G0 Z{z:.3f} F{_Z_MM_S * 60:.0f}")
        self._feed = 0
        if number + 1 == settings.fan_from_layer and settings.fan_percent:
            self.lines.append(f"M106 S{round(settings.fan_percent * 2.55)}")
        if number == 1 and settings.nozzle_c != settings.first_nozzle_c:
            self.lines.append(f"M104 S{settings.nozzle_c}")
        kind = ""
        for offset, each in runs:
            for run in each:
                if run.kind != kind:
                    kind = run.kind
                    self.lines.append(f";TYPE:{kind}")
                self._extrude(kind, tuple((x + offset[0], y + offset[1]) for x, y in run.path), speeds[kind])

    def finish(self) -> None:
        """Draw the filament back before the end program moves away."""
        self._draw_back()

    def _speeds(self, number: int, runs: Sequence[_Run]) -> dict[str, float]:
        settings = self._settings
        if number == 0:
            wanted = dict.fromkeys(_KINDS, settings.first_layer_mm_s)
        else:
            wanted = {
                "adhesion": settings.first_layer_mm_s,
                "support": settings.perimeter_mm_s,
                "perimeter": settings.perimeter_mm_s,
                "solid": settings.infill_mm_s,
                "sparse": settings.infill_mm_s,
            }
        limited = {kind: min(speed, self._flow_mm_s) for kind, speed in wanted.items()}
        taken = sum(run.length / limited[run.kind] for run in runs)
        slower = min(1.0, taken / MIN_LAYER_S) if taken > 0 else 1.0
        return {kind: max(min(MIN_MM_S, speed), speed * slower) for kind, speed in limited.items()}

    def _extrude(self, kind: str, path: Path, speed: float) -> None:
        inside = kind == self._kind and kind in {"solid", "sparse"}
        self._kind = kind
        if inside and not self._drawn_back and math.dist(self._at, path[0]) <= BRIDGED_LINES * self._settings.line_mm:
            path = (self._at, *path)  # neighbouring infill lines are joined along the wall
        else:
            self._travel(path[0], RETRACT_INSIDE_FROM_MM if inside else RETRACT_FROM_MM)
        if self._drawn_back:
            self.lines.append(f"G1 E{self._settings.retract_mm:.4f} F{self._settings.retract_mm_s * 60:.0f}")
            self._drawn_back, self._feed = False, 0
        feed = round(speed * 60)
        for point in path[1:]:
            length = math.dist(self._at, point)
            word = f" F{feed}" if feed != self._feed else ""
            self.lines.append(f"G1 X{point[0]:.3f} Y{point[1]:.3f} E{length * self._e_per_mm:.5f}{word}")
            self._at, self._feed = point, feed

    def _travel(self, to: Point, retract_from_mm: float) -> None:
        distance = math.dist(self._at, to)
        if distance < _SAME_MM:
            return
        if distance > retract_from_mm:
            self._draw_back()
        feed = round(self._settings.travel_mm_s * 60)
        word = f" F{feed}" if feed != self._feed else ""
        self.lines.append(f"G0 X{to[0]:.3f} Y{to[1]:.3f}{word}")
        self._at, self._feed = to, feed

    def _draw_back(self) -> None:
        if not self._drawn_back and self._settings.retract_mm > 0:
            self.lines.append(f"G1 E-{self._settings.retract_mm:.4f} F{self._settings.retract_mm_s * 60:.0f}")
            self._drawn_back, self._feed = True, 0


def _ordered(layer: Layer) -> list[_Run]:
    """Runs of a layer: kinds in their order, within a kind always the nearest next; open lines may be turned round."""
    runs: list[_Run] = []
    at: Point | None = None
    for feature in layer.features:
        left = [path for path in (_tidy(path) for path in feature.paths) if len(path) > 1]
        while left:
            here = at if at is not None else (0.0, 0.0)
            index, path = min(
                ((number, _best(path, here)) for number, path in enumerate(left)),
                key=lambda pair: (math.dist(here, pair[1][0]), pair[0]),
            )
            left.pop(index)
            runs.append(_Run(feature.kind, path))
            at = path[-1]
    return runs


def _best(path: Path, here: Point) -> Path:
    if path[0] == path[-1]:
        start = min(range(len(path) - 1), key=lambda index: (math.dist(here, path[index]), index))
        return path[start:-1] + path[: start + 1]
    return path if math.dist(here, path[0]) <= math.dist(here, path[-1]) else path[::-1]


def _tidy(path: Sequence[Sequence[float]]) -> Path:
    """Points rounded to 1 µm, without repeats and without points on a straight line (to 1 µm)."""
    points: list[Point] = []
    for raw in path:
        point = (round(float(raw[0]), 3), round(float(raw[1]), 3))
        if points and math.dist(points[-1], point) < _SAME_MM and point != points[0]:
            continue
        if len(points) > 1 and _straight(points[-2], points[-1], point):
            points[-1] = point
        elif not points or point != points[-1]:
            points.append(point)
    return tuple(points)


def _straight(a: Point, b: Point, c: Point) -> bool:
    along = (b[0] - a[0]) * (c[0] - b[0]) + (b[1] - a[1]) * (c[1] - b[1])
    across = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    return along > 0 and abs(across) < 0.001 * math.dist(a, c)

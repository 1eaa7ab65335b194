"""Flat shapes and their drawings: SVG and DXF in the conventions of `designs.drawing_conventions`, byte for byte.

A ring is a closed row of (x, y, bulge); the bulge belongs to the segment that begins there and is the tangent of a
quarter of its arc's angle, counter-clockwise positive (DXF Reference, LWPOLYLINE group 42). Lengths mm, y up.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from designs.drawing_conventions import DXF_COLOURS, SVG_COLOURS, Meaning, Operation, layer_name

Point = tuple[float, float]
Ring = tuple[tuple[float, float, float], ...]

CUT: Final = Meaning(Operation.CUT)
ENGRAVE: Final = Meaning(Operation.ENGRAVE)
MARK: Final = Meaning(Operation.MARK)
DRILL: Final = Meaning(Operation.DRILL)
_QUARTER: Final = math.tan(math.pi / 8)


def polygon(*points: Point) -> Ring:
    """Straight sides."""
    return tuple((x, y, 0.0) for x, y in points)


def rectangle(x: float, y: float, width: float, height: float, radius: float = 0.0) -> Ring:
    """A rectangle with its lower left corner at x, y, and rounded corners where a radius is given."""
    if radius <= 0:
        return polygon((x, y), (x + width, y), (x + width, y + height), (x, y + height))
    r, right, top = radius, x + width, y + height
    return (
        (x + r, y, 0.0), (right - r, y, _QUARTER), (right, y + r, 0.0), (right, top - r, _QUARTER),
        (right - r, top, 0.0), (x + r, top, _QUARTER), (x, top - r, 0.0), (x, y + r, _QUARTER),
    )  # fmt: skip


def slot(x: float, y: float, width: float, height: float) -> Ring:
    """A slot with half-round ends, centred at x, y; wider than high."""
    half, r = width / 2 - height / 2, height / 2
    return ((x - half, y - r, 0.0), (x + half, y - r, 1.0), (x + half, y + r, 0.0), (x - half, y + r, 1.0))


def circle(x: float, y: float, diameter: float) -> Ring:
    """Two half circles."""
    r = diameter / 2
    return ((x - r, y, 1.0), (x + r, y, 1.0))


def moved(ring: Ring, dx: float, dy: float) -> Ring:
    """The ring somewhere else."""
    return tuple((x + dx, y + dy, bulge) for x, y, bulge in ring)


def flattened(ring: Ring, segments: int = 24, chord_mm: float = 0.0) -> list[Point]:
    """Corners of the ring with arcs cut into chords: `segments` to a full circle, fewer where chords get too short."""
    points: list[Point] = []
    for (x0, y0, bulge), (x1, y1, _) in zip(ring, (*ring[1:], ring[0]), strict=True):
        points.append((x0, y0))
        if bulge == 0:
            continue
        angle = 4 * math.atan(bulge)
        radius = math.dist((x0, y0), (x1, y1)) * (1 + bulge**2) / (4 * abs(bulge))
        whole = segments if chord_mm <= 0 else max(8, min(segments, round(math.tau * radius / chord_mm)))
        count = max(1, round(whole * abs(angle) / math.tau))
        offset = (1 / bulge - bulge) / 2 / 2
        cx, cy = (x0 + x1) / 2 - offset * (y1 - y0), (y0 + y1) / 2 + offset * (x1 - x0)
        for step in range(1, count):
            turn = angle * step / count
            dx, dy = x0 - cx, y0 - cy
            cosine, sine = math.cos(turn), math.sin(turn)
            points.append((cx + dx * cosine - dy * sine, cy + dx * sine + dy * cosine))
    return points


@dataclass
class FlatDrawing:
    """A drawing on its way to a file: rings and single lines, each with what is done along it."""

    title: str
    rings: list[tuple[Meaning, Ring]] = field(default_factory=list)
    lines: list[tuple[Meaning, Point, Point]] = field(default_factory=list)

    def add(self, meaning: Meaning, *rings: Ring) -> FlatDrawing:
        """Add rings; returns itself."""
        self.rings.extend((meaning, ring) for ring in rings)
        return self

    def line(self, meaning: Meaning, start: Point, end: Point) -> FlatDrawing:
        """Add a single line; returns itself."""
        self.lines.append((meaning, start, end))
        return self

    def _meanings(self) -> list[Meaning]:
        found = {meaning for meaning, *_ in self.rings} | {meaning for meaning, *_ in self.lines}
        order = list(Operation)
        return sorted(found, key=lambda meaning: (order.index(meaning.operation), meaning.depth_mm or 0.0))

    def _bounds(self) -> tuple[float, float, float, float]:
        points = [point for _, ring in self.rings for point in flattened(ring, 360)]
        points += [point for _, start, end in self.lines for point in (start, end)]
        xs, ys = [x for x, _ in points], [y for _, y in points]
        return min(xs), min(ys), max(xs), max(ys)

    def svg(self) -> bytes:
        """The drawing as SVG in millimetres, one labelled group an operation, y turned down as SVG wants it."""
        left, bottom, right, top = self._bounds()
        width, height = _n(right - left), _n(top - bottom)
        out = [
            '<?xml version="1.0" encoding="UTF-8"?>',
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:inkscape="http://www.inkscape.org/namespaces/inkscape"',
            f' width="{width}mm" height="{height}mm" viewBox="0 0 {width} {height}">',
            f"<title>{self.title}</title>",
        ]
        colours = {operation: colour for colour, operation in SVG_COLOURS.items()}
        for meaning in self._meanings():
            label, colour = layer_name(meaning), colours.get(meaning.operation, "#800080")
            out.append(f'<g id="{label}" inkscape:label="{label}" fill="none" stroke="{colour}" stroke-width="0.1">')
            out += [_svg_ring(ring, left, top) for each, ring in self.rings if each == meaning]
            for each, (x0, y0), (x1, y1) in self.lines:
                if each == meaning:
                    out.append(f'<path d="M{_n(x0 - left)} {_n(top - y0)} L{_n(x1 - left)} {_n(top - y1)}"/>')
            out.append("</g>")
        out.append("</svg>")
        return ("\n".join(out) + "\n").encode()

    def dxf(self) -> bytes:
        """The drawing as DXF R12 in millimetres, one layer an operation."""
        rows: list[tuple[int, object]] = [
            (999, self.title),
            (0, "SECTION"),
            (2, "HEADER"),
            (9, "$ACADVER"),
            (1, "AC1009"),
        ]
        rows += [(9, "$INSUNITS"), (70, 4), (9, "$MEASUREMENT"), (70, 1), (0, "ENDSEC")]
        meanings = self._meanings()
        rows += [(0, "SECTION"), (2, "TABLES"), (0, "TABLE"), (2, "LAYER"), (70, len(meanings))]
        for meaning in meanings:
            rows += [
                (0, "LAYER"),
                (2, layer_name(meaning)),
                (70, 0),
                (62, DXF_COLOURS[meaning.operation]),
                (6, "CONTINUOUS"),
            ]
        rows += [(0, "ENDTAB"), (0, "ENDSEC"), (0, "SECTION"), (2, "ENTITIES")]
        for meaning, ring in self.rings:
            rows += _dxf_ring(layer_name(meaning), ring)
        for meaning, (x0, y0), (x1, y1) in self.lines:
            rows += [
                (0, "LINE"),
                (8, layer_name(meaning)),
                (10, x0),
                (20, y0),
                (30, 0.0),
                (11, x1),
                (21, y1),
                (31, 0.0),
            ]
        rows += [(0, "ENDSEC"), (0, "EOF")]
        return "".join(
            f"{code:>3}\n{_n(value) if isinstance(value, float) else value}\n" for code, value in rows
        ).encode()


def _n(value: float) -> str:
    text = f"{value:.4f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _is_circle(ring: Ring) -> bool:
    return len(ring) == 2 and ring[0][2] == ring[1][2] == 1.0


def _svg_ring(ring: Ring, left: float, top: float) -> str:
    if _is_circle(ring):
        (x0, y0, _), (x1, _, _) = ring
        return f'<circle cx="{_n((x0 + x1) / 2 - left)}" cy="{_n(top - y0)}" r="{_n((x1 - x0) / 2)}"/>'
    words = [f"M{_n(ring[0][0] - left)} {_n(top - ring[0][1])}"]
    for (x0, y0, bulge), (x1, y1, _) in zip(ring, (*ring[1:], ring[0]), strict=True):
        end = f"{_n(x1 - left)} {_n(top - y1)}"
        if bulge == 0:
            words.append(f"L{end}")
            continue
        radius = math.dist((x0, y0), (x1, y1)) * (1 + bulge**2) / (4 * abs(bulge))
        large, sweep = int(abs(bulge) > 1), int(bulge < 0)  # y points down: counter-clockwise becomes sweep 0
        words.append(f"A{_n(radius)} {_n(radius)} 0 {large} {sweep} {end}")
    return f'<path d="{" ".join(words)} Z"/>'


def _dxf_ring(layer: str, ring: Ring) -> list[tuple[int, object]]:
    if _is_circle(ring):
        (x0, y0, _), (x1, _, _) = ring
        return [(0, "CIRCLE"), (8, layer), (10, (x0 + x1) / 2), (20, y0), (30, 0.0), (40, (x1 - x0) / 2)]
    rows: list[tuple[int, object]] = [(0, "POLYLINE"), (8, layer), (66, 1), (10, 0.0), (20, 0.0), (30, 0.0), (70, 1)]
    for x, y, bulge in ring:
        rows += [(0, "VERTEX"), (8, layer), (10, float(x)), (20, float(y)), (30, 0.0)]
        rows += [(42, float(bulge))] if bulge else []
    return [*rows, (0, "SEQEND"), (8, layer)]


def ruler_ticks(length_mm: float, step_mm: float) -> Iterable[tuple[float, float]]:
    """Ruler ticks: (position, height), every fifth and tenth longer."""
    count = int(length_mm / step_mm + 0.5)
    heights: Sequence[float] = (8.0, 4.0, 4.0, 4.0, 4.0, 6.0, 4.0, 4.0, 4.0, 4.0)
    return ((number * step_mm, heights[number % 10]) for number in range(count + 1))

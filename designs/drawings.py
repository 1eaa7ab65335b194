"""Drawings, read: DXF and SVG to contours in millimetres with an operation each, checked and mended, and said so.

In: a PartFile; out: a Drawing, or BadDrawing with what happened, why and what to do. What a layer or colour means is
said in designs/drawing_conventions.py.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from shapely.geometry import Polygon

from designs.contours import Contour, bounds, close_gaps, crossing, join, regions, tidy, without_duplicates
from designs.drawing_conventions import DEFAULT_OPERATION, Meaning, Operation
from designs.processes.model import CannotMake, Finding, GeometryKind, PartFile, Severity

LARGEST_FILE_BYTES = 32_000_000
MOST_SHAPES = 50_000
MOST_POINTS = 2_000_000
_TINY_MM, _HUGE_MM = 3.0, 3000.0


class BadDrawing(CannotMake):
    """The drawing cannot be read or makes nothing: what, why, hint."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One line as drawn, before it is joined: points in millimetres, y up; `meaning` None where nothing said one."""

    points: tuple[tuple[float, float], ...]
    closed: bool
    layer: str
    meaning: Meaning | None


@dataclass(frozen=True, slots=True)
class RawDrawing:
    """What a reader found: shapes in millimetres, its own findings."""

    shapes: tuple[Shape, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Drawing:
    """A checked drawing. Its lower left corner is at 0, 0; `origin_mm` is where that was in the file."""

    contours: tuple[Contour, ...]
    findings: tuple[Finding, ...]
    size_mm: tuple[float, float]
    origin_mm: tuple[float, float] = (0.0, 0.0)

    def of(self, *operations: Operation) -> tuple[Contour, ...]:
        """Contours of these operations, in drawing order."""
        return tuple(c for c in self.contours if c.operation in operations)

    def regions(self) -> list[Polygon]:
        """The material that stays when all closed cuts are made."""
        return regions([c for c in self.of(Operation.CUT) if c.closed])


def read_drawing(file: PartFile) -> Drawing:
    """Read, join, mend and check a DXF or SVG file. Raises BadDrawing."""
    if not file.data.strip():
        raise BadDrawing(f"{file.name} is empty", "the file has no bytes", "Export the drawing again.")
    if len(file.data) > LARGEST_FILE_BYTES:
        raise BadDrawing(
            f"{file.name} is too large", f"it has {len(file.data) / 1e6:.0f} MB", "Drawings up to 32 MB are read."
        )
    if file.kind is GeometryKind.DXF:
        from designs.dxf import read_dxf

        raw = read_dxf(file)
    elif file.kind is GeometryKind.SVG:
        from designs.svg import read_svg

        raw = read_svg(file)
    else:
        raise BadDrawing(f"{file.name} is no drawing", f"it is {file.kind.value}", "Send a DXF or an SVG.")
    return check(file.name, raw)


def check(name: str, raw: RawDrawing) -> Drawing:
    """Operations given, lines joined and mended, faults found. Raises BadDrawing where nothing is left."""
    findings = list(raw.findings)
    contours = _with_operations(raw.shapes, findings)
    contours, double_lines = without_duplicates(contours)
    contours = join(contours)
    contours, doubles = without_duplicates(contours)
    if double_lines + doubles:
        findings.append(
            _found(Severity.WARNING, "duplicate", f"{double_lines + doubles} lines were drawn twice: made once.")
        )
    closable = [c for c in contours if c.operation in (Operation.CUT, Operation.POCKET, Operation.DRILL)]
    others = [c for c in contours if c not in closable]
    closable, gaps = close_gaps(closable)
    if gaps:
        findings.append(_found(Severity.WARNING, "gap_closed", f"{gaps} contours had a gap under 0.5 mm: closed."))
    contours = [c for c in closable + others if len(c.points) >= 2]
    if not any(c.operation is not Operation.IGNORE for c in contours):
        raise BadDrawing(
            f"{name} makes nothing",
            "no line in it has an operation" + "".join(f"; {f.text}" for f in findings[:3]),
            "Draw the outline on a layer CUT (or in red), text converted to paths.",
        )
    _check_contours(contours, findings)
    working = [c for c in contours if c.operation is not Operation.IGNORE]
    x0, y0, x1, y1 = bounds(working)
    _check_size(x1 - x0, y1 - y0, findings)
    moved = tuple(c.moved((1.0, 0.0, 0.0, 1.0, -x0, -y0)) for c in working)
    return Drawing(moved, tuple(findings), (x1 - x0, y1 - y0), (x0, y0))


def _found(severity: Severity, code: str, text: str) -> Finding:
    return Finding(severity, code, text)


def _with_operations(shapes: tuple[Shape, ...], findings: list[Finding]) -> list[Contour]:
    speaks = any(s.meaning is not None and s.meaning.operation is not Operation.IGNORE for s in shapes)
    silent = Counter(s.layer or "(none)" for s in shapes if s.meaning is None)
    if silent and not speaks:
        findings.append(
            _found(
                Severity.NOTE,
                "default_operation",
                f"No layer or colour says what to do: everything is read as {DEFAULT_OPERATION.value}.",
            )
        )
    elif silent:
        names = ", ".join(f"{name} ({count})" for name, count in silent.most_common(5))
        findings.append(
            _found(Severity.WARNING, "no_operation", f"Shapes on layers without a meaning are left out: {names}.")
        )
    fallback = Meaning(Operation.IGNORE if speaks else DEFAULT_OPERATION)
    result = []
    for shape in shapes:
        points, closed = tidy(shape.points, shape.closed)
        if len(points) < 2:
            continue
        meaning = shape.meaning or fallback
        if meaning.operation is not Operation.IGNORE:
            result.append(Contour(points, closed, meaning.operation, meaning.depth_mm, shape.layer))
    return result


def _check_contours(contours: list[Contour], findings: list[Finding]) -> None:
    for operation in (Operation.CUT, Operation.POCKET):
        loose = [c for c in contours if c.operation is operation and not c.closed]
        if loose:
            x, y = loose[0].points[0]
            severity = Severity.ERROR if operation is Operation.POCKET else Severity.WARNING
            findings.append(
                _found(
                    severity,
                    "open_contour",
                    f"{len(loose)} {operation.value} contours are open (the first begins at {x:.1f}, {y:.1f} mm): "
                    "a part comes free only from a closed line.",
                )
            )
    crossed = crossing(c for c in contours if c.operation in (Operation.CUT, Operation.POCKET))
    if crossed:
        x, y = crossed[0].points[0]
        findings.append(
            _found(
                Severity.WARNING,
                "self_crossing",
                f"{len(crossed)} contours cross themselves (the first near {x:.1f}, {y:.1f} mm).",
            )
        )


def _check_size(width: float, height: float, findings: list[Finding]) -> None:
    largest = max(width, height)
    if largest < _TINY_MM:
        findings.append(
            _found(
                Severity.ERROR,
                "tiny",
                f"The drawing is {width:.3g} × {height:.3g} mm: was it drawn in inches, metres or another unit?",
            )
        )
    elif largest > _HUGE_MM:
        findings.append(
            _found(
                Severity.ERROR,
                "huge",
                f"The drawing is {width:.0f} × {height:.0f} mm: was it drawn in another unit (micrometres, points)?",
            )
        )


def scaled(raw: RawDrawing, factor: float) -> RawDrawing:
    """The same shapes, `factor` times as large."""
    return replace(
        raw,
        shapes=tuple(replace(s, points=tuple((x * factor, y * factor) for x, y in s.points)) for s in raw.shapes),
    )

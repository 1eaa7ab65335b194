"""Pieces from drawings laid out on one sheet or board: what laser and router both begin with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from shapely.geometry import Polygon, box
from shapely.ops import unary_union

from designs.contours import Contour, bounds
from designs.drawing_conventions import Operation
from designs.drawings import Drawing, read_drawing
from designs.nesting import Nest, NestPart, Sheet, faults, nest
from designs.nesting_remnant import Offcut, offcuts, on_remnant
from designs.processes.model import (
    CannotMake,
    Finding,
    GeometryKind,
    Piece,
    PlacedPiece,
    Ring,
    Severity,
    SheetLayout,
    Stock,
)

DRAWINGS = (GeometryKind.DXF, GeometryKind.SVG)

_TIGHT_S = 4
"""Seconds for true-shape nesting, spent only where rows of boxes leave pieces over."""
_FULLEST = 0.92
"""No nest of different shapes fills more of a sheet: beyond, it is not tried."""


@dataclass(frozen=True, slots=True)
class Laid:
    """One copy of a piece on the sheet."""

    name: str
    contours: tuple[Contour, ...]
    regions: tuple[Polygon, ...]
    depth_mm: float | None
    piece: int = 0
    copy: int = 0
    taken: Polygon = field(default_factory=Polygon)
    """What it keeps for itself, room for the tool included."""


@dataclass(frozen=True, slots=True)
class Layout:
    """All copies on the sheet, in its coordinates: lower left corner of the sheet is 0, 0."""

    laid: tuple[Laid, ...]
    used_mm: tuple[float, float]
    density: float
    findings: tuple[Finding, ...]
    sheet: Polygon = field(default_factory=Polygon)
    """The stock, if its size is known."""
    sheet_label: str = ""
    gap_mm: float = 0.0

    def told(self) -> SheetLayout:
        """As the frozen sheet is kept: whose outline lies where, and the offcuts worth keeping."""
        placed = tuple(PlacedPiece(each.piece, each.copy, each.name, _ring(each.taken.exterior)) for each in self.laid)
        left: tuple[Offcut, ...] = ()
        if not self.sheet.is_empty:
            left = offcuts(self.sheet, [each.taken for each in self.laid], self.gap_mm, "", 0.0, "", ())
        return SheetLayout(
            sheet_mm=_rings(self.sheet) if not self.sheet.is_empty else (),
            placed=placed,
            parts_mm2=round(sum(region.area for each in self.laid for region in each.regions), 2),
            offcuts_mm=tuple(_rings(each.outline) for each in left),
            sheet_label=self.sheet_label,
        )


def _rings(polygon: Polygon) -> tuple[Ring, ...]:
    return tuple(_ring(line) for line in (polygon.exterior, *polygon.interiors))


def _ring(line: Any) -> Ring:
    return tuple((round(float(x), 2), round(float(y), 2)) for x, y in line.coords[:-1])


def footprint(drawing: Drawing, allowance_mm: float) -> Polygon:
    """The area a piece keeps for itself: all its lines, grown by `allowance_mm` (tool or kerf)."""
    x0, y0, x1, y1 = bounds(drawing.contours)
    outlines = [c.polygon() for c in drawing.contours if c.closed]
    area = unary_union([a for a in outlines if not a.is_empty]) if outlines else Polygon()
    whole = box(x0, y0, x1, y1)
    covered = area.geom_type == "Polygon" and area.buffer(0.01).contains(box(*whole.bounds).centroid)
    everything = covered and all(
        area.buffer(0.05).contains(box(*bounds([c])).buffer(0.001)) or c.closed for c in drawing.contours
    )
    shape = Polygon(area.exterior) if everything else whole
    grown = shape.buffer(allowance_mm, join_style="mitre")
    return grown if isinstance(grown, Polygon) else grown.convex_hull


def lay_out(
    pieces: Sequence[Piece], stock: Stock, area_mm: tuple[float, float], tool_mm: float, gap_mm: float
) -> Layout:
    """Read every drawing and place all copies on the stock, `tool_mm` of room around each for the tool.

    `area_mm`: what the machine reaches. Raises CannotMake (a BadDrawing included) where something cannot be read, has
    an error or does not fit.
    """
    if not pieces:
        raise CannotMake("Nothing to make", "no pieces were given")
    drawings, findings = _read(pieces)
    sheet = Sheet(
        min(stock.width_mm or area_mm[0], area_mm[0]), min(stock.height_mm or area_mm[1], area_mm[1]), margin_mm=1.0
    )
    found = _place(pieces, drawings, sheet, stock, tool_mm, gap_mm)
    laid = []
    for placement in sorted(found.placements, key=lambda each: (int(each.key), each.copy)):
        k = int(placement.key)
        contours = tuple(c.moved(placement.matrix) for c in drawings[k].contours)
        parts = tuple(placement.apply(region) for region in drawings[k].regions())
        taken = placement.apply(footprint(drawings[k], tool_mm))
        laid.append(Laid(pieces[k].file.stem, contours, parts, pieces[k].depth_mm, k, placement.copy, taken))
    whole = stock_outline(stock)
    return Layout(tuple(laid), found.used_mm, found.density, tuple(findings), whole, stock.label, gap_mm)


def _read(pieces: Sequence[Piece]) -> tuple[list[Drawing], list[Finding]]:
    """Every piece's drawing, and what was found in them."""
    drawings: list[Drawing] = []
    findings: list[Finding] = []
    for piece in pieces:
        if piece.file.kind not in DRAWINGS:
            raise CannotMake(
                f"{piece.file.name} is no drawing",
                f"it is {piece.file.kind.value}",
                "Send an SVG or a DXF for a sheet part.",
            )
        if piece.quantity < 1:
            raise CannotMake(
                f"{piece.file.name} is wanted {piece.quantity} times", "that makes nothing", "Ask for one or more."
            )
        drawing = read_drawing(piece.file)
        errors = [f for f in drawing.findings if f.severity is Severity.ERROR]
        if errors:
            raise CannotMake(f"{piece.file.name} cannot be made", errors[0].text.rstrip("."), "Mend the drawing.")
        drawings.append(drawing)
        findings.extend(drawing.findings)
    return drawings, findings


def stock_outline(stock: Stock) -> Polygon:
    """The sheet or offcut as a polygon from 0, 0; empty where its size is not known."""
    if stock.outline_mm:
        return Polygon(stock.outline_mm[0], stock.outline_mm[1:])
    if stock.width_mm and stock.height_mm:
        return box(0.0, 0.0, stock.width_mm, stock.height_mm)
    return Polygon()


def _place(
    pieces: Sequence[Piece], drawings: Sequence[Drawing], sheet: Sheet, stock: Stock, tool_mm: float, gap_mm: float
) -> Nest:
    parts = [
        NestPart(str(k), footprint(drawing, tool_mm), piece.quantity)
        for k, (piece, drawing) in enumerate(zip(pieces, drawings, strict=True))
    ]
    reached = box(0.0, 0.0, sheet.width_mm, sheet.height_mm)
    area = sum(part.outline.area * part.quantity for part in parts)
    if stock.outline_mm:
        reached = stock_outline(stock).intersection(reached)
        found = on_remnant(parts, reached, gap_mm, sheet.margin_mm)
    else:
        found = nest(parts, sheet, gap_mm)
        if found.left_over and area < _FULLEST * sheet.width_mm * sheet.height_mm:
            found = nest(parts, sheet, gap_mm, budget_s=_TIGHT_S)
            if found.left_over:
                found = on_remnant(parts, reached, gap_mm, sheet.margin_mm)
    if found.left_over:
        key, count = found.left_over[0]
        width, height = drawings[int(key)].size_mm
        there = f"offcut {stock.label}" if stock.label else "sheet"
        raise CannotMake(
            f"{count} of {pieces[int(key)].file.name} do not fit",
            f"the piece is {width:.0f} × {height:.0f} mm, the {there} {sheet.width_mm:.0f} × {sheet.height_mm:.0f} mm",
            "Use a larger sheet or machine, or order fewer on one sheet.",
        )
    wrong = faults(parts, found, reached, gap_mm)
    if wrong:
        raise ValueError(f"a sheet was laid out wrong: {wrong[0]}")
    return found


def has(layout: Layout, operation: Operation) -> bool:
    """Whether any piece uses this operation."""
    return any(c.operation is operation for laid in layout.laid for c in laid.contours)

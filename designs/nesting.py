"""Where the pieces of one or more orders lie on a sheet, so that little is wasted.

In: outlines with quantities, a sheet; out: placements, what did not fit, and the density reached.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shapely import affinity
from shapely.geometry import Polygon
from shapely.strtree import STRtree

Matrix = tuple[float, float, float, float, float, float]
"""(a, b, c, d, e, f): x' = a·x + b·y + e, y' = c·x + d·y + f."""


@dataclass(frozen=True, slots=True)
class NestPart:
    """An outline (mm) to be placed `quantity` times; `key` says whose it is."""

    key: str
    outline: Polygon
    quantity: int = 1
    rotations_deg: tuple[float, ...] = (0.0, 90.0, 180.0, 270.0)


@dataclass(frozen=True, slots=True)
class Sheet:
    """What there is: width × height, with a margin that stays free."""

    width_mm: float
    height_mm: float
    margin_mm: float = 2.0


@dataclass(frozen=True, slots=True)
class Placement:
    """Copy `copy` of part `key`, moved by `matrix`."""

    key: str
    copy: int
    matrix: Matrix

    def apply(self, outline: Polygon) -> Polygon:
        """The outline where it lies."""
        return affinity.affine_transform(outline, self.matrix)


@dataclass(frozen=True, slots=True)
class Nest:
    """One filled sheet."""

    placements: tuple[Placement, ...]
    left_over: tuple[tuple[str, int], ...]
    """(key, how many did not fit)."""
    used_mm: tuple[float, float]
    """Width and height from the lower left corner to the farthest piece."""
    density: float
    """Area of the pieces / area of the rectangle they use."""


def rows(parts: Sequence[NestPart], sheet: Sheet, gap_mm: float) -> Nest:
    """Rows of bounding boxes, tallest first: quick, certain, and upright grain is kept."""
    boxes: list[tuple[float, float, NestPart, int, float, float]] = []
    for part in parts:
        x0, y0, x1, y1 = part.outline.bounds
        boxes.extend((y1 - y0, x1 - x0, part, copy, x0, y0) for copy in range(part.quantity))
    boxes.sort(key=lambda b: (-b[0], -b[1], b[2].key, b[3]))
    margin = sheet.margin_mm
    x, y, row_height = margin, margin, 0.0
    placements: list[Placement] = []
    left: dict[str, int] = {}
    right = top = area = 0.0
    for height, width, part, copy, x0, y0 in boxes:
        if x > margin and x + width > sheet.width_mm - margin + 1e-6:
            x, y, row_height = margin, y + row_height + gap_mm, 0.0
        if x + width > sheet.width_mm - margin + 1e-6 or y + height > sheet.height_mm - margin + 1e-6:
            left[part.key] = left.get(part.key, 0) + 1
            continue
        placements.append(Placement(part.key, copy, (1.0, 0.0, 0.0, 1.0, x - x0, y - y0)))
        area += part.outline.area
        x += width + gap_mm
        row_height = max(row_height, height)
        right, top = max(right, x - gap_mm), max(top, y + height)
    density = area / max(1e-9, (right - margin) * (top - margin)) if placements else 0.0
    return Nest(tuple(placements), tuple(sorted(left.items())), (right, top), density)


def nest(parts: Sequence[NestPart], sheet: Sheet, gap_mm: float, *, budget_s: int = 0, seed: int = 1) -> Nest:
    """Place the parts on a sheet; earlier parts first where not all fit.

    Rows of boxes always; with a budget of seconds also true-shape nesting (designs/nesting_strip.py), and the better of
    the two: more pieces, then less of the sheet. Without a budget the answer is the same on every machine.
    """
    quick = rows(parts, sheet, gap_mm)
    if budget_s <= 0:
        return quick
    from designs.nesting_strip import true_shape

    tight = true_shape(parts, sheet, gap_mm, budget_s=budget_s, seed=seed)
    if tight is None:
        return quick
    quick_count, tight_count = len(quick.placements), len(tight.placements)
    quick_area, tight_area = quick.used_mm[0] * quick.used_mm[1], tight.used_mm[0] * tight.used_mm[1]
    return tight if (tight_count, -tight_area) > (quick_count, -quick_area) else quick


def measured(
    parts: Sequence[NestPart], placements: Sequence[Placement], left_over: dict[str, int], margin: float
) -> Nest:
    """The nest of these placements: used size and density worked out."""
    outlines = {part.key: part.outline for part in parts}
    areas = [p.apply(outlines[p.key]) for p in placements]
    right = max((a.bounds[2] for a in areas), default=margin)
    top = max((a.bounds[3] for a in areas), default=margin)
    used = max(1e-9, (right - margin) * (top - margin))
    left = tuple(sorted((key, count) for key, count in left_over.items() if count))
    return Nest(tuple(placements), left, (right, top), sum(a.area for a in areas) / used)


def faults(parts: Sequence[NestPart], nest: Nest, area: Polygon, gap_mm: float) -> list[str]:
    """What is wrong with a nest: pieces outside `area` or nearer than `gap_mm` (0.01 mm forgiven); empty is good."""
    outlines = {part.key: part.outline for part in parts}
    placed = [(p, p.apply(outlines[p.key])) for p in nest.placements]
    wrong = [f"{p.key}.{p.copy} lies outside" for p, shape in placed if not area.buffer(0.01).contains(shape)]
    tree = STRtree([shape for _, shape in placed])
    for k, (p, shape) in enumerate(placed):
        near = tree.query(shape, predicate="dwithin", distance=max(0.0, gap_mm - 0.01)) if placed else ()
        wrong.extend(
            f"{p.key}.{p.copy} is too near {placed[n][0].key}.{placed[n][0].copy}"
            for n in (int(other) for other in near)
            if n > k and (shape.distance(placed[n][1]) > 0.0 or shape.intersection(placed[n][1]).area > 1e-6)
        )
    return wrong
